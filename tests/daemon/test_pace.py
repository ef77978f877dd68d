"""Jobs first: deliveries keep apart while jobs are being launched, and catch up afterwards."""

import trio

from gflow.daemon.pace import APART_SECS, Pace


async def make(pace, count, waiting=1):
    """When so many deliveries began, from now on."""
    began = trio.current_time()
    times = []
    for _ in range(count):
        await pace.turn(waiting)
        times.append(round(trio.current_time() - began, 6))
    return times


async def test_when_nothing_is_launched_nobody_waits(autojump_clock):
    assert await make(Pace(lambda: False, 10), 100) == [0.0] * 100


async def test_while_jobs_are_launched_they_keep_apart_whoever_makes_them(autojump_clock):
    pace = Pace(lambda: True, 10)
    assert await make(pace, 3) == [0.0, APART_SECS, round(2 * APART_SECS, 6)]
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        for _ in range(4):
            nursery.start_soon(pace.turn, 1)
    assert round(trio.current_time() - began, 6) == 4 * APART_SECS


async def test_they_catch_up_when_all_is_launched(autojump_clock):
    busy = [True]
    pace = Pace(lambda: bool(busy), 10)
    assert await make(pace, 2) == [0.0, APART_SECS]
    busy.clear()
    assert await make(pace, 50) == [0.0] * 50


async def test_a_queue_that_is_long_does_not_wait(autojump_clock):
    assert await make(Pace(lambda: True, 10), 5, waiting=11) == [0.0] * 5
