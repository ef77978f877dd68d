"""Over TCP, without authentication: names are labels, all may do what gflow 0.4 let everybody do, web pages nothing."""

import os
import socket
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from gflow.api.callers import user_name
from support.house import House
from support.ports import free_port

OWNER = user_name(os.geteuid())


@asynccontextmanager
async def strangers(tmp_path, **settings):
    """A daemon with a port, and a client that comes by it."""
    port = free_port()
    async with House(tmp_path, simulated_gpus=2, host="127.0.0.1", port=port, auth="none", **settings) as house:
        house.url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=house.url, timeout=20, verify=False) as client:
            house.local, house.client = house.client, client
            yield house
            house.client = house.local


@pytest.fixture
async def open_house(tmp_path):
    async with strangers(tmp_path) as house:
        yield house


async def test_whose_a_job_is_is_what_the_client_says(open_house):
    job_id = await open_house.submit(submitted_by="alice", hold=True)
    assert (await open_house.get(f"/jobs/{job_id}"))["submitted_by"] == "alice"
    assert await open_house.get("/jobs/resolve-dependency?username=alice&shorthand=%40") == {"job_id": job_id}
    batch = [open_house.request(submitted_by="bob", hold=True) for _ in range(2)]
    made = await open_house.ask("POST", "/jobs/batch", batch, 201)
    assert [job["id"] for job in await open_house.get("/jobs?user=bob")] == [one["id"] for one in made]


async def test_a_client_that_names_nobody_is_unknown(open_house):
    for fields in ({}, {"submitted_by": None}, {"submitted_by": " "}):
        job_id = await open_house.submit(hold=True, **fields)
        assert (await open_house.get(f"/jobs/{job_id}"))["submitted_by"] == "unknown"


async def test_our_clients_say_it_once_for_all(open_house):
    open_house.client.headers["X-Gflow-User"] = "j%C3%BCrgen"
    job_id = await open_house.submit(hold=True)
    assert (await open_house.get(f"/jobs/{job_id}"))["submitted_by"] == "jürgen"
    answer = await open_house.client.get("/queue?columns=JOBID,USER&mine=1")
    assert answer.text == f"{job_id}\x1fjürgen\n"


async def test_what_cannot_be_a_name_is_refused(open_house):
    for name in (7, ["alice"], "a,b", "a\nb", "x" * 65):
        body = open_house.request(submitted_by=name)
        assert "user name" in await open_house.refused("POST", "/jobs", body, status=400, code="malformed")


async def test_a_batch_is_of_one_user(open_house):
    batch = [open_house.request(submitted_by=name) for name in ("alice", "bob")]
    assert "submitted_by" in await open_house.refused("POST", "/jobs/batch", batch, status=400, code="malformed")
    assert await open_house.get("/jobs") == []


async def test_over_the_unix_socket_nobody_is_whom_he_says(open_house):
    open_house.client.headers["X-Gflow-User"] = "alice"
    open_house.client, stranger = open_house.local, open_house.client
    job_id = await open_house.submit(hold=True, submitted_by="alice")
    open_house.client = stranger
    assert (await open_house.get(f"/jobs/{job_id}"))["submitted_by"] == OWNER


async def test_everybody_may_act_on_every_job_and_steer_the_machine(open_house):
    job_id = await open_house.submit(submitted_by="alice", hold=True)
    await open_house.ask("PATCH", f"/jobs/{job_id}", {"priority": 3})
    await open_house.ask("POST", f"/jobs/{job_id}/cancel")
    await open_house.ask("POST", "/gpus", {"allowed_indices": [0]})
    await open_house.ask("PUT", "/quotas", {"scope": "user", "name": "bob", "limits": {"max_running_jobs": 1}})
    await open_house.ask("DELETE", "/quotas?scope=user&name=bob")


