"""The timeout enforcer: to the deadline, by CLOCK_BOOTTIME, through the whole ladder."""

import logging
import signal
import time
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gflow import clock
from gflow.core.effects import Interrupt, SendSignal
from gflow.core.model import EarlySignal, Exit, Now, StopCause
from gflow.daemon import timeouts as module
from gflow.daemon.timeouts import TimeoutEnforcer
from support.desk import Desk, eventually
from support.fake_alarm import FakeAlarm
from support.jobs import START

idle = trio.testing.wait_all_tasks_blocked


@pytest.fixture
def fake_alarm(monkeypatch):
    monkeypatch.setattr(module, "Alarm", FakeAlarm)


class Guard:
    """A desk with an enforcer; `asked` has what it wanted done, as (seconds since the start, what)."""

    def __init__(self, desk):
        self.desk = desk
        self.asked = []
        desk.runtime.perform = self._perform

    def _perform(self, effect):
        match effect:
            case Interrupt():
                self.asked.append((self._secs(), "Ctrl-C"))
            case SendSignal(signal=number):
                self.asked.append((self._secs(), signal.Signals(number).name))

    def _secs(self):
        return self.desk.runtime.clock().boot - START.boot

    async def sleep_until(self, secs):
        """Let CLOCK_BOOTTIME get there, with the alarm ringing at each moment it is set to on the way."""
        await idle()
        while FakeAlarm.latest.set_to and self.desk.now.boot < FakeAlarm.latest.set_to[-1] <= START.boot + secs:
            self.desk.now = Now(START.wall, FakeAlarm.latest.set_to[-1])
            FakeAlarm.latest.ring()
            await idle()
        self.desk.now = Now(START.wall, START.boot + secs)


@asynccontextmanager
async def serving(desk):
    async with trio.open_nursery() as nursery:
        await nursery.start(TimeoutEnforcer(desk.runtime, lambda _job: False).run)
        yield Guard(desk)
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("fake_alarm")
class TestLadder:
    async def test_a_job_that_ignores_everything_is_killed_and_killed_again(self, caplog):
        desk = Desk()
        async with serving(desk) as guard:
            desk.start(time_limit_secs=60.0)
            await guard.sleep_until(77.5)
            expected = [(60, "Ctrl-C"), (70, "SIGTERM"), (75, "SIGKILL"), (76, "SIGKILL"), (77, "SIGKILL")]
            assert guard.asked == expected
        assert desk.engine.job(1).state == "Running", "until its last process is gone"
        assert "Job 1 has exceeded time limit" in caplog.text
        assert caplog.text.count("killing its processes") == 1

    async def test_a_job_that_ends_in_time_is_left_alone(self):
        desk = Desk()
        async with serving(desk) as guard:
            desk.start(time_limit_secs=60.0)
            await guard.sleep_until(59)
            desk.runtime.commit(desk.engine.ended(1, Exit(0, START.wall), desk.now))
            await guard.sleep_until(200)
            assert guard.asked == []
        assert desk.engine.job(1).state == "Finished"

    async def test_a_cancelled_job_climbs_the_same_ladder(self, caplog):
        caplog.set_level(logging.WARNING)
        desk = Desk()
        async with serving(desk) as guard:
            desk.start()
            desk.runtime.commit(desk.engine.stop(1, StopCause.CANCEL, desk.now))
            await guard.sleep_until(15)
            assert guard.asked == [(0, "Ctrl-C"), (10, "SIGTERM"), (15, "SIGKILL")]
        assert "exceeded" not in caplog.text

    async def test_the_early_signal_comes_once_and_in_time(self):
        desk = Desk()
        async with serving(desk) as guard:
            desk.start(time_limit_secs=60.0, early_signal=EarlySignal(signal.SIGUSR1, 20.0))
            await guard.sleep_until(65)
            assert guard.asked == [(40, "SIGUSR1"), (60, "Ctrl-C")]

    async def test_each_job_has_its_own_deadline(self):
        desk = Desk()
        async with serving(desk) as guard:
            for secs in (30.0, 10.0, 20.0):
                desk.start(time_limit_secs=secs)
            await guard.sleep_until(19)
            assert [job.stop is not None for job in desk.engine.jobs.values()] == [False, True, False]
            await guard.sleep_until(30)
            assert [job.stop is not None for job in desk.engine.jobs.values()] == [True, True, True]


