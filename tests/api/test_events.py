"""GET /events: what happens, with ids, and with what was missed."""

import json
from contextlib import asynccontextmanager

import pytest
import trio

from gflow.api import events as module
from gflow.daemon import bus
from support.desk import eventually
from support.house import House


class Reader:
    """`heard` has every event as (id, name, data)."""

    def __init__(self):
        self.heard = []
        self.comments = 0
        self.over = False

    def take(self, message):
        fields = dict(line.split(": ", 1) for line in message.split("\n") if not line.startswith(":"))
        if not fields:
            self.comments += 1
            return
        number = int(fields["id"]) if "id" in fields else None
        self.heard.append((number, fields["event"], json.loads(fields["data"])))

    @property
    def names(self):
        return [(number, name) for number, name, _ in self.heard]


@asynccontextmanager
async def listening(house, last_seen=None, query=""):
    reader, connected = Reader(), trio.Event()
    headers = {} if last_seen is None else {"Last-Event-ID": str(last_seen)}

    async def read():
        async with house.make_client() as client, client.stream("GET", f"/events{query}", headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["cache-control"] == "no-cache"
            rest = ""
            async for text in answer.aiter_text():
                *messages, rest = (rest + text).split("\n\n")
                for message in messages:
                    reader.take(message)
                connected.set()
        reader.over = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await connected.wait()
        yield reader
        nursery.cancel_scope.cancel()


async def test_a_life_as_events(house):
    async with listening(house) as reader:
        assert reader.heard == [(None, "connected", {})]
        job_id = await house.start(gpus=1, run_name="train", memory_limit_mb=64)
        await house.end(job_id, 3)
        await house.submit(hold=True)
        await eventually(lambda: len(reader.heard) == 5, "the events")
    assert reader.names[1:] == [(2, "job_submitted"), (3, "job_started"), (4, "job_failed"), (5, "job_submitted")]
    user = house.engine.job(job_id).spec.owner
    _, _, started = reader.heard[2]
    assert started == {
        "type": "job_started",
        "job_id": 1,
        "state": "Running",
        "user": user,
        "name": "train",
        "at": started["at"],
        "gpu_ids": [0],
    }
    _, _, failed = reader.heard[3]
    assert (failed["final_state"], failed["exit_code"], failed["memory_mb"], failed["retried_as"]) == (
        *("Failed", 3, 64),
        None,
    )


async def test_an_event_shows_what_the_list_shows_then(house):
    """Who hears of a change and looks finds it."""
    async with listening(house) as reader:
        await house.submit(hold=True)
        await eventually(lambda: len(reader.heard) == 2, "the event")
        assert (await house.get("/jobs/1"))["state"] == reader.heard[1][2]["state"]


async def test_every_transition_makes_exactly_one_event(house):
    async with listening(house) as reader:
        job_id = await house.submit(scheduled_at=house.runtime.clock().wall + 999)
        for verb in ("hold", "release", "hold"):
            await house.ask("POST", f"/jobs/{job_id}/{verb}")
        await house.ask("PATCH", f"/jobs/{job_id}", {"priority": 3})
        await house.refused("POST", f"/jobs/{job_id}/hold", status=409, code="wrong_state")
        await house.ask("POST", f"/jobs/{job_id}/cancel")
        await eventually(lambda: len(reader.heard) == 7, "the events")
    names = ["submitted", "held", "released", "held", "updated", "cancelled"]
    assert reader.names[1:] == [(number, f"job_{name}") for number, name in enumerate(names, 2)]


@pytest.mark.parametrize("how", ["header", "query"])
async def test_who_comes_back_gets_what_was_missed(house, how):
    for _ in range(4):
        await house.submit(hold=True)
    arguments = {"last_seen": 3} if how == "header" else {"query": "?last_event_id=3"}
    async with listening(house, **arguments) as reader:
        await house.submit(hold=True)
        await eventually(lambda: len(reader.heard) == 4, "the events")
    assert [number for number, _ in reader.names] == [None, 4, 5, 6]


async def test_who_is_new_gets_what_comes(house):
    await house.submit(hold=True)
    async with listening(house) as reader:
        await house.submit(hold=True)
        await eventually(lambda: len(reader.heard) == 2, "the event")
    assert reader.names == [(None, "connected"), (3, "job_submitted")]


async def test_who_comes_back_too_late_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(bus, "RING_LENGTH", 3)
    async with House(tmp_path) as house:
        for _ in range(6):
            await house.submit(hold=True)
        async with listening(house, last_seen=1) as reader:
            await eventually(lambda: len(reader.heard) == 5, "the events")
    assert reader.names[1] == (None, "missed")
    assert [number for number, _ in reader.names[2:]] == [5, 6, 7]


async def test_ids_go_on_over_a_restart(tmp_path):
    async with House(tmp_path) as house:
        for _ in range(3):
            await house.submit(hold=True)
    async with House(tmp_path) as again, listening(again, last_seen=3) as reader:
        await again.submit(hold=True)
        await eventually(lambda: len(reader.heard) == 4, "the events")
    assert reader.names[1:] == [(4, "job_submitted"), (5, "scheduler_online"), (6, "job_submitted")]


async def test_an_id_of_another_life_gets_all_there_is(house):
    await house.submit(hold=True)
    async with listening(house, last_seen=5000) as reader:
        await house.submit(hold=True)
        await eventually(lambda: len(reader.heard) == 4, "the events")
    assert reader.names[1:] == [(1, "scheduler_online"), (2, "job_submitted"), (3, "job_submitted")]


@pytest.mark.parametrize("wrong", ["x", "-1", "1.5", "9" * 30])
async def test_what_is_no_id(house, wrong):
    sentence = await house.refused("GET", f"/events?last_event_id={wrong}", status=400, code="malformed")
    assert sentence == f"Invalid Last-Event-ID '{wrong}': use the id of an event"


async def test_silence_is_broken_now_and_then(house, monkeypatch):
    monkeypatch.setattr(module, "KEEP_ALIVE_SECS", 0.02)
    async with listening(house) as reader:
        await eventually(lambda: reader.comments >= 3, "keep-alives")
    assert reader.names == [(None, "connected")]


async def test_a_slow_reader_delays_nobody(house):
    slow = await house.stream()
    await slow.send_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    async with listening(house) as reader:
        for _ in range(3):
            await house.ask("POST", "/jobs/batch", {"defaults": house.request(hold=True), "jobs": [{}] * 1000}, 201)
        await eventually(lambda: len(reader.heard) == 3001, "all events")
    await slow.aclose()


async def test_streams_end_with_the_daemon(tmp_path):
    async with House(tmp_path) as house, listening(house) as reader:
        house.terminate()
        await eventually(lambda: reader.over, "the end of the stream")
