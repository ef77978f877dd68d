"""The watch over the GPUs: whose their processes are, what a hanging driver does, and when it looks."""

import logging
import threading
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gflow.core.errors import Unavailable
from gflow.core.model import Exit, GpuProcessId, GpuStatus, Now
from gflow.core.outcome import Outcome
from gflow.daemon import gpus as module
from gflow.daemon.attribution import DYING_SECS
from gflow.daemon.gpus import DEADLINE_SECS, SILENT, SOON_SECS, UNREPORTED, GpuWatch
from gflow.gpu.base import GpuProcess, ProbeReading, Reading
from gflow.launch.base import Owner
from support.desk import Desk, eventually
from support.fake_alarm import FakeAlarm
from support.jobs import START, gpus

INTERVAL_SECS = 10.0

idle = trio.testing.wait_all_tasks_blocked


@pytest.fixture(autouse=True)
def _fake_alarm(monkeypatch):
    monkeypatch.setattr(module, "Alarm", FakeAlarm)


class FakeProbe:
    """Shows what a test puts there; `answers` cleared, its calls hang."""

    def __init__(self, count):
        self.reading = ProbeReading(tuple(map(Reading, gpus(count))))
        self.answers = threading.Event()
        self.answers.set()
        self.calls = self.inside = self.most_inside = self.closed = 0

    def read(self):
        self.calls += 1
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        assert self.answers.wait(60)
        self.inside -= 1
        return self.reading

    def close(self):
        self.closed += 1

    def show(self, *processes, index=0, **fields):
        """What is on one device."""
        readings = list(self.reading.readings)
        readings[index] = Reading(readings[index].gpu, processes=processes, **fields)
        self.reading = ProbeReading(tuple(readings))

    def lose(self, trouble=None):
        """No device is reported any more."""
        self.reading = ProbeReading((), trouble)


class Post:
    """A watch at a desk. `owners` has the processes that can be seen; `told` is what the engine was told, in order.

    `known`: the two GPUs of the desk were seen by an earlier daemon.
    """

    def __init__(self, gpu_count=1, *, at_once=True, known=False, **options):
        self.desk = Desk(2, at_once=at_once)
        self.engine = self.desk.engine
        self.probe = FakeProbe(gpu_count)
        self.owners = {}
        self.told = []
        self.outcome = Outcome()
        self.engine.observe_gpus = self._observe
        there = tuple(self.engine.resources.gpus.values())
        self.engine.resources.set_gpus(there if known else ())
        self.watch = GpuWatch(
            self.desk.runtime, self.probe, self._owners, **{"interval_secs": INTERVAL_SECS, **options}
        )
        self.engine.resources.set_gpus(there)

    def _observe(self, seen, status, now):
        assert now == self.desk.now
        assert [gpu.index for gpu in seen] == sorted(status)
        self.told.append((list(seen), dict(status)))
        return self.outcome

    async def _owners(self, pids):
        await trio.lowlevel.checkpoint()
        return {pid: self.owners[pid] for pid in pids if pid in self.owners}

    @asynccontextmanager
    async def open(self):
        async with trio.open_nursery() as nursery:
            await nursery.start(self.watch.run)
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()
        self.probe.answers.set()

    def status(self, index=0):
        """What the engine was told last of a device."""
        return self.told[-1][1].get(index)

    async def look(self):
        """One more round; what it told of the first device."""
        before = len(self.told)
        self.watch.look()
        await eventually(lambda: len(self.told) > before, "a round")
        await idle()
        return self.status()

    def at(self, secs):
        """So many seconds after the start."""
        self.desk.now = Now(START.wall + secs, START.boot + secs)

    async def ring(self, secs):
        """The alarm rings at this moment, for which it must be set."""
        await idle()
        assert FakeAlarm.latest.set_to[-1] == START.boot + secs
        self.at(secs)
        FakeAlarm.latest.ring()
        await idle()

    def process(self, pid, job_id=None, start_ticks=7):
        """A process can be seen: of a job, or of nobody of ours."""
        self.owners[pid] = Owner(start_ticks, self.engine.job(job_id).run_id if job_id is not None else None)

    def end(self, job_id):
        """The last process of a job is gone."""
        self.desk.runtime.commit(self.engine.ended(job_id, Exit(0, self.desk.now.wall), self.desk.now))


def occupied(**options):
    """A post where a job runs whose process 10 is on the GPU, with 500 MB; and the job's id."""
    post = Post(**options)
    job_id = post.desk.start(gpus=1)
    post.process(10, job_id)
    post.probe.show(GpuProcess(10, 500))
    return post, job_id


