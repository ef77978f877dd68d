"""The watcher: from the launch of a job to its last process, over restarts of the daemon."""

import logging
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from gflow.core.errors import Unavailable
from gflow.core.model import StopCause, StopStep
from gflow.daemon import going_down, stalls, watcher
from gflow.daemon.going_down import GoingDown, Left
from gflow.daemon.watcher import Watcher
from gflow.launch.base import CannotLaunch
from gflow.launch.ending import RESTARTED
from support.desk import Desk, eventually
from support.fake_launcher import STUBBORN, FakeLauncher
from support.hanging import hanging
from support.jobs import gpus, spec
from support.lease import leased

idle = trio.testing.wait_all_tasks_blocked


class Office:
    """A desk with a watcher and a launcher; one with `before` is another daemon over the same jobs.

    `logs` is where the output of jobs is.
    """

    def __init__(self, before=None, *, gpu_count=0, logs=Path("/nonexistent")):
        self.desk = Desk(gpu_count)
        self.logs = before.logs if before else logs
        self.launcher = before.launcher if before else FakeLauncher(lambda: self.desk.now)
        self.launcher.manners = dict.fromkeys(range(1, 10), STUBBORN)
        if before:
            engine = before.desk.engine
            self.desk.engine.restore(engine.jobs.values(), engine.groups.values(), engine.next_job_id, self.desk.now)
            self.desk.runtime.run_ids = before.desk.runtime.run_ids
        self.watcher = Watcher(self.desk.runtime, self.launcher, self.log_of)
        self.desk.runtime.perform = self.watcher.perform

    def watch_out(self, shutdowns):
        """Have the watcher know of shutdowns of the machine."""
        self.watcher = Watcher(self.desk.runtime, self.launcher, self.log_of, going_down=shutdowns)
        self.desk.runtime.perform = self.watcher.perform

    @asynccontextmanager
    async def open(self):
        async with trio.open_nursery() as nursery:
            await nursery.start(self.watcher.run)
            await idle()
            yield
            nursery.cancel_scope.cancel()

    def log_of(self, job_id):
        return self.logs / f"{job_id}.log"

    def job(self, job_id=1):
        return self.desk.engine.job(job_id)

    async def start(self, **fields):
        """Queue and start a job."""
        self.desk.submit(**fields)
        self.desk.schedule()
        await idle()

    async def stop(self, cause=StopCause.CANCEL, job_id=1):
        self.desk.runtime.commit(self.desk.engine.stop(job_id, cause, self.desk.now, by="ana"))
        await idle()

    async def enforce(self, secs):
        """Let time pass, and do what is due."""
        now = self.desk.now
        self.desk.now = now._replace(boot=now.boot + secs)
        self.desk.runtime.commit(self.desk.engine.enforce(self.desk.now))
        await idle()

    async def finish(self, job_id, code=0, *, survivors=0):
        """The main process of a job ends."""
        self.launcher.leave_behind(job_id, survivors)
        self.launcher.finish(job_id, code)
        await idle()


# -- launches --------------------------------------------------------------------------------------------------------


async def test_jobs_that_may_start_in_one_moment_are_launched_in_their_order():
    office = Office()
    for _ in range(60):
        office.desk.submit()
    async with office.open():
        office.desk.schedule()
        await eventually(lambda: len(office.launcher.calls) >= 60, "every launch")
    assert [job_id for name, job_id, *_ in office.launcher.calls if name == "launch"] == list(range(1, 61))


async def test_a_job_is_launched_watched_and_ended():
    office = Office()
    async with office.open():
        await office.start()
        assert office.launcher.calls == [("launch", 1)]
        assert office.job().started_boot == office.desk.now.boot
        await office.finish(1, 3)
        assert (office.job().state, office.job().exit_code) == ("Failed", 3)
        assert office.launcher.calls == [("launch", 1), ("discard", 1)]


async def test_launches_do_not_wait_for_each_other():
    office = Office()
    office.launcher.hold_launches()
    async with office.open():
        for _ in range(3):
            await office.start()
        assert sorted(office.launcher.calls) == [("launch", 1), ("launch", 2), ("launch", 3)]
        office.launcher.let_launch()
        await idle()
        assert [office.job(number).started_boot is not None for number in (1, 2, 3)] == [True] * 3


