"""Waiting for a change or for a moment, without missing either."""

import pytest
import trio
import trio.testing

from gflow.daemon.wake import Wake
from support.fake_alarm import FakeAlarm


@pytest.fixture
def alarm():
    return FakeAlarm(0)


async def test_a_change_before_the_wait_is_remembered():
    wake = Wake()
    wake.clear()
    wake.set()
    with trio.fail_after(5):
        await wake.wait()
        await wake.wait()


async def test_a_change_that_was_looked_at_is_forgotten(autojump_clock):
    wake = Wake()
    wake.set()
    wake.clear()
    with trio.move_on_after(1) as scope:
        await wake.wait()
    assert scope.cancelled_caught


@pytest.mark.parametrize("when", [None, 7.0])
async def test_a_change_ends_the_wait(alarm, when, nursery):
    wake, done = Wake(), trio.Event()

    async def wait():
        await wake.wait_or(alarm, when)
        done.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert not done.is_set()
    assert alarm.set_to == ([] if when is None else [when])
    wake.set()
    with trio.fail_after(5):
        await done.wait()


async def test_the_moment_ends_the_wait(alarm, nursery):
    wake, done = Wake(), trio.Event()

    async def wait():
        await wake.wait_or(alarm, 7.0)
        done.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    alarm.ring()
    with trio.fail_after(5):
        await done.wait()