@pytest.mark.usefixtures("fake_alarm")
class TestWakeUps:
    async def test_without_limits_there_is_nothing_to_wake_up_for(self):
        desk = Desk()
        async with serving(desk):
            desk.start()
            await idle()
            assert FakeAlarm.latest.set_to == []

    async def test_a_lowered_limit_strikes_at_its_new_moment(self):
        desk = Desk()
        async with serving(desk) as guard:
            desk.start(time_limit_secs=600.0)
            await idle()
            changes = {"time_limit_secs": 30.0}
            desk.runtime.commit(desk.engine.update(1, changes, desk.now, may_raise_limit=False))
            await guard.sleep_until(35)
            assert guard.asked == [(30, "Ctrl-C")]

    async def test_a_raised_limit_gives_more_time(self):
        desk = Desk()
        async with serving(desk) as guard:
            desk.start(time_limit_secs=30.0)
            await guard.sleep_until(20)
            changes = {"time_limit_secs": 90.0}
            desk.runtime.commit(desk.engine.update(1, changes, desk.now, may_raise_limit=True))
            await guard.sleep_until(95)
            assert guard.asked == [(90, "Ctrl-C")]

    async def test_steps_of_the_wall_clock_change_nothing(self):
        desk = Desk()
        async with serving(desk):
            desk.start(time_limit_secs=60.0)
            await idle()
            for wall in (START.wall - 86400, START.wall + 86400):
                desk.now = Now(wall, START.boot + 59.9)
                FakeAlarm.latest.ring()
                await idle()
            assert desk.engine.job(1).stop is None
            assert set(FakeAlarm.latest.set_to) == {START.boot + 60}

    async def test_a_limit_that_passed_during_a_suspend_strikes_at_the_wake_up(self):
        desk = Desk()
        async with serving(desk) as guard:
            desk.start(time_limit_secs=60.0)
            await idle()
            desk.now = Now(START.wall + 3600, START.boot + 3600)
            FakeAlarm.latest.ring()
            await idle()
            assert guard.asked == [(3600, "Ctrl-C")]

    async def test_a_limit_that_passed_before_the_start_strikes_at_once(self):
        desk = Desk()
        desk.start(time_limit_secs=60.0)
        desk.now = Now(START.wall, START.boot + 100)
        async with serving(desk):
            await idle()
            assert desk.engine.job(1).stop.cause is StopCause.TIMEOUT

    async def test_time_before_the_launch_does_not_count(self):
        desk = Desk()
        async with serving(desk) as guard:
            job_id = desk.submit(time_limit_secs=60.0)
            desk.schedule()
            await guard.sleep_until(100)
            assert FakeAlarm.latest.set_to == []
            desk.runtime.commit(desk.engine.launched(job_id, desk.now.wall, desk.now.boot))
            await guard.sleep_until(165)
            assert guard.asked == [(160, "Ctrl-C")]

    async def test_the_alarm_goes_by_the_clock_that_counts_suspends(self):
        async with serving(Desk()):
            assert FakeAlarm.latest.clock == time.CLOCK_BOOTTIME

    async def test_the_alarm_is_given_back(self):
        async with serving(Desk()):
            pass
        assert FakeAlarm.latest.closed


async def test_a_limit_strikes_to_the_moment_by_the_real_clock():
    desk = Desk(clock=clock.read)
    async with serving(desk):
        desk.start(time_limit_secs=0.05)
        await eventually(lambda: desk.engine.job(1).stop, "the time limit")
        late_secs = clock.read().boot - desk.engine.job(1).started_boot - 0.05
        assert 0 <= late_secs < 2, "and not at some next poll"