def foreign(*pids, start_ticks=7):
    return tuple(GpuProcessId(pid, start_ticks) for pid in pids)


class TestLooking:
    async def test_it_has_started_once_the_engine_knows_the_gpus(self):
        post = Post(2)
        post.probe.show(used_mb=300, utilisation_pct=12)
        async with post.open():
            assert post.told == [(gpus(2), {0: GpuStatus(used_mb=300, utilisation_pct=12), 1: GpuStatus()})]
            assert post.watch.trouble is None

    async def test_the_scheduler_is_woken_by_what_was_seen(self):
        async with Post().open() as post:
            post.desk.runtime.schedule_wake.clear()
            await post.look()
            with trio.fail_after(5):
                await post.desk.runtime.schedule_wake.wait()

    async def test_what_the_engine_makes_of_it_is_logged(self):
        async with Post().open() as post:
            post.outcome = Outcome(settings={"seen": 1})
            await post.look()
            assert post.desk.runtime.settings == {"seen": 1}

    async def test_it_looks_again_after_each_interval(self):
        async with Post().open() as post:
            for number in (1, 2, 3):
                await post.ring(number * INTERVAL_SECS)
                await eventually(lambda n=number: len(post.told) == n + 1, "a round")

    async def test_nobody_looks_in_between(self):
        async with Post().open() as post:
            post.at(INTERVAL_SECS - 0.1)
            FakeAlarm.latest.ring()
            await idle()
            assert post.probe.calls == 1

    async def test_asked_while_it_looks_it_looks_once_more(self):
        async with Post().open() as post:
            post.probe.answers.clear()
            post.watch.look()
            await eventually(lambda: post.probe.inside, "a call")
            post.watch.look()
            post.watch.look()
            await idle()
            post.probe.answers.set()
            await eventually(lambda: len(post.told) == 3, "the second round")
            await idle()
            assert (post.probe.calls, post.probe.most_inside) == (3, 1)

    async def test_an_end_makes_it_look_but_not_more_often_than_once_a_second(self):
        post = Post()
        jobs = [post.desk.start(gpus=1), post.desk.start(gpus=1)]
        async with post.open():
            for job_id in jobs:
                post.end(job_id)
            await idle()
            assert post.probe.calls == 1
            await post.ring(SOON_SECS)
            await eventually(lambda: len(post.told) == 2, "a round")
            await idle()
            assert FakeAlarm.latest.set_to[-1] == START.boot + SOON_SECS + INTERVAL_SECS

    async def test_an_end_some_time_after_the_last_look_is_looked_at_at_once(self):
        post = Post()
        job_id = post.desk.start(gpus=1)
        async with post.open():
            post.at(SOON_SECS + 0.5)
            post.end(job_id)
            await eventually(lambda: len(post.told) == 2, "a round")

    async def test_the_end_of_a_job_without_gpus_makes_nobody_look(self):
        post = Post()
        job_id = post.desk.start()
        async with post.open():
            post.at(SOON_SECS + 0.5)
            post.end(job_id)
            await idle()
            assert post.probe.calls == 1

    async def test_only_the_gpus_that_gflow_may_have_are_told_of(self):
        post = Post(3, allowed=[0, 2])
        post.probe.show(GpuProcess(9, 1), index=1)
        async with post.open():
            assert [gpu.index for gpu in post.told[-1][0]] == [0, 2]

    async def test_a_daemon_that_is_leaving_is_no_error(self):
        async with Post().open() as post:
            post.outcome = Outcome(settings={"seen": 1})
            post.desk.log.broken = Unavailable("The daemon is stopping")
            await post.look()
            await post.look()


