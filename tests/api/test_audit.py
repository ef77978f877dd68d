"""The audit log: a line for whatever was refused, and for what administrators did; and none that can be forged."""

import json
import logging
import os

import pytest
import trio

from gflow.api import audit, refusals
from gflow.api.callers import user_name
from gflow.api.refusals import Refusals
from support.house import House
from support.ports import free_port

ME, ANA, BEN = user_name(os.geteuid()), 20001, 20002


@pytest.fixture
def lines(caplog):
    """What the audit log has had since it was last asked."""
    caplog.set_level(logging.INFO, "gflow.audit")

    def new():
        found = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "gflow.audit"]
        caplog.clear()
        assert all("\n" not in text and text.isascii() for _, text in found)
        return [(level, json.loads(text)) for level, text in found]

    return new


async def test_a_refusal_says_who_from_where_what_and_why(house, lines):
    await house.come_as(ANA)
    await house.submit(hold=True)
    await house.come_as(BEN)
    assert lines() == [], "what is nobody else's business is not in it"
    why = await house.refused("POST", "/jobs/1/cancel?reason=x", status=403, code="forbidden")
    expected = {
        "outcome": "refused",
        "status": 403,
        "user": f"uid:{BEN}",
        "from": f"unix uid {BEN} pid 4242",
        "method": "POST",
        "path": "/jobs/1/cancel",
        "why": why,
    }
    assert lines() == [("WARNING", expected)]


async def test_every_use_of_an_administrators_verb_has_a_line(house, lines):
    await house.ask("POST", "/drain", {"reason": None})
    ((level, line),) = lines()
    assert (level, line["outcome"], line["status"], line["path"]) == ("INFO", "done", 200, "/drain")
    assert (line["user"], line["admin"]) == (ME, True)
    await house.refused("POST", "/gpus", {"allowed_indices": [99]}, status=422, code="impossible")
    ((level, line),) = lines()
    assert (level, line["outcome"], line["status"]) == ("INFO", "failed", 422)
    await house.get("/jobs")
    await house.submit(hold=True)
    assert lines() == []


async def test_acting_on_what_is_somebody_elses_is_an_administrators(house, lines):
    await house.come_as(ANA)
    await house.submit(hold=True)
    await house.ask("PATCH", "/jobs/1", {"priority": 3})
    assert lines() == []
    await house.come_as(0)
    await house.ask("PATCH", "/jobs/1", {"priority": 4})
    ((_, line),) = lines()
    assert (line["outcome"], line["of_others"]) == ("done", f"job 1 of uid:{ANA}")


async def test_of_several_each_one_that_is_refused_is_told(house, lines):
    for uid in (ANA, BEN):
        await house.come_as(uid)
        await house.submit(hold=True)
    answer = await house.ask("POST", "/jobs/cancel", {"ids": [1, 2]})
    assert [one["id"] for one in answer["jobs"]] == [2]
    ((level, line),) = lines()
    assert (level, line["outcome"], line["why"]) == (
        "WARNING",
        "refused",
        f"Job 1 belongs to uid:{ANA}; you are uid:{BEN}",
    )


