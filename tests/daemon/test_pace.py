"""Jobs first: deliveries keep apart while jobs are being started, and catch up afterwards."""

import trio

from gflow.daemon.pace import APART_SECS, START_SECS, STARTS, Pace


async def make(pace, count, waiting=1):
    """When so many deliveries began, from now on."""
    began = trio.current_time()
    times = []
    for _ in range(count):
        await pace.turn(waiting)
        times.append(round(trio.current_time() - began, 6))
    return times


def in_a_burst():
    pace = Pace(10)
    for _ in range(STARTS):
        pace.started()
    return pace


async def test_a_few_starts_now_and_then_are_no_burst(autojump_clock):
    pace = Pace(10)
    for _ in range(10 * STARTS):
        pace.started()
        await trio.sleep(START_SECS / (STARTS - 1) + 0.001)
        assert await make(pace, 3) == [0.0] * 3


async def test_without_starts_nobody_waits(autojump_clock):
    assert await make(Pace(10), 100) == [0.0] * 100


async def test_during_a_burst_of_starts_they_keep_apart_whoever_makes_them(autojump_clock):
    pace = in_a_burst()
    assert await make(pace, 3) == [0.0, APART_SECS, 2 * APART_SECS]
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        for _ in range(4):
            nursery.start_soon(pace.turn, 1)
    assert round(trio.current_time() - began, 6) == 4 * APART_SECS


async def test_they_catch_up_when_it_is_over(autojump_clock):
    pace = in_a_burst()
    await trio.sleep(START_SECS + 0.001)
    assert await make(pace, 50) == [0.0] * 50


async def test_a_queue_that_is_long_does_not_wait(autojump_clock):
    pace = in_a_burst()
    assert await make(pace, 5, waiting=11) == [0.0] * 5
