"""The scheduler service: a pass at every change and at every begin time, and at nothing else."""

import time
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gflow import clock
from gflow.core.model import Exit
from gflow.daemon import scheduler as module
from gflow.daemon.scheduler import Scheduler
from support.desk import Desk, eventually
from support.fake_alarm import FakeAlarm
from support.jobs import START, spec

idle = trio.testing.wait_all_tasks_blocked


@asynccontextmanager
async def serving(desk):
    """The service at work; yields a list that grows by one with each pass."""
    passes = []
    schedule = desk.engine.schedule

    def counted(now, run_ids):
        outcome = schedule(now, run_ids)
        passes.append([effect.job.id for effect in outcome.effects])
        return outcome

    desk.engine.schedule = counted
    async with trio.open_nursery() as nursery:
        await nursery.start(Scheduler(desk.runtime).run)
        await idle()
        yield passes
        nursery.cancel_scope.cancel()


@pytest.fixture
def fake_alarm(monkeypatch):
    monkeypatch.setattr(module, "Alarm", FakeAlarm)


@pytest.mark.usefixtures("fake_alarm")
class TestWakeUps:
    async def test_what_was_queued_before_the_start_is_started(self):
        desk = Desk()
        desk.submit()
        async with serving(desk) as passes:
            assert passes == [[1]]

    async def test_a_submission_is_started_at_once(self):
        desk = Desk()
        async with serving(desk) as passes:
            desk.submit()
            await idle()
            assert passes == [[], [1]]
            assert desk.done == [("job_submitted", 1), ("Launch", 1), ("job_started", 1)]

    async def test_nothing_happens_while_nothing_changes(self, autojump_clock):
        desk = Desk()
        async with serving(desk) as passes:
            await trio.sleep(30 * 86400)
            assert passes == [[]]

    async def test_starting_jobs_does_not_cause_another_pass(self):
        desk = Desk()
        for _ in range(5):
            desk.submit()
        async with serving(desk) as passes:
            assert passes == [[1, 2, 3, 4, 5]]

    async def test_what_an_end_frees_is_given_on_at_once(self):
        desk = Desk(gpu_count=1)
        desk.submit_all([spec(gpus=1)] * 3)
        async with serving(desk) as passes:
            desk.runtime.commit(desk.engine.ended(1, Exit(0, START.wall), START))
            await idle()
            desk.runtime.commit(desk.engine.ended(2, Exit(1, START.wall), START))
            await idle()
            assert [started for started in passes if started] == [[1], [2], [3]]

    async def test_a_change_made_during_a_pass_is_not_missed(self):
        desk = Desk()
        perform = desk.runtime.perform

        def submit_another(effect):
            perform(effect)
            if effect.job.id < 3:
                desk.submit()

        desk.runtime.perform = submit_another
        desk.log.at_once = False
        desk.submit()
        async with serving(desk) as passes:
            while desk.log.waiting:
                desk.log.write()
                await idle()
            assert [started for started in passes if started] == [[1], [2], [3]]


@pytest.mark.usefixtures("fake_alarm")
class TestBeginTimes:
    async def test_the_alarm_is_set_to_the_next_begin_time(self):
        desk = Desk()
        desk.submit(begin_at=START.wall + 100)
        desk.submit(begin_at=START.wall + 50)
        async with serving(desk) as passes:
            assert FakeAlarm.latest.set_to == [START.wall + 50]
            desk.now = START._replace(wall=START.wall + 50)
            FakeAlarm.latest.ring()
            await idle()
            assert passes == [[], [2]]
            assert FakeAlarm.latest.set_to == [START.wall + 50, START.wall + 100]

    async def test_a_clock_that_was_set_back_does_not_start_jobs_too_early(self):
        desk = Desk()
        desk.submit(begin_at=START.wall + 100)
        async with serving(desk) as passes:
            desk.now = START._replace(wall=START.wall - 3600)
            FakeAlarm.latest.ring()
            await idle()
            assert passes == [[], []]
            assert FakeAlarm.latest.set_to == [START.wall + 100] * 2

    async def test_a_job_without_a_begin_time_needs_no_alarm(self):
        desk = Desk()
        desk.submit()
        async with serving(desk):
            assert FakeAlarm.latest.set_to == []

    async def test_the_alarm_goes_by_the_clock_on_the_wall(self):
        async with serving(Desk()):
            assert FakeAlarm.latest.clock == time.CLOCK_REALTIME

    async def test_the_alarm_is_given_back(self):
        async with serving(Desk()):
            assert not FakeAlarm.latest.closed
        assert FakeAlarm.latest.closed


async def test_a_begin_time_is_met_by_the_real_clock():
    desk = Desk(clock=clock.read)
    begin_at = clock.read().wall + 0.05
    desk.submit(begin_at=begin_at)
    async with serving(desk):
        await eventually(lambda: desk.engine.job(1).state == "Running", "the start of the job")
        assert desk.engine.job(1).started_at >= begin_at


async def test_after_a_change_that_was_not_logged_the_daemon_falls():
    desk = Desk()
    with pytest.raises(ExceptionGroup) as raised, trio.fail_after(5):
        async with serving(desk):
            desk.log.broken = OverflowError("Integer value out of range")
            with pytest.raises(OverflowError):
                desk.submit()
            await trio.sleep_forever()
    (services,) = raised.value.exceptions
    (error,) = services.exceptions
    assert "could not be logged" in str(error)
    assert isinstance(error.__cause__, OverflowError)