async def test_whoever_hangs_up_is_in_it_all_the_same(house, lines, monkeypatch):
    """Else an administrator who does not wait for the answer would leave no trace."""
    reached = trio.Event()

    async def never(_seq):
        reached.set()
        await trio.sleep_forever()

    monkeypatch.setattr(house.runtime, "durable", never)
    stream = await house.stream()
    await stream.send_all(b"POST /resume HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await reached.wait()
    await stream.aclose()
    found = []
    with trio.fail_after(20):
        while not found:
            await trio.lowlevel.checkpoint()
            found = lines()
    ((level, line),) = found
    assert (level, line["outcome"], line["path"], "status" in line) == ("INFO", "unanswered", "/resume", False)
    monkeypatch.undo()


async def test_over_tcp_it_has_the_address_and_the_token_by_its_number(tmp_path, lines):
    async with House(tmp_path, host="127.0.0.1", port=free_port()) as house:
        token = await house.token("bob")
        assert [line["path"] for _, line in lines()] == ["/tokens"]
        async with house.remote(token) as client:
            await client.post("/drain", json={})
        ((_, line),) = lines()
        assert (line["user"], line["token"], line["status"]) == ("bob", 1, 403)
        assert line["from"].startswith("tcp 127.0.0.1:")
        async with house.remote() as client:
            await client.get("/jobs", headers={"Host": "evil.example"})
            await client.get("/jobs")
        (_, page), (_, stranger) = lines()
        assert (page["status"], "user" in page) == (403, False)
        assert (stranger["status"], stranger["outcome"], "user" in stranger) == (401, "refused", False)


async def test_no_text_of_anybodys_can_end_a_line_or_make_it_long(house, lines):
    await house.come_as(ANA)
    nasty = "a\n{}\x1b[2J\x85\u2028é" + "x" * 3000
    async with trio.open_nursery():
        await house.submit(group="g", hold=True)
        await house.client.post("/state/" + nasty.encode().hex(), content=b"")
        quoted = "".join(f"%{byte:02x}" for byte in nasty.encode())
        await house.come_as(BEN)
        await house.client.delete(f"/quotas?name={quoted}")
        await house.client.post(f"/groups/{quoted}/max-concurrency", json={"max_concurrent": 1})
    ((_, line),) = lines()
    assert line["path"] == "/quotas"
    trail = audit.Trail("POST", nasty, None, [f"job {n} of {nasty}" for n in range(100)], [], Refusals())
    trail.end()
    ((_, line),) = lines()
    assert max(len(value) for value in line.values() if isinstance(value, str)) <= audit.MOST_CHARS + 3
    assert line["path"].startswith("a\n{}\x1b[2J\x85\u2028é"), "as it was, once it is decoded"


async def test_strangers_cannot_fill_the_log(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(refusals, "OF_ONE", 3)
    async with House(tmp_path, host="127.0.0.1", port=free_port()) as house:
        token = await house.token("bob")
        async with house.remote() as client, house.remote(token) as bob:
            lines()
            for _ in range(8):
                assert (await client.get("/jobs")).status_code == 401
            assert len(lines()) == 3
            for _ in range(5):
                await bob.post("/drain", json={})
            assert len(lines()) == 5, "whose name is known is counted by himself"
            monkeypatch.setattr(refusals, "MINUTE_SECS", 0.0)
            await client.get("/jobs")
        assert lines()[0] == ("WARNING", {"outcome": "refused", "from": "tcp 127.0.0.1", "more": 5})


def test_refusals_are_counted_a_minute_at_a_time_and_many_addresses_take_no_memory():
    counts = Refusals()
    assert list(counts.counted(1.0)) == []
    assert sum(counts.tells("192.0.2.1") for _ in range(50)) == refusals.OF_ONE
    assert sum(counts.tells(f"2001:db8::{number:x}") for number in range(1000)) == refusals.OF_ALL - refusals.OF_ONE
    assert list(counts.counted(60.9)) == []
    told = {party: more for _, party, more in counts.counted(61.0)}
    assert (told["192.0.2.1"], sum(told.values()), len(told)) == (30, 1050 - refusals.OF_ALL, refusals.MOST_COUNTED + 1)
    assert list(counts.counted(121.0)) == []
    assert counts.tells("192.0.2.1")


async def test_neither_can_those_who_are_known(house, lines, monkeypatch):
    monkeypatch.setattr(refusals, "OF_A_USER", 3)
    await house.come_as(ANA)
    for _ in range(4):
        await house.refused("POST", "/drain", {"reason": None}, status=403, code="forbidden")
        await house.refused("POST", "/tokens", {"expires_secs": -1}, status=400, code="malformed")
    assert [line["outcome"] for _, line in lines()] == ["refused", "failed", "refused"]
    await house.come_as(BEN)
    await house.refused("POST", "/drain", {"reason": None}, status=403, code="forbidden")
    await house.come_as(0)
    for _ in range(5):
        await house.ask("POST", "/drain", {"reason": None})
    assert [line["outcome"] for _, line in lines()] == ["refused", *["done"] * 5], "what was done is always told"
    monkeypatch.setattr(refusals, "MINUTE_SECS", 0.0)
    await house.ask("POST", "/drain", {"reason": None})
    assert lines()[0] == ("WARNING", {"outcome": "refused", "user": f"uid:{ANA}", "more": 5})