async def test_time_counts_from_the_first_instruction_not_from_the_decision():
    office = Office()
    office.launcher.hold_launches()
    async with office.open():
        await office.start(time_limit_secs=60.0)
        assert office.job().started_boot is None
        assert office.desk.engine.next_deadline_boot() is None
        office.desk.now = office.desk.now._replace(boot=office.desk.now.boot + 5)
        office.launcher.let_launch()
        await idle()
        assert office.desk.engine.next_deadline_boot() == office.desk.now.boot + 60


async def test_a_launch_that_fails_ends_the_job_with_its_reason(caplog):
    office = Office()
    office.launcher.refuse(1, "No space left on device")
    async with office.open():
        await office.start()
        job = office.job()
        assert (job.state, job.exit_code, job.detail) == ("Failed", None, "No space left on device")
        assert "Job 1 could not be started: No space left on device" in caplog.text
        assert office.launcher.calls == [("launch", 1), ("discard", 1)]


async def test_a_launch_that_fails_is_retried_like_any_failure():
    office = Office()
    office.launcher.refuse(1, "No such shell")
    async with office.open():
        await office.start(max_retries=1)
        assert office.job().retried_as == 2
        office.desk.schedule()
        await idle()
        assert 2 in office.launcher.running()


async def until_running(office, *job_ids):
    with trio.fail_after(20):
        while office.launcher.running() != set(job_ids):
            await trio.sleep(0.002)


async def test_where_nothing_can_be_launched_no_job_fails(monkeypatch, caplog):
    monkeypatch.setattr(stalls, "BACKOFF_SECS", (0.01,))
    office = Office()
    office.launcher.trouble = CannotLaunch("there is no tmux server")
    async with office.open():
        await office.start()
        await office.start()
        assert [office.job(number).state for number in (1, 2)] == ["Running", "Queued"]
        assert caplog.text.count("there is no tmux server") == 1, "once, however often it is tried"
        office.launcher.trouble = None
        await until_running(office, 1)
        office.desk.schedule()
        await until_running(office, 1, 2)
        assert office.job(1).started_boot is not None


async def test_a_job_that_waits_to_be_launched_is_stopped_at_once(monkeypatch):
    monkeypatch.setattr(stalls, "BACKOFF_SECS", (3600,))
    office = Office()
    office.launcher.trouble = CannotLaunch("there is no tmux server")
    async with office.open():
        await office.start()
        assert office.desk.engine.stalled
        await office.stop()
        assert (office.job().state, office.launcher.running()) == ("Cancelled", set())
        assert not office.desk.engine.stalled, "the next one is to try"


async def test_whoever_is_launched_first_lets_all_others_go_on(monkeypatch):
    monkeypatch.setattr(stalls, "BACKOFF_SECS", (3600,))
    office = Office()
    office.launcher.hold_launches()
    office.launcher.trouble = CannotLaunch("no helper", "ana")
    async with office.open():
        office.desk.submit_all([spec(owner="ana"), spec(owner="ana"), spec(owner="ben")])
        office.desk.schedule()
        office.launcher.let_launch()
        await idle()
        assert office.desk.engine.stalled == {"ana": "no helper"}
        office.launcher.trouble = None
        await office.stop(StopCause.CANCEL, 1)
        await idle()
        office.watcher._stalls.hurry(2)
        await until_running(office, 2, 3)
        assert not office.desk.engine.stalled


async def test_what_one_owner_cannot_have_launched_is_given_up_one_day(monkeypatch):
    monkeypatch.setattr(stalls, "GIVE_UP_SECS", -1)
    office = Office()
    office.launcher.trouble = CannotLaunch("no helper", "ana")
    async with office.open():
        await office.start(owner="ana")
        assert (office.job().state, office.job().detail) == ("Failed", "Nothing could be launched: no helper")
        assert not office.desk.engine.stalled


# -- stopping --------------------------------------------------------------------------------------------------------


async def test_a_cancel_while_launching_waits_for_the_launch():
    office = Office()
    office.launcher.hold_launches()
    async with office.open():
        await office.start()
        await office.stop()
        assert office.launcher.calls == [("launch", 1)]
        assert office.job().state == "Running"
        office.launcher.let_launch()
        await idle()
        assert office.launcher.calls == [("launch", 1), ("interrupt", 1)]
        await office.finish(1, 130)
        assert office.job().state == "Cancelled"


