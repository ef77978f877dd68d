"""Tokens over TCP: who has one is who it says, and who has none is nobody; of its text nothing is kept anywhere."""

import logging
import os
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from gflow.api.callers import user_name
from gflow.api.gate import UNKNOWN
from gflow.config import Access
from support.house import House
from support.ports import free_port

ME = user_name(os.geteuid())
ANA = 20001


@asynccontextmanager
async def with_port(tmp_path, **settings):
    async with House(tmp_path, simulated_gpus=2, host="127.0.0.1", port=free_port(), **settings) as house:
        yield house


@pytest.fixture
async def house(tmp_path):
    async with with_port(tmp_path) as opened:
        yield opened


async def asked(house, method, path, token=None, body=None, **headers):
    """The answer to one request over TCP."""
    async with house.remote(token) as client:
        return await client.request(method, path, json=body, headers=headers)


async def test_whose_token_it_is_is_whose_job_it_is(house):
    token = await house.token("alice")
    body = house.request(submitted_by="bob", hold=True)
    answer = await asked(house, "POST", "/jobs", token, body, **{"X-Gflow-User": "root"})
    assert answer.status_code == 201
    assert (await house.get("/jobs/1"))["submitted_by"] == "alice"
    mine = await asked(house, "GET", "/queue?columns=JOBID,USER&mine=1", token)
    assert mine.text == "1\x1falice\n"


async def test_without_a_good_token_nobody_gets_anything(house):
    """One wording and one status for all of it, so that nobody learns which tokens there are."""
    good, gone, old = [await house.token("alice") for _ in range(3)]
    await house.ask("DELETE", "/tokens/2")
    entries = house.services.tokens.entries
    entries[3] = replace(entries[3], expires_at=house.runtime.clock().wall)
    tried = [None, "x", "gflow_", "gflow_1_", "gflow_1_x", good[:-1], good + "x", good.upper(), gone, old, "é" * 10]
    for token in tried:
        for method, path in (("GET", "/health"), ("GET", "/jobs"), ("POST", "/jobs"), ("GET", "/nowhere")):
            headers = {} if token is None else {"Authorization": b"Bearer " + token.encode()}
            answer = await asked(house, method, path, **headers)
            assert answer.status_code == 401, token
            assert answer.json() == {"error": UNKNOWN, "code": "unauthorized"}
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await asked(house, "GET", "/health", good)).status_code == 200
    assert await house.get("/jobs") == []


async def test_it_comes_in_one_header_and_in_no_other_way(house):
    token = await house.token("alice")
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await asked(house, "GET", "/jobs", Authorization=f"{scheme} {token}")).status_code == 200
    for wrong in (f"Basic {token}", token, f"Token {token}"):
        assert (await asked(house, "GET", "/jobs", Authorization=wrong)).status_code == 401
    assert (await asked(house, "GET", f"/jobs?token={token}")).status_code == 401
    async with house.remote() as client:
        twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
        assert (await client.get("/jobs", headers=twice)).status_code == 401


async def test_on_the_unix_socket_it_says_nothing(house):
    token = await house.token("alice", read_only=True)
    house.client.headers["Authorization"] = f"Bearer {token}"
    job_id = await house.submit(hold=True)
    assert (await house.get(f"/jobs/{job_id}"))["submitted_by"] == ME
    house.client.headers["Authorization"] = "Bearer nonsense"
    await house.get("/jobs")


async def test_a_read_only_one_looks_and_changes_nothing(house):
    reader, writer = await house.token("alice", read_only=True), await house.token("alice")
    assert (await asked(house, "POST", "/jobs", writer, house.request(hold=True))).status_code == 201
    for path in ("/jobs/1", "/jobs", "/queue?columns=JOBID", "/events?last_event_id=x", "/jobs/1/log"):
        assert (await asked(house, "GET", path, reader)).status_code in (200, 400)
    for method, path in (("POST", "/jobs"), ("POST", "/jobs/1/cancel"), ("PATCH", "/jobs/1"), ("DELETE", "/quotas")):
        answer = await asked(house, method, path, reader, {"priority": 1})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert answer.json()["error"].startswith("This token is read-only")
    assert (await house.get("/jobs/1"))["state"] == "Hold"