class TestAttribution:
    @pytest.mark.parametrize(
        ("listed", "expected"),
        [
            ([], GpuStatus()),
            ([GpuProcess(10, 500)], GpuStatus(job_mb={1: 500})),
            ([GpuProcess(10, 500), GpuProcess(11, 30)], GpuStatus(job_mb={1: 530})),
            ([GpuProcess(10, 500), GpuProcess(11, 30, graphics=True)], GpuStatus(job_mb={1: 530})),
            ([GpuProcess(10, 500), GpuProcess(11, None)], GpuStatus(job_mb={1: None})),
            ([GpuProcess(11, None), GpuProcess(10, 500)], GpuStatus(job_mb={1: None})),
            ([GpuProcess(10, 500), GpuProcess(20, 40)], GpuStatus(job_mb={1: 500, 2: 40})),
            ([GpuProcess(30, 900)], GpuStatus(foreign=foreign(30))),
            ([GpuProcess(30, 900, graphics=True)], GpuStatus()),
            ([GpuProcess(10, 1), GpuProcess(30, 1)], GpuStatus(job_mb={1: 1}, foreign=foreign(30))),
            ([GpuProcess(40, 1)], GpuStatus(foreign=foreign(40))),
            ([GpuProcess(50, 1)], GpuStatus(foreign=foreign(50, start_ticks=0))),
            ([GpuProcess(50, 1, graphics=True)], GpuStatus()),
        ],
        ids=[
            "nothing",
            "a job",
            "two processes of a job",
            "a job that draws, too",
            "memory of one not told",
            "memory of the first not told",
            "two jobs",
            "a stranger",
            "a stranger that draws",
            "a job and a stranger",
            "a launch nobody knows",
            "what cannot be looked at",
            "what cannot be looked at and draws",
        ],
    )
    async def test_whose_the_processes_are(self, listed, expected):
        post = Post()
        one, two = post.desk.start(gpus=1), post.desk.start()
        for pid, job_id in ((10, one), (11, one), (20, two), (30, None)):
            post.process(pid, job_id)
        post.owners[40] = Owner(7, "launch of another daemon")
        post.probe.show(*listed)
        async with post.open():
            assert post.status() == expected

    async def test_what_is_left_of_a_job_is_not_foreign_for_some_time(self):
        post, job_id = occupied()
        async with post.open():
            post.at(5)
            post.end(job_id)
            for secs in (5, 20, 5 + DYING_SECS - 0.1):
                post.at(secs)
                assert await post.look() == GpuStatus(), "neither the job's nor foreign"
            post.at(5 + DYING_SECS)
            assert await post.look() == GpuStatus(foreign=foreign(10))

    async def test_a_process_that_has_gone_but_is_still_listed_is_its_job_s_and_then_dying(self):
        post, job_id = occupied()
        async with post.open():
            del post.owners[10]
            assert await post.look() == GpuStatus(job_mb={job_id: 500})
            post.end(job_id)
            assert await post.look() == GpuStatus()
            post.at(DYING_SECS)
            assert await post.look() == GpuStatus(foreign=foreign(10))

    async def test_a_stranger_that_has_gone_but_is_still_listed_is_the_same_stranger(self):
        post = Post()
        post.process(30)
        post.probe.show(GpuProcess(30, 500))
        async with post.open():
            del post.owners[30]
            assert await post.look() == GpuStatus(foreign=foreign(30))

    async def test_what_may_be_a_dead_process_is_looked_at_again_soon_but_not_for_ever(self):
        """It came and went between two looks; the driver is about to let go of it, or it is out of our sight."""
        post = Post()
        post.probe.show(GpuProcess(50, 500))
        async with post.open():
            for secs in range(1, int(DYING_SECS) + 1):
                assert post.status() == GpuStatus(foreign=foreign(50, start_ticks=0))
                await post.ring(secs * SOON_SECS)
                await eventually(lambda n=secs: len(post.told) == n + 1, "a round")
            await idle()
            assert FakeAlarm.latest.set_to[-1] == START.boot + DYING_SECS + INTERVAL_SECS

    async def test_a_process_whose_mark_can_no_longer_be_read_stays_its_job_s(self):
        post, job_id = occupied()
        async with post.open():
            post.process(10)
            assert await post.look() == GpuStatus(job_mb={job_id: 500})

    async def test_another_process_under_the_same_id_is_foreign_at_once(self):
        post, _ = occupied()
        async with post.open():
            post.process(10, start_ticks=8)
            assert await post.look() == GpuStatus(foreign=foreign(10, start_ticks=8))

    async def test_an_id_that_was_not_listed_for_a_while_says_nothing_of_who_has_it_now(self):
        post, _ = occupied()
        async with post.open():
            del post.owners[10]
            post.probe.show()
            await post.look()
            post.probe.show(GpuProcess(10, 500))
            assert await post.look() == GpuStatus(foreign=foreign(10, start_ticks=0))

    async def test_a_job_that_came_and_went_between_two_looks_leaves_nothing_foreign(self):
        async with Post().open() as post:
            job_id = post.desk.start(gpus=1)
            post.process(10, job_id)
            post.end(job_id)
            post.probe.show(GpuProcess(10, 500))
            assert await post.look() == GpuStatus()

    async def test_a_job_whose_end_is_not_on_disk_yet_leaves_nothing_foreign(self):
        post, job_id = occupied(at_once=False)
        async with post.open():
            post.end(job_id)
            assert post.desk.log.waiting
            assert await post.look() == GpuStatus()

    async def test_a_job_that_ended_before_the_first_look_leaves_nothing_foreign(self):
        post = Post()
        job_id = post.desk.start(gpus=1)
        watch = GpuWatch(post.desk.runtime, post.probe, post._owners, interval_secs=INTERVAL_SECS)
        post.watch = watch
        post.end(job_id)
        post.process(10, job_id)
        post.probe.show(GpuProcess(10, 500))
        async with post.open():
            assert post.status() == GpuStatus()