async def test_a_cancel_while_launching_of_a_job_that_cannot_be_launched_asks_for_nothing():
    office = Office()
    office.launcher.refuse(1, "no")
    office.launcher.hold_launches()
    async with office.open():
        await office.start()
        await office.stop()
        office.launcher.let_launch()
        await idle()
        assert office.job().state == "Cancelled"
        assert office.launcher.calls == [("launch", 1), ("discard", 1)]


async def test_the_whole_ladder_reaches_the_job():
    office = Office()
    async with office.open():
        await office.start()
        await office.stop()
        await office.enforce(10)
        await office.enforce(5)
        assert office.launcher.calls == [
            *[("launch", 1), ("interrupt", 1), ("signal", 1, signal.SIGTERM), ("signal", 1, signal.SIGKILL)],
            ("discard", 1),
        ]
        assert (office.job().state, office.job().exit_code) == ("Cancelled", 137)


async def test_what_is_asked_of_a_job_that_has_just_ended_is_not_done():
    office = Office()
    office.desk.log.at_once = False
    async with office.open():
        office.desk.submit()
        office.desk.schedule()
        office.desk.log.write()
        await idle()
        office.desk.log.write()
        await office.stop()
        await office.finish(1, 0)
        office.desk.log.write()
        await idle()
        assert office.job().state == "Cancelled"
        assert office.launcher.calls == [("launch", 1), ("discard", 1)]


# -- what outlives the main process ----------------------------------------------------------------------------------


async def test_leftovers_are_stopped_and_the_job_ends_with_them():
    office = Office()
    async with office.open():
        await office.start()
        await office.finish(1, 0, survivors=2)
        assert office.job().state == "Running", "its GPUs are still in use"
        assert office.job().stop.cause is StopCause.LEFTOVERS
        assert office.launcher.calls[-1] == ("signal", 1, signal.SIGTERM)
        office.launcher.leave_behind(1, 0)
        await idle()
        assert (office.job().state, office.job().exit_code) == ("Finished", 0)


async def test_leftovers_that_ignore_sigterm_are_killed():
    office = Office()
    async with office.open():
        await office.start()
        await office.finish(1, 4, survivors=2)
        await office.enforce(5)
        assert office.launcher.calls[-2:] == [("signal", 1, signal.SIGKILL), ("discard", 1)]
        assert (office.job().state, office.job().exit_code) == ("Failed", 4)


async def test_leftovers_of_a_job_that_is_being_stopped_stay_on_its_ladder():
    office = Office()
    async with office.open():
        await office.start()
        await office.stop()
        await office.finish(1, 130, survivors=2)
        assert office.job().stop.step is StopStep.INTERRUPT
        assert office.job().stop.cause is StopCause.CANCEL
        await office.enforce(10)
        await office.enforce(5)
        assert (office.job().state, office.job().exit_code) == ("Cancelled", 130)


# -- durability ------------------------------------------------------------------------------------------------------


async def test_the_traces_of_a_job_stay_until_its_end_is_on_disk():
    office = Office()
    async with office.open():
        await office.start()
        office.desk.log.at_once = False
        await office.finish(1, 0)
        assert office.job().state == "Finished"
        assert office.launcher.calls == [("launch", 1)]
        office.desk.log.write()
        await idle()
        assert office.launcher.calls == [("launch", 1), ("discard", 1)]


async def test_a_disk_that_fails_for_long_does_not_end_the_watcher():
    office = Office()
    async with office.open():
        await office.start()
        await office.start()
        office.desk.log.at_once = False
        await office.finish(1, 0)

        def refuse():
            raise Unavailable("The state cannot be written: No space left on device")

        office.desk.log.check_writable = refuse
        await office.finish(2, 0)
        assert [office.job(number).state for number in (1, 2)] == ["Finished", "Finished"]
        office.desk.log.write()
        await idle()
        assert {("discard", 1), ("discard", 2)} <= set(office.launcher.calls)


# -- GPU memory that ran out -----------------------------------------------------------------------------------------