@pytest.mark.parametrize("name", sorted({"root", OWNER}))
async def test_no_name_makes_an_administrator(open_house, name):
    open_house.client.headers["X-Gflow-User"] = name
    for path, body in [
        ("/state/compact", ...),
        ("/state/prune", {"before": 1.0}),
        ("/notifications/test", {}),
        ("/notifications/redeliver", {"id": "x"}),
    ]:
        said = await open_house.refused("POST", path, body, status=403, code="forbidden")
        assert "Unix socket" in said
    job_id = await open_house.start(time_limit=60, submitted_by=name)
    await open_house.refused("PATCH", f"/jobs/{job_id}", {"time_limit": 600}, status=403, code="forbidden")


async def test_a_request_to_this_machine_is_answered(open_house):
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:7", "127.9.9.9"):
        assert (await open_house.client.get("/health", headers={"Host": host})).status_code == 200


NO_HOSTS = (
    "localhost:59007@evil",
    "localhost@evil",
    "localhost:1:2",
    "localhost:x",
    "localhost:123456",
    "localhost/",
    "localhost?",
    "[::1]evil",
    "[::1",
    "::1",
    "localhost, evil",
)


async def test_a_request_to_another_name_is_refused(open_house):
    """A page whose name is made to stand for 127.0.0.1 could read what it gets."""
    for host in ("evil.example:59000", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1", "[::2]", "", *NO_HOSTS):
        open_house.client.headers["Host"] = host
        for method in ("GET", "POST"):
            said = await open_house.refused(method, "/jobs", status=403, code="forbidden")
            assert "localhost only" in said


async def test_a_name_of_its_own_is_answered_to(tmp_path, monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.1.1", 0))]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        "gflow.daemon.loopback.socket.getaddrinfo",
        lambda host, *args, **more: found if host == "Box" else real(host, *args, **more),
    )
    with socket.create_server(("127.0.1.1", 0)) as probe:
        port = probe.getsockname()[1]
    client = httpx.AsyncClient(base_url=f"http://127.0.1.1:{port}", verify=False)
    async with House(tmp_path, host="Box", port=port, auth="none"), client:
        assert (await client.get("/health", headers={"Host": f"box:{port}"})).status_code == 200


async def test_a_web_page_may_change_nothing(open_house):
    job_id = await open_house.submit(hold=True)
    verbs = (("POST", f"/jobs/{job_id}/cancel"), ("DELETE", "/reservations/1"), ("PATCH", f"/jobs/{job_id}"))
    for header in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "none"}):
        open_house.client.headers.update(header)
        for method, path in verbs:
            assert "web page" in await open_house.refused(method, path, status=403, code="forbidden")
        for name in header:
            del open_house.client.headers[name]
    assert (await open_house.get(f"/jobs/{job_id}"))["state"] == "Hold"


async def test_two_names_are_one_too_many(open_house):
    async with await trio.open_tcp_stream(*_place(open_house.url)) as stream:
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n")
        answer = b"".join([chunk async for chunk in stream])
    assert answer.split()[1] in (b"400", b"403")


async def test_who_is_gone_is_not_waited_for(open_house):
    """Over TCP a client that closes says no more than that it sends nothing; then its answers are for nobody."""
    job_id = await open_house.submit(hold=True)
    before = trio.lowlevel.current_statistics().tasks_living
    async with await trio.open_tcp_stream(*_place(open_house.url)) as stream:
        await stream.send_all(b"GET /jobs/%d/wait HTTP/1.1\r\nHost: localhost\r\n\r\n" % job_id)
        with trio.fail_after(20):
            while trio.lowlevel.current_statistics().tasks_living <= before:
                await trio.lowlevel.checkpoint()
    with trio.fail_after(20):
        while trio.lowlevel.current_statistics().tasks_living > before:
            await trio.lowlevel.checkpoint()


async def test_status_says_where(open_house):
    told = await open_house.get("/status")
    assert (told["tcp"], told["auth"]) == (open_house.url, "none")


def _place(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)