class TestTrouble:
    async def test_a_fault_is_handed_on(self):
        post = Post(2)
        post.probe.show(index=1, fault="it is lost")
        async with post.open():
            assert [post.status(index).fault for index in (0, 1)] == [None, "it is lost"]
            assert post.watch.trouble is None

    async def test_a_device_that_is_not_reported_any_more_is_kept_with_a_fault(self):
        async with Post(2).open() as post:
            known = post.probe.reading
            post.probe.reading = ProbeReading(known.readings[:1])
            await post.look()
            assert post.told[-1] == (gpus(2), {0: GpuStatus(), 1: GpuStatus(fault=UNREPORTED)})
            post.probe.reading = known
            await post.look()
            assert post.told[-1] == (gpus(2), {0: GpuStatus(), 1: GpuStatus()})

    async def test_without_a_driver_no_device_can_be_used_and_it_is_said_why(self):
        async with Post(2).open() as post:
            known = post.probe.reading
            post.probe.lose("the driver is not loaded")
            await post.look()
            assert [post.status(index).fault for index in (0, 1)] == [UNREPORTED, UNREPORTED]
            assert post.watch.trouble == "the driver is not loaded"
            post.probe.reading = known
            await post.look()
            assert [post.status(index).fault for index in (0, 1)] == [None, None]
            assert post.watch.trouble is None

    async def test_a_machine_without_gpus_is_no_trouble_to_start_on(self):
        post = Post(0)
        post.probe.lose("no driver")
        async with post.open():
            assert post.told == [([], {})]
            assert post.watch.trouble == "no driver"


class TestKnownBefore:
    async def test_what_an_earlier_daemon_saw_is_there_though_the_driver_shows_nothing(self):
        post = Post(0, known=True)
        post.probe.lose("no driver")
        async with post.open():
            assert post.told == [(gpus(2), dict.fromkeys(range(2), GpuStatus(fault=UNREPORTED)))]

    async def test_it_is_forgotten_once_the_driver_shows_what_there_is(self):
        post = Post(1, known=True)
        async with post.open():
            assert post.told == [(gpus(1), {0: GpuStatus()})]

    async def test_a_driver_that_hangs_at_the_start_keeps_jobs_off_what_was_seen_before(self):
        post = Post(known=True)
        post.probe.answers.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post.watch.run)
            await eventually(lambda: post.probe.inside, "a call")
            await post.ring(DEADLINE_SECS)
            await eventually(lambda: post.told, "the silence")
            assert post.told == [(gpus(2), dict.fromkeys(range(2), GpuStatus(fault=SILENT)))]
            post.probe.answers.set()
            nursery.cancel_scope.cancel()