RAN_OUT = (
    b"Traceback (most recent call last):\r\n  ...\r\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate"
)
WISHES = {"gpus": 1, "gpu_memory_mb": 12288, "retry_on_oom": True}


def gpu_office(tmp_path, before=None, log=RAN_OUT):
    """An office with a GPU, where job 1 will have printed `log`."""
    (tmp_path / "1.log").write_bytes(log)
    return Office(before, gpu_count=1, logs=tmp_path)


async def ended(office, job_id=1):
    """Threads look into logs, so this is not over when the event loop is idle."""
    await eventually(lambda: office.job(job_id).state != "Running", "the end")


async def test_a_job_that_ran_out_of_gpu_memory_is_tried_again_with_more(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    office = gpu_office(tmp_path)
    async with office.open():
        await office.start(**WISHES)
        await office.finish(1, 1)
        await ended(office)
        failed, again = office.job(1), office.job(2)
        assert (failed.state, failed.retried_as) == ("Failed", 2)
        assert failed.detail == "out of GPU memory; job 2 tries again with 15G"
        assert (again.spec.gpu_memory_mb, again.spec.oom_restarts, again.spec.retry_on_oom) == (15360, 1, True)
        assert "Job 1 ran out of GPU memory; tried again as job 2 with 15G" in caplog.text


async def test_one_that_ended_so_while_no_daemon_was_there_is_tried_again_too(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    before = gpu_office(tmp_path)
    async with before.open():
        await before.start(**WISHES)
    before.launcher.finish(1, 1)
    office = gpu_office(tmp_path, before)
    async with office.open():
        await ended(office)
        assert office.job(2).spec.gpu_memory_mb == 15360
        assert "tried again as job 2 with 15G" in caplog.text


@pytest.mark.parametrize(
    ("wishes", "log", "code"),
    [
        (WISHES, b"MemoryError\n", 1),
        (WISHES, RAN_OUT, 0),
        (WISHES, RAN_OUT, None),
        (WISHES | {"retry_on_oom": False}, RAN_OUT, 1),
        (WISHES | {"gpus": 0}, RAN_OUT, 1),
    ],
    ids=["another failure", "it finished all the same", "its exit status is not known", "not asked for", "no GPU"],
)
async def test_nothing_else_is_tried_again_with_more(tmp_path, wishes, log, code):
    office = gpu_office(tmp_path, log=log)
    async with office.open():
        await office.start(**wishes)
        await office.finish(1, code)
        await ended(office)
        assert office.job().retried_as is None
        assert list(office.desk.engine.jobs) == [1]


async def test_a_cancelled_job_is_not_tried_again_whatever_its_log_says(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    office = gpu_office(tmp_path)
    async with office.open():
        await office.start(**WISHES)
        await office.stop()
        await office.finish(1, 1)
        await ended(office)
        assert (office.job().state, office.job().retried_as) == ("Cancelled", None)
        assert "GPU memory" not in caplog.text


async def test_plain_retries_are_not_used_up_by_it_nor_use_it(tmp_path):
    office = gpu_office(tmp_path)
    async with office.open():
        await office.start(**WISHES, max_retries=1)
        await office.finish(1, 1)
        await ended(office)
        (tmp_path / "2.log").write_bytes(b"ValueError: no\n")
        for job_id in (2, 3):
            office.desk.schedule()
            await idle()
            await office.finish(job_id, 1)
            await ended(office, job_id)
            (tmp_path / "3.log").write_bytes(b"ValueError: no\n")
        assert [office.job(job_id).retried_as for job_id in (1, 2, 3)] == [2, 3, None]
        assert [office.job(job_id).spec.gpu_memory_mb for job_id in (1, 2, 3)] == [12288, 15360, 15360]


async def test_a_log_that_cannot_be_read_is_no_sign(tmp_path, caplog):
    office = gpu_office(tmp_path)
    (tmp_path / "1.log").unlink()
    async with office.open():
        await office.start(**WISHES)
        await office.finish(1, 1)
        await ended(office)
        assert office.job().retried_as is None
        assert "Job 1: its log cannot be read (No such file or directory)" in caplog.text


async def test_a_log_that_its_owner_keeps_to_himself_holds_nothing_up(tmp_path, caplog):
    office = gpu_office(tmp_path)
    async with office.open():
        await office.start(**WISHES)
        with leased(tmp_path / "1.log"):
            await office.finish(1, 1)
            with trio.fail_after(10):
                await ended(office)
        assert office.job().retried_as is None
        assert "Job 1: its log cannot be read (Resource temporarily unavailable)" in caplog.text


async def test_a_log_on_a_disk_that_hangs_holds_nothing_up(tmp_path, caplog, monkeypatch):
    office = gpu_office(tmp_path)
    monkeypatch.setattr(watcher, "LOG_SECS", 0.02)
    async with office.open():
        await office.start(**WISHES)
        with hanging() as read:
            monkeypatch.setattr(watcher, "read_tail", read)
            await office.finish(1, 1)
            with trio.fail_after(10):
                await ended(office)
        assert office.job().retried_as is None
        assert "Job 1: its log cannot be read (it does not answer)" in caplog.text


async def test_it_is_said_when_there_is_no_more_to_try_it_with(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    office = gpu_office(tmp_path)
    office.desk.engine.set_machine(gpus(1, 12288), None)
    async with office.open():
        await office.start(**WISHES)
        await office.finish(1, 1)
        await ended(office)
        assert office.job().retried_as is None
        assert "Job 1 ran out of GPU memory; it is not tried again with more" in caplog.text


# -- restarts --------------------------------------------------------------------------------------------------------


async def started_office(**fields):
    office = Office()
    async with office.open():
        await office.start(**fields)
    return Office(office)


async def test_a_running_job_is_taken_up(caplog):
    caplog.set_level(logging.INFO)
    office = await started_office()
    started_boot = office.job().started_boot
    async with office.open():
        assert office.job().state == "Running"
        assert office.launcher.calls == [("launch", 1)], "it is not touched"
        assert "Job 1 was running before the restart: alive" in caplog.text
        await office.finish(1, 7)
        assert (office.job().state, office.job().exit_code) == ("Failed", 7)
        assert office.job().started_boot == started_boot


async def test_a_job_that_ended_meanwhile_is_accounted_exactly():
    office = await started_office()
    office.launcher.finish(1, 5)
    ended_at = office.desk.now.wall
    office.desk.now = office.desk.now._replace(wall=ended_at + 3600)
    async with office.open():
        job = office.job()
        assert (job.state, job.exit_code, job.finished_at) == ("Failed", 5, ended_at)
        assert office.launcher.calls[-1] == ("discard", 1)


async def test_leftovers_of_a_job_that_ended_meanwhile_are_stopped():
    office = await started_office()
    office.launcher.leave_behind(1, 2)
    office.launcher.finish(1, 0)
    async with office.open():
        assert office.launcher.calls[-1] == ("signal", 1, signal.SIGTERM)


async def test_a_launch_that_never_happened_is_done_again_under_another_name():
    before = Office()
    before.desk.submit()
    before.desk.schedule()  # decided and on disk; the daemon dies before the launch
    first_name = before.job().run_id
    office = Office(before)
    async with office.open():
        assert office.launcher.calls == [("discard", 1), ("launch", 1)], "what the first launch left goes"
        assert office.job().run_id != first_name
        await office.finish(1)
        assert office.job().state == "Finished"


async def test_a_launch_that_never_happened_and_was_stopped_is_not_done_again():
    before = Office()
    before.desk.submit()
    before.desk.schedule()
    await before.stop()
    office = Office(before)
    async with office.open():
        assert office.job().state == "Cancelled"
        assert office.launcher.calls == [("discard", 1)]


async def test_a_cancel_while_the_new_daemon_still_looks_is_respected():
    before = Office()
    before.desk.submit()
    before.desk.schedule()
    office = Office(before)
    trace, may_look = office.launcher.trace, trio.Event()

    async def slow_trace(job):
        await may_look.wait()
        return await trace(job)

    office.launcher.trace = slow_trace
    async with office.open():
        await office.stop()
        may_look.set()
        await idle()
        assert office.job().state == "Cancelled"
        assert office.launcher.calls == [("discard", 1)]


async def test_a_cancel_between_the_new_decision_and_the_new_launch_reaches_the_job():
    before = Office()
    before.desk.submit()
    before.desk.schedule()
    office = Office(before)
    office.desk.log.at_once = False
    async with office.open():
        await office.stop()
        office.desk.log.write()
        await idle()
        assert office.launcher.calls == [("discard", 1), ("launch", 1), ("interrupt", 1)]


async def test_the_start_that_the_last_daemon_did_not_hear_of_counts():
    before = Office()
    before.launcher.hold_launches()
    async with before.open():
        await before.start(time_limit_secs=60.0)
        assert before.launcher.calls == [("launch", 1)]
        job = before.job()
        before.launcher.let_launch()
        before.desk.runtime.commit = lambda outcome: None
        before.desk.engine.launched = lambda *args: None
        await idle()
    office = Office(before)
    assert office.job() == job
    assert job.started_boot is None
    async with office.open():
        assert office.job().started_boot == office.desk.now.boot


# -- leaving ---------------------------------------------------------------------------------------------------------


async def test_nothing_is_done_before_the_watcher_runs_or_after_it_has_left():
    office = Office()
    await office.start()
    async with office.open():
        pass
    await office.start()
    await office.stop(job_id=2)
    assert [call for call in office.launcher.calls if call[1] == 2] == []


async def test_nothing_is_begun_once_the_watcher_has_been_told_to_leave():
    office = Office()
    async with trio.open_nursery() as nursery:
        await nursery.start(office.watcher.run)
        nursery.cancel_scope.cancel()
        office.desk.submit()
        office.desk.schedule()
    assert office.launcher.calls == []
    assert office.job().state == "Running", "the next daemon finds it"


async def test_an_effect_at_the_moment_the_watcher_closes_does_no_harm():
    """A watcher without jobs closes its nursery some steps before it returns."""
    office = Office()
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def run(*, task_status):
            with scope:
                await office.watcher.run(task_status=task_status)

        await nursery.start(run)
        scope.cancel()
        for _ in range(10):
            office.desk.submit()
            office.desk.schedule()
            await trio.lowlevel.cancel_shielded_checkpoint()
    assert office.launcher.calls == []


async def test_a_launch_under_way_is_seen_to_its_end_and_recorded():
    office = Office()
    office.launcher.hold_launches()
    async with trio.open_nursery() as nursery:
        await nursery.start(office.watcher.run)
        await office.start()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await idle()
        office.launcher.let_launch()
    assert office.job().started_boot is not None
    assert office.launcher.running() == {1}


async def test_what_can_no_longer_be_recorded_is_left_to_the_next_daemon(caplog):
    caplog.set_level(logging.INFO)
    office = Office()
    office.launcher.hold_launches()
    async with trio.open_nursery() as nursery:
        await nursery.start(office.watcher.run)
        await office.start()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await idle()
        office.desk.log.broken = Unavailable("The daemon is stopping")
        office.launcher.let_launch()
    assert "Job 1: what became of it is left to the next daemon" in caplog.text


# -- the machine goes down -------------------------------------------------------------------------------------------


async def test_while_the_machine_goes_down_an_end_is_left_to_the_next_daemon_and_its_gpu_to_nobody(monkeypatch):
    monkeypatch.setattr(going_down, "_LOOK_SECS", 0.001)
    asked, goes_down = [], [True]
    office = Office(gpu_count=1)
    office.watch_out(GoingDown(stops=lambda: asked.append(1) or goes_down[0]))
    async with office.open():
        await office.start(gpus=1)
        office.desk.submit(gpus=1)
        office.launcher.finish(1, 143)
        await eventually(lambda: len(asked) > 2, "questions")
        office.desk.schedule()
        assert (office.job().state, office.job(2).state) == ("Running", "Queued")
        goes_down[0] = False
        await eventually(lambda: office.job().state == "Failed", "its end")
        assert office.job().exit_code == 143


async def test_an_end_by_a_shutdown_is_told_by_the_next_daemon():
    before = Office()
    async with before.open():
        await before.start()
    before.launcher.finish(1, 143)
    after = Office(before)
    left = Left(after.desk.now.wall, "another", machine_too=True)
    after.watch_out(GoingDown(left, stops=lambda: False))
    async with after.open():
        await eventually(lambda: after.job().state == "Failed", "its end")
    assert (after.job().exit_code, after.job().detail) == (143, RESTARTED)
