"""Who asks for much at once waits, then is refused; others and administrators are served meanwhile."""

import os

import pytest
import trio

from gflow.api import crowd
from gflow.api.app import create_app
from gflow.api.callers import Caller
from support.desk import eventually
from support.house import House

ANA, BEN = 4001, 4002


def caller(uid):
    """As the gate knows him."""
    return Caller(f"uid:{uid}", uid, admin=False)


@pytest.fixture
def narrow(monkeypatch):
    """Bounds a test can reach."""
    monkeypatch.setattr(crowd, "STREAMS_OF_ONE", 3)
    monkeypatch.setattr(crowd, "HEAVY_OF_ONE", 2)
    monkeypatch.setattr(crowd, "PATIENCE_SECS", 0.3)


@pytest.fixture
async def hall(narrow, tmp_path):
    async with House(tmp_path) as opened:
        yield opened


async def test_what_takes_much_is_called_what_it_is(house):
    endpoints = {rule.endpoint for rule in create_app(house.services).url_map.iter_rules()}
    assert endpoints >= crowd.HEAVY | crowd.STREAMS


async def _follow(house, number):
    streams = []
    for _ in range(number):
        stream = await house.stream()
        await stream.send_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await stream.receive_some(12)).startswith(b"HTTP/1.1 200")
        streams.append(stream)
    return streams


async def test_streams_of_one_user_are_bounded(hall):
    await hall.come_as(ANA)
    streams = await _follow(hall, 3)
    answer = await hall.client.get("/events")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert answer.json()["code"] == "too_many"
    assert (await hall.client.get("/health")).status_code == 200
    await hall.come_as(BEN)
    await trio.aclose_forcefully((await _follow(hall, 1))[0])
    await hall.come_as(os.geteuid())
    for stream in await _follow(hall, 5):
        await stream.aclose()
    await hall.come_as(ANA)
    for stream in streams:
        await stream.aclose()
    gate = hall.crowd._streams
    await eventually(lambda: gate.inside == 0, "the places of those who left")
    for stream in await _follow(hall, 3):
        await stream.aclose()


async def test_a_large_request_waits_for_its_turn_and_not_for_ever(hall):
    await hall.come_as(ANA)
    leave = [await hall.crowd.enter("jobs.list_jobs", caller(ANA)) for _ in range(2)]
    refused = await hall.client.get("/jobs")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many")
    async with trio.open_nursery() as nursery:

        async def ask():
            assert (await hall.client.get("/jobs")).status_code == 200

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        leave[0]()
    assert (await hall.client.get("/queue?columns=JOBID")).status_code == 200
    await hall.come_as(BEN)
    assert (await hall.client.get("/jobs")).status_code == 200


async def test_places_are_given_back_however_a_request_ends(hall):
    gate = hall.crowd._heavy
    for path in ("/jobs", "/jobs?nope=1", "/queue", "/queue?columns=JOBID", "/stats?by=x", "/jobs/9/log/content"):
        await hall.client.get(path)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            stream = await hall.stream()
            await stream.send_all(b"GET /jobs HTTP/1.1\r\nHost: x\r\n\r\n")
            nursery.start_soon(stream.aclose)
    await eventually(lambda: gate.inside == 0, "the places")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_a_large_request(hall, chunked):
    await hall.come_as(ANA)
    for _ in range(2):
        await hall.crowd.enter("jobs.list_jobs", caller(ANA))

    async def body():
        yield b"{}" if chunked else b" " * crowd.LARGE_BYTES + b"{}"

    headers = {} if chunked else {"content-length": str(crowd.LARGE_BYTES + 2)}
    answer = await hall.client.post("/jobs", content=body(), headers=headers)
    assert answer.status_code == 429
    await hall.submit(hold=True)


async def test_not_many_wait_for_their_turn(hall, monkeypatch):
    monkeypatch.setattr(crowd, "PATIENCE_SECS", 20)
    monkeypatch.setattr(crowd, "WAITING_OF_ONE", 3)
    await hall.come_as(ANA)
    for _ in range(2):
        await hall.crowd.enter("jobs.list_jobs", caller(ANA))
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(hall.client.get, "/jobs")
        await eventually(lambda: hall.crowd._waiting[ANA] == 3, "those who wait")
        assert (await hall.client.get("/jobs")).status_code == 429
        nursery.cancel_scope.cancel()
    await eventually(lambda: not hall.crowd._waiting, "the end of those who waited")