class TestHanging:
    async def test_a_driver_that_hangs_makes_all_gpus_unusable_until_it_answers(self):
        post = Post(2)
        post.probe.show(GpuProcess(30, 900), utilisation_pct=5, used_mb=900)
        post.process(30)
        async with post.open():
            healthy = post.told[-1]
            post.probe.answers.clear()
            post.at(20)
            post.watch.look()
            await eventually(lambda: post.probe.inside, "a call")
            assert post.told == [healthy], "not for being slow"
            await post.ring(20 + DEADLINE_SECS)
            assert post.told[1:] == [
                (healthy[0], {0: GpuStatus(fault=SILENT, foreign=foreign(30)), 1: GpuStatus(fault=SILENT)})
            ]
            post.at(60)
            assert post.watch.trouble == f"{SILENT}, for 40 s now; until it does nothing is put on a GPU"
            post.probe.answers.set()
            await eventually(lambda: len(post.told) >= 3, "the answer")
            assert post.told[-1] == healthy
            assert post.watch.trouble is None

    async def test_while_a_call_hangs_there_is_no_other(self):
        post = Post()
        job_id = post.desk.start(gpus=1)
        async with post.open():
            post.probe.answers.clear()
            post.watch.look()
            await eventually(lambda: post.probe.inside, "a call")
            await post.ring(DEADLINE_SECS)
            post.at(100)
            for ask in (post.watch.look, FakeAlarm.latest.ring, lambda: post.end(job_id), post.watch.look):
                ask()
                await idle()
            assert (post.probe.calls, len(post.told)) == (2, 2)
            post.probe.answers.set()
            await eventually(lambda: len(post.told) == 4, "the answer, and the look that was asked for")
            await idle()
            assert (post.probe.calls, post.probe.most_inside) == (3, 1)

    async def test_a_driver_that_hangs_from_the_start_does_not_keep_the_daemon_from_starting(self):
        post = Post()
        post.probe.answers.clear()
        started = trio.Event()
        async with trio.open_nursery() as nursery:

            async def start():
                await nursery.start(post.watch.run)
                started.set()

            nursery.start_soon(start)
            await eventually(lambda: post.probe.inside, "a call")
            await idle()
            assert not started.is_set()
            await post.ring(DEADLINE_SECS)
            assert started.is_set()
            assert post.told == [([], {})]
            assert str(post.watch.trouble).startswith(SILENT)
            post.probe.answers.set()
            await eventually(lambda: len(post.told) == 2, "the answer")
            assert post.told[-1] == (gpus(1), {0: GpuStatus()})
            nursery.cancel_scope.cancel()

    async def test_it_stops_at_once_while_a_call_hangs_and_leaves_the_probe_alone(self, monkeypatch):
        post = Post()
        monkeypatch.setattr(module, "CLOSE_SECS", 60.0)
        with trio.fail_after(5):
            async with post.open():
                post.probe.answers.clear()
                post.watch.look()
                await eventually(lambda: post.probe.inside, "a call")
        assert post.probe.closed == 0

    async def test_otherwise_the_probe_is_closed(self):
        post = Post()
        async with post.open():
            assert post.probe.closed == 0
        assert post.probe.closed == 1
        assert FakeAlarm.latest.closed

    async def test_a_probe_that_does_not_let_go_is_left(self, monkeypatch):
        post = Post()
        monkeypatch.setattr(module, "CLOSE_SECS", 0.01)
        monkeypatch.setattr(post.probe, "close", post.probe.read)
        with trio.fail_after(5):
            async with post.open():
                post.probe.answers.clear()


class TestLog:
    """What has changed is said once."""

    @pytest.fixture(autouse=True)
    def _all_of_it(self, caplog):
        caplog.set_level(logging.INFO, logger="gflow")

    async def _said(self, post, caplog):
        """What three more rounds say."""
        caplog.clear()
        for _ in range(3):
            await post.look()
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    async def test_of_devices(self, caplog):
        post = Post(2)
        async with post.open():
            assert caplog.messages == ["GPU 0: Test, memory not told, GPU-0", "GPU 1: Test, memory not told, GPU-1"]
            assert await self._said(post, caplog) == []

    async def test_of_faults(self, caplog):
        async with Post(2).open() as post:
            post.probe.show(fault="it is lost", index=1)
            assert await self._said(post, caplog) == [("WARNING", "GPU 1 cannot be used: it is lost")]
            post.probe.show(index=1)
            assert await self._said(post, caplog) == [("INFO", "GPU 1 can be used again")]

    async def test_of_strangers(self, caplog):
        async with Post().open() as post:
            post.probe.show(GpuProcess(30, 1), GpuProcess(31, 1))
            assert await self._said(post, caplog) == [("INFO", "GPU 0 is used from outside of gflow: pid 30, 31")]
            post.probe.show()
            assert await self._said(post, caplog) == [("INFO", "GPU 0 is not used from outside of gflow any more")]

    async def test_of_a_driver_that_has_gone(self, caplog):
        async with Post(2).open() as post:
            known = post.probe.reading
            post.probe.lose("the driver is not loaded")
            assert await self._said(post, caplog) == [("WARNING", "GPUs: the driver is not loaded")]
            post.probe.reading = known
            assert await self._said(post, caplog) == [("INFO", "GPUs: the driver answers now")]

    async def test_of_a_machine_without_gpus(self, caplog):
        post = Post(0)
        post.probe.lose("no driver")
        async with post.open():
            assert [(r.levelname, r.getMessage()) for r in caplog.records] == [("INFO", "GPUs: none: no driver")]
            assert await self._said(post, caplog) == []

    async def test_of_a_driver_that_hangs(self, caplog):
        async with Post(2).open() as post:
            post.probe.answers.clear()
            post.watch.look()
            await eventually(lambda: post.probe.inside, "a call")
            caplog.clear()
            await post.ring(DEADLINE_SECS)
            post.probe.answers.set()
            await eventually(lambda: len(post.told) >= 3, "the answer")
            assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
                ("WARNING", f"GPUs: {SILENT}"),
                ("INFO", "GPUs: the driver answers now"),
            ]
            assert await self._said(post, caplog) == []