async def test_an_administrators_is_one_only_if_it_was_made_so(house):
    plain, steering = await house.token(ME), await house.token(ME, admin=True)
    for path in ("/drain", "/resume"):
        answer = await asked(house, "POST", path, plain, {})
        assert answer.status_code == 403
        assert answer.json()["error"].endswith("and your token is none for administrators")
    assert (await asked(house, "POST", "/drain", steering, {"reason": None})).status_code == 200
    assert (await asked(house, "POST", "/resume", steering)).status_code == 200


async def test_it_is_an_administrators_no_longer_than_its_user_is_one(tmp_path):
    async with with_port(tmp_path, access=Access(admins=["alice"])) as house:
        token = await house.token("alice", admin=True)
        assert (await asked(house, "POST", "/resume", token)).status_code == 200
    async with with_port(tmp_path) as house:
        assert (await asked(house, "POST", "/resume", token)).status_code == 403
        assert (await asked(house, "GET", "/jobs", token)).status_code == 200


async def test_an_administrator_makes_none_for_others(tmp_path):
    """A token lets its holder submit as its user: whoever could not be him anyway must not become him by one."""
    async with with_port(tmp_path, access=Access(admins=[f"uid:{ANA}"])) as house:
        await house.come_as(ANA)
        body = {"user": "root"}
        said = await house.refused("POST", "/tokens", body, status=403, code="forbidden")
        assert said == f"Only root and the daemon's own user may make a token for root; you are uid:{ANA}"
        own = await house.ask("POST", "/tokens", {"admin": True}, 201)
        assert own["user_is_known"] is True
        assert (await asked(house, "POST", "/resume", own["token"])).status_code == 200


async def test_whoever_gets_the_name_later_does_not_get_the_token(house):
    token, unknown = await house.token("root"), await house.token("no-such-user-here")
    entries = house.services.tokens.entries
    assert (await asked(house, "GET", "/jobs", token)).status_code == 200
    assert (await asked(house, "GET", "/jobs", unknown)).status_code == 200
    entries[1] = replace(entries[1], uid=ANA)
    entries[2] = replace(entries[2], user="root")
    for one in (token, unknown):
        assert (await asked(house, "GET", "/jobs", one)).status_code == 401


async def test_nobody_makes_an_administrator_of_somebody(house):
    body = {"user": "alice", "admin": True}
    assert "alice is no administrator" in await house.refused("POST", "/tokens", body, status=403, code="forbidden")


async def test_users_make_see_and_revoke_their_own(house):
    await house.token("bob")
    await house.come_as(ANA)
    name = f"uid:{ANA}"
    made = await house.ask("POST", "/tokens", {"name": "laptop"}, 201)
    assert (made["user"], made["created_by"], made["name"], made["expires_at"]) == (name, name, "laptop", None)
    assert [token["id"] for token in await house.get("/tokens")] == [made["id"]]
    for body in ({"user": "bob"}, {"user": name, "admin": True}):
        await house.refused("POST", "/tokens", body, status=403, code="forbidden")
    said = await house.refused("DELETE", "/tokens/1", status=403, code="forbidden")
    assert said == f"Token 1 belongs to bob; you are {name}"
    await house.ask("DELETE", f"/tokens/{made['id']}")
    assert await house.get("/tokens") == []
    await house.refused("DELETE", "/tokens/77", status=404, code="not_found")


async def test_over_tcp_no_token_makes_another(house):
    token = await house.token(ME, admin=True)
    for method, path in (("GET", "/tokens"), ("POST", "/tokens"), ("DELETE", "/tokens/1")):
        answer = await asked(house, method, path, token, {})
        assert answer.status_code == 403
        assert "use the Unix socket" in answer.json()["error"]


async def test_a_list_tells_what_may_be_known(house):
    await house.token("bob", name="ci", read_only=True, expires_secs=3600)
    (told,) = await house.get("/tokens")
    assert told.pop("expires_at") == told.pop("created_at") + 3600
    assert told == {
        "id": 1,
        "user": "bob",
        "name": "ci",
        "read_only": True,
        "admin": False,
        "created_by": ME,
        "expired": False,
    }


async def test_a_user_the_machine_does_not_know_is_told_of(house):
    made = await house.ask("POST", "/tokens", {"user": "no-such-user-here"}, 201)
    assert made["user_is_known"] is False
    assert (await house.ask("POST", "/tokens", {"user": "root"}, 201))["user_is_known"] is True


