"""The memory watch: asleep while no job has a limit, and quick to end the one that is over its own."""

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gflow.daemon.memory_watch import MemoryWatch
from gflow.daemon.watcher import Watcher
from support.desk import Desk
from support.fake_launcher import FakeLauncher

idle = trio.testing.wait_all_tasks_blocked
MB = 1 << 20


class Office:
    """A desk with a watcher, and the watch under test."""

    def __init__(self):
        self.desk = Desk()
        self.launcher = FakeLauncher(lambda: self.desk.now)
        self.watch = MemoryWatch(self.desk.runtime, self.launcher)
        self.watcher = Watcher(
            self.desk.runtime, self.launcher, lambda _: pytest.fail("no log"), watching=self.watch.watching
        )
        self.desk.runtime.perform = self.watcher.perform
        self.looks = []
        look = self.launcher.memory_over

        async def noted(job):
            self.looks.append((job.id, trio.current_time()))
            return await look(job)

        self.launcher.memory_over = noted

    @asynccontextmanager
    async def open(self):
        async with trio.open_nursery() as nursery:
            await nursery.start(self.watcher.run)
            await nursery.start(self.watch.run)
            yield
            nursery.cancel_scope.cancel()

    async def start(self, **fields):
        job_id = self.desk.submit(**fields)
        self.desk.schedule()
        await idle()
        return job_id

    def job(self, job_id):
        return self.desk.engine.job(job_id)


@pytest.fixture
def office():
    return Office()


async def test_a_job_over_its_limit_is_killed_at_the_next_look(office, autojump_clock, caplog):
    async with office.open():
        job, other = await office.start(memory_mb=100), await office.start(memory_mb=200)
        office.launcher.memory = {job: 80 * MB, other: 150 * MB}
        await trio.sleep(2.5)
        assert office.launcher.running() == {job, other}
        office.launcher.memory[job] = 3200 * MB
        await trio.sleep(1)
        await idle()
        ended = office.job(job)
        assert (ended.state, ended.exit_code, ended.detail) == ("Failed", 137, "out of memory: used 3.1G of 100M")
        assert ("signal", job, 9) in office.launcher.calls
        assert office.launcher.running() == {other}
    assert "Job 1 uses 3.1G of memory, more than its 100M; killing it" in caplog.text


async def test_it_sleeps_while_no_job_has_a_limit(office, autojump_clock):
    async with office.open():
        free = await office.start()
        office.launcher.memory = {free: 1 << 50}
        await trio.sleep(60)
        assert office.looks == []
        job = await office.start(memory_mb=100)
        await trio.sleep(2.5)
        assert office.looks == [(job, pytest.approx(60 + n)) for n in (0, 1, 2)] or len(office.looks) == 3
        office.launcher.finish(job)
        await trio.sleep(60)
        assert len(office.looks) <= 4
        assert office.launcher.running() == {free}


async def test_a_slow_look_is_followed_by_a_long_rest(office, autojump_clock):
    look = office.launcher.memory_over

    async def slow(job):
        await trio.sleep(2)
        return await look(job)

    office.launcher.memory_over = slow
    async with office.open():
        await office.start(memory_mb=100)
        await trio.sleep(23)
    assert len(office.looks) == 4, "two seconds each, and four between them"


async def test_a_look_that_takes_for_ever_keeps_no_other_job_from_its_end(office, autojump_clock):
    look = office.launcher.memory_over

    async def stuck(job):
        if job.id == 1:
            await trio.sleep_forever()
        return await look(job)

    office.launcher.memory_over = stuck
    async with office.open():
        await office.start(memory_mb=100)
        other = await office.start(memory_mb=100)
        await trio.sleep(5)
        office.launcher.memory = {other: 150 * MB}
        await trio.sleep(1)
        await idle()
        assert office.job(other).detail == "out of memory: used 150M of 100M"


async def test_a_limit_that_is_raised_in_time_saves_the_job(office, autojump_clock):
    async with office.open():
        job = await office.start(memory_mb=100)
        office.launcher.memory = {job: 150 * MB}
        office.desk.runtime.commit(
            office.desk.engine.update(job, {"memory_mb": 200}, office.desk.now, may_raise_limit=True)
        )
        await trio.sleep(5)
        office.desk.runtime.commit(
            office.desk.engine.update(job, {"memory_mb": None}, office.desk.now, may_raise_limit=True)
        )
        office.launcher.memory = {job: 1 << 50}
        await trio.sleep(5)
        assert office.launcher.running() == {job}


async def test_what_outlives_the_main_process_is_watched_as_well(office, autojump_clock):
    async with office.open():
        job = await office.start(memory_mb=100)
        office.launcher.leave_behind(job, 1)
        office.launcher.finish(job, 1)
        office.launcher.memory = {job: 150 * MB}
        await trio.sleep(2)
        await idle()
        assert ("signal", job, 9) in office.launcher.calls
        assert office.job(job).state == "Failed"


async def test_a_later_daemon_goes_on_watching(office, autojump_clock):
    async with office.open():
        job = await office.start(memory_mb=100)
    later = Office()
    later.launcher._runs, later.launcher._ids = office.launcher._runs, office.launcher._ids
    engine = office.desk.engine
    later.desk.engine.restore(engine.jobs.values(), engine.groups.values(), engine.next_job_id, later.desk.now)
    async with later.open():
        later.launcher.memory = {job: 150 * MB}
        await trio.sleep(2)
        await idle()
        assert later.job(job).detail == "out of memory: used 150M of 100M"
