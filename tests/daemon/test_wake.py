"""A change is not missed, nor is the moment of a bell."""

import trio
import trio.testing

from gflow.daemon.wake import Bell, Wake
from support.fake_alarm import FakeAlarm

idle = trio.testing.wait_all_tasks_blocked


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


class Ringing:
    """A bell at work; `wait` returns the moments its alarm was set to so far."""

    def __init__(self, nursery):
        self.wake = Wake()
        self.alarm = FakeAlarm(0)
        self.bell = Bell(self.alarm, self.wake)
        nursery.start_soon(self.bell.run)

    async def set(self, when):
        self.bell.set(when)
        await idle()
        return self.alarm.set_to

    async def woken(self):
        """Whether the wake was set, which is forgotten."""
        await idle()
        with trio.move_on_after(0.02) as scope:
            await self.wake.wait()
        self.wake.clear()
        return not scope.cancelled_caught


async def test_a_bell_rings_at_its_moment_and_once(nursery):
    ringing = Ringing(nursery)
    assert await ringing.set(7.0) == [7.0]
    assert not await ringing.woken()
    ringing.alarm.ring()
    assert await ringing.woken()
    ringing.alarm.ring()
    assert not await ringing.woken()


async def test_a_bell_without_a_moment_does_not_ring(nursery):
    ringing = Ringing(nursery)
    assert await ringing.set(None) == []
    assert await ringing.set(7.0) == [7.0]
    await ringing.set(None)
    ringing.alarm.ring()
    assert not await ringing.woken()


async def test_the_same_moment_leaves_the_alarm_alone_and_another_does_not(nursery):
    ringing = Ringing(nursery)
    await ringing.set(7.0)
    assert await ringing.set(7.0) == [7.0]
    assert await ringing.set(5.0) == [7.0, 5.0]
    ringing.alarm.ring()
    assert await ringing.woken()


async def test_a_bell_that_rang_is_set_anew_also_to_the_moment_it_had(nursery):
    """The clock was set back: it is not yet time after all."""
    ringing = Ringing(nursery)
    await ringing.set(7.0)
    ringing.alarm.ring()
    assert await ringing.woken()
    assert await ringing.set(7.0) == [7.0, 7.0]


async def test_a_moment_set_in_the_very_step_in_which_the_bell_rings_is_not_lost(nursery):
    ringing = Ringing(nursery)
    await ringing.set(7.0)
    ringing.alarm.ring()
    ringing.bell.set(9.0)
    assert await ringing.woken(), "so whoever sets it looks again, and says when to ring next"
    assert (await ringing.set(9.0))[-1] == 9.0