@pytest.mark.parametrize("body", [[], {"user": 7}, {"expires": 3}, {"expires_secs": 0}, {"name": "\n"}, {"user": " "}])
async def test_what_is_no_wish_for_a_token_is_malformed(house, body):
    await house.refused("POST", "/tokens", body, status=400, code="malformed")
    assert await house.get("/tokens") == []


async def test_they_outlive_the_daemon(tmp_path):
    async with with_port(tmp_path) as house:
        kept, gone = await house.token("alice"), await house.token("alice")
        await house.ask("DELETE", "/tokens/2")
    async with with_port(tmp_path) as house:
        assert (await asked(house, "GET", "/jobs", kept)).status_code == 200
        assert (await asked(house, "GET", "/jobs", gone)).status_code == 401
        await house.token("bob")
        assert [token["id"] for token in await house.get("/tokens")] == [1, 3]


@pytest.mark.parametrize("path", ["/events", "/jobs/1/log/stream?follow=1"])
async def test_what_is_followed_ends_when_it_is_revoked(house, path):
    await house.start()
    token = await house.token(ME)
    house.write_log(1, b"one\n")
    async with house.remote(token) as client, client.stream("GET", path) as answer, aclosing(answer.aiter_raw()) as got:
        assert await anext(got)
        await house.ask("DELETE", "/tokens/1")
        with trio.fail_after(5):  # by itself a stream looks after 15 seconds
            async for _ in got:
                pass


async def test_what_is_followed_or_waited_for_ends_when_it_expires(house):
    job_id = await house.start()
    house.write_log(job_id, b"one\n")
    token = await house.token(ME, expires_secs=1.5)
    paths = ["/events", f"/jobs/{job_id}/log/stream?follow=1", f"/jobs/{job_id}/wait"]
    ended: dict[str, int] = {}

    async def follow(path):
        answer = await asked(house, "GET", path, token)
        ended[path] = answer.status_code
        assert house.services.tokens.entries[1].is_expired(house.runtime.clock().wall)

    with trio.fail_after(6):  # by themselves they look after 15 seconds
        async with trio.open_nursery() as nursery:
            for path in paths:
                nursery.start_soon(follow, path)
    assert ended == dict(zip(paths, (200, 200, 401), strict=True))


async def test_whoever_waits_with_one_that_is_revoked_learns_nothing(house, monkeypatch):
    job_id = await house.start()
    token, answers, waits = await house.token(ME), [], trio.Event()
    real = house.runtime.bus.wait_for_more

    async def wait_for_more(last_seen):
        waits.set()
        await real(last_seen)

    monkeypatch.setattr(house.runtime.bus, "wait_for_more", wait_for_more)

    async def wait():
        answers.append(await asked(house, "GET", f"/jobs/{job_id}/wait", token))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await waits.wait()
        await house.ask("DELETE", "/tokens/1")
    assert [answer.status_code for answer in answers] == [401]


async def test_its_text_is_kept_nowhere(tmp_path, caplog):
    """Not in state, history, log, audit, exports, events, figures or refusals; only its hash is in the state."""
    caplog.set_level(logging.DEBUG)
    async with with_port(tmp_path) as house:
        token, gone = await house.token("alice", name="ci"), await house.token("alice")
        secret = token[len("gflow_1_") :]
        await house.ask("DELETE", "/tokens/2")
        verbs = [("GET", "/jobs"), ("POST", "/drain"), ("POST", "/jobs"), ("GET", "/nowhere")]
        tried = [(*verb, one) for verb in verbs for one in (token, gone, token + "x")]
        said = [(await asked(house, *one)).text for one in tried]
        looked = ("/tokens", "/metrics", "/status", "/notifications", "/health")
        said += [(await house.client.get(path)).text for path in looked]
        await house.ask("POST", "/state/compact")
    assert secret not in caplog.text
    assert secret not in "".join(said)
    written = [path for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert any(b"digest" in path.read_bytes() for path in written), "the hash is"
    for path in written:
        assert secret.encode() not in path.read_bytes(), path


async def test_auth_none_asks_for_no_token_and_looks_at_none(tmp_path):
    async with with_port(tmp_path, auth="none") as house:
        token = await house.token("alice", read_only=True)
        body = house.request(submitted_by="bob", hold=True)
        assert (await asked(house, "POST", "/jobs", token, body)).status_code == 201
        assert (await house.get("/jobs/1"))["submitted_by"] == "bob"
