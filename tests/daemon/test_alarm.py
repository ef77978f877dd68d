"""Timers on the clocks that count: the wall clock and CLOCK_BOOTTIME."""

import errno
import math
import os
import time

import pytest
import trio

from gflow.daemon import alarm as module
from gflow.daemon.alarm import Alarm

CLOCKS = [time.CLOCK_REALTIME, time.CLOCK_BOOTTIME]
SOON_SECS = 0.03


@pytest.fixture(params=CLOCKS, ids=["realtime", "boottime"])
def clock(request):
    return request.param


@pytest.fixture
def alarm(clock):
    made = Alarm(clock)
    yield made
    made.close()


async def test_it_rings_at_the_moment_and_not_before(alarm, clock):
    when = time.clock_gettime(clock) + SOON_SECS
    with trio.fail_after(5):
        await alarm.wait_until(when)
    assert time.clock_gettime(clock) >= when


@pytest.mark.parametrize("ago_secs", [0.0, 1.0, 1e15])
async def test_a_moment_that_has_passed_rings_at_once(alarm, clock, ago_secs):
    with trio.fail_after(5):
        await alarm.wait_until(time.clock_gettime(clock) - ago_secs)


@pytest.mark.parametrize("far", [1e15, 1e300, math.inf])
async def test_a_moment_that_never_comes_does_not_ring(alarm, far):
    with trio.move_on_after(SOON_SECS) as scope:
        await alarm.wait_until(far)
    assert scope.cancelled_caught


async def test_a_wait_that_was_cancelled_leaves_an_alarm_that_can_be_set_again(alarm, clock):
    with trio.CancelScope() as scope:
        scope.cancel()
        await alarm.wait_until(time.clock_gettime(clock) + 3600)
    assert scope.cancelled_caught
    with trio.fail_after(5):
        await alarm.wait_until(time.clock_gettime(clock) + SOON_SECS)
    with trio.move_on_after(SOON_SECS) as again:
        await alarm.wait_until(time.clock_gettime(clock) + 3600)
    assert again.cancelled_caught, "the ring before is not heard again"


def test_it_gives_its_descriptor_back(clock):
    before = os.listdir("/proc/self/fd")
    Alarm(clock).close()
    assert os.listdir("/proc/self/fd") == before


def test_a_clock_there_is_not_is_an_error():
    with pytest.raises(OSError, match="Invalid argument"):
        Alarm(12345)


class Libc:
    """The system calls, with a note of the flags, and with a clock that is set while somebody waits."""

    def __init__(self):
        self.flags = []

    def timerfd_create(self, clock, flags):
        assert flags == os.O_NONBLOCK | os.O_CLOEXEC
        return os.eventfd(1, os.EFD_NONBLOCK)

    def timerfd_settime(self, fd, flags, setting, old):
        self.flags.append(flags)
        return 0


@pytest.mark.parametrize(("clock", "flags"), [(time.CLOCK_REALTIME, 1 | 2), (time.CLOCK_BOOTTIME, 1)])
async def test_a_step_of_the_wall_clock_ends_the_wait(clock, flags, monkeypatch):
    libc = Libc()
    monkeypatch.setattr(module, "_libc", libc)
    alarm = Alarm(clock)

    def read(fd, size):
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    monkeypatch.setattr(os, "read", read)
    with trio.fail_after(5):
        await alarm.wait_until(1.0)
    assert libc.flags == [flags], "absolute, and told of steps where there can be any"
    alarm.close()
