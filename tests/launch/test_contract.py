"""What every launcher promises: the same tests for the real ones and for the fake that others are tested with.

The jobs of the real ones read the code they are to exit with from a FIFO.
"""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
import trio

from gflow.core.model import Job, JobId
from gflow.launch.base import Launcher, LaunchFailed, Trace
from gflow.users import accounts
from support.birthmark import marked
from support.fake_launcher import STUBBORN, FakeLauncher
from support.tmux_server import Machine, clock, make_job, running, serving_users, until


class Driver(Protocol):
    """A launcher, and a hand on what its jobs do."""

    launcher: Launcher

    def job(self, *, stubborn: bool = False, leaves_one_behind: bool = False) -> Job:
        """A job that runs until `finish`; a stubborn one survives SIGINT and SIGTERM."""

    def bad_job(self) -> Job:
        """A job whose launch fails."""

    async def ready(self, job: Job) -> None:
        """Return once the launched job is what it was made to be."""

    async def finish(self, job: Job, code: int) -> None:
        """Let the main process exit."""

    def processes(self, job: Job) -> list[int]:
        """Process ids of a job that is ready: its main process, and what it leaves behind."""

    def stranger(self) -> int:
        """The process id of somebody else."""

    def nobody(self) -> int:
        """A process id that nothing has."""


class FakeDriver:
    def __init__(self) -> None:
        self.launcher = self.fake = FakeLauncher(clock)
        self._made = 0
        self._leavers: set[int] = set()

    def job(self, *, stubborn: bool = False, leaves_one_behind: bool = False) -> Job:
        self._made += 1
        if stubborn:
            self.fake.manners[self._made] = STUBBORN
        if leaves_one_behind:
            self._leavers.add(self._made)
        return make_job(self._made)

    def bad_job(self) -> Job:
        job = self.job()
        self.fake.refuse(job.id, "no room")
        return job

    async def ready(self, job: Job) -> None:
        for pid in self.processes(job):
            self.fake.enter(pid, job.id)

    async def finish(self, job: Job, code: int) -> None:
        if job.id in self._leavers:
            self.fake.leave_behind(job.id, 1)
        self.fake.finish(job.id, code)
        self.fake.leave(self.processes(job)[0])

    def processes(self, job: Job) -> list[int]:
        return [1000 + job.id, 2000 + job.id] if job.id in self._leavers else [1000 + job.id]

    def stranger(self) -> int:
        self.fake.enter(42)
        return 42

    def nobody(self) -> int:
        return 43


class TmuxDriver:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.launcher = machine.tmux

    def job(self, *, stubborn: bool = False, leaves_one_behind: bool = False) -> Job:
        trap = "trap '' INT TERM;" if stubborn else ""
        away = "setsid sh -c ': >away-$GFLOW_JOB_ID; exec sleep 600' </dev/null >/dev/null 2>&1 &"
        leave = f"{away} until [ -e away-$GFLOW_JOB_ID ]; do sleep 0.01; done;" if leaves_one_behind else ""
        job = self.machine.job(
            f"{trap} {leave} echo $$ $! >ready-$GFLOW_JOB_ID; read -r code <>gate-$GFLOW_JOB_ID; exit $code"
        )
        os.mkfifo(self._file("gate", job))
        return job

    def bad_job(self) -> Job:
        return self.machine.job("x" * 200_000)

    async def ready(self, job: Job) -> None:
        await until(lambda: self._ready(job).endswith("\n"), "the job's first instruction")

    async def finish(self, job: Job, code: int) -> None:
        await trio.to_thread.run_sync(self._file("gate", job).write_text, f"{code}\n")

    def processes(self, job: Job) -> list[int]:
        return [int(pid) for pid in self._ready(job).split()]

    def stranger(self) -> int:
        return os.getpid()

    def nobody(self) -> int:
        return int(Path("/proc/sys/kernel/pid_max").read_text()) + 1

    def _ready(self, job: Job) -> str:
        path = self._file("ready", job)
        return path.read_text() if path.exists() else ""

    def _file(self, kind: str, job: Job) -> Path:
        return self.machine.work / f"{kind}-{job.id}"


@pytest.fixture(params=["fake", "tmux", pytest.param("per user", marks=pytest.mark.once)])
async def driver(request: pytest.FixtureRequest, machine: Machine) -> AsyncIterator[Driver]:
    if request.param == "fake":
        yield FakeDriver()
    elif request.param == "per user":
        if os.geteuid() != 0:
            pytest.skip("becomes other users: run the tests as root")
        async with serving_users(machine):
            yield TmuxDriver(machine)
    else:
        async with running(machine):
            yield TmuxDriver(machine)


@pytest.fixture
def started(driver: Driver) -> Callable[[Job], Awaitable[Job]]:
    async def start(job: Job) -> Job:
        await driver.launcher.launch(job)
        await driver.ready(job)
        return job

    return start


Started = Callable[[Job], Awaitable[Job]]


async def attach(driver: Driver, job: Job, *, read_only: bool = False) -> list[str] | None:
    """As the API asks for it: in a thread."""
    return await trio.to_thread.run_sync(partial(driver.launcher.attach_argv, job, read_only=read_only))


async def terminals(driver: Driver, *running: Job) -> set[JobId]:
    return await trio.to_thread.run_sync(driver.launcher.terminals, running)


async def test_a_job_ends_with_its_code(driver: Driver, started: Started) -> None:
    before = clock()
    job = await started(driver.job())
    await driver.finish(job, 3)
    end = await driver.launcher.wait(job)
    assert (end.code, end.signal, end.text) == (3, None, None)
    assert before.wall - 0.1 <= end.at <= clock().wall + 0.1
    assert await driver.launcher.wait(job) == end, "asked later it is the same"
    assert await driver.launcher.survivors(job) is False
    await driver.launcher.wait_gone(job)


async def test_any_number_may_wait(driver: Driver, started: Started) -> None:
    job = await started(driver.job())
    codes: list[int | None] = []

    async def wait() -> None:
        codes.append((await driver.launcher.wait(job)).code)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        with trio.move_on_after(0.05):
            await driver.launcher.wait(job)
        assert codes == []
        await driver.finish(job, 4)
    assert codes == [4, 4, 4]


async def test_the_moment_of_the_start_is_known_and_stays(driver: Driver, started: Started) -> None:
    job = driver.job()
    assert driver.launcher.started(job) is None
    before = clock()
    start = await driver.launcher.launch(job)
    after = clock()
    await driver.ready(job)
    again = driver.launcher.started(job)
    await driver.finish(job, 0)
    await driver.launcher.wait(job)
    for known in (start, again, driver.launcher.started(job)):
        assert known is not None
        assert before.wall - 0.05 <= known.at <= after.wall + 0.05
        assert before.boot - 0.05 <= known.boot <= after.boot + 0.05


async def test_a_failed_launch_says_why_and_leaves_nothing(driver: Driver) -> None:
    job = driver.bad_job()
    with pytest.raises(LaunchFailed) as raised:
        await driver.launcher.launch(job)
    assert str(raised.value)
    assert driver.launcher.started(job) is None
    assert await driver.launcher.trace(job) is Trace.NEVER_STARTED
    await driver.launcher.discard(job)


async def test_ctrl_c_ends_a_job(driver: Driver, started: Started) -> None:
    job = await started(driver.job())
    await driver.launcher.interrupt(job)
    end = await driver.launcher.wait(job)
    assert (end.code, end.signal) == (130, signal.SIGINT)


async def test_a_signal_ends_a_job(driver: Driver, started: Started) -> None:
    job = await started(driver.job())
    assert await driver.launcher.send_signal(job, signal.SIGTERM) >= 1
    assert (await driver.launcher.wait(job)).code == 143
    assert await driver.launcher.survivors(job) is False
    await driver.launcher.wait_gone(job)
    assert await driver.launcher.send_signal(job, signal.SIGKILL) == 0


async def test_a_stubborn_job_ends_by_sigkill_only(driver: Driver, started: Started) -> None:
    job = await started(driver.job(stubborn=True))
    await driver.launcher.interrupt(job)
    assert await driver.launcher.send_signal(job, signal.SIGTERM) >= 1
    assert await driver.launcher.trace(job) is Trace.ALIVE
    assert await driver.launcher.send_signal(job, signal.SIGKILL) >= 1
    assert (await driver.launcher.wait(job)).code == 137


async def test_what_outlives_the_main_process_is_noticed_and_can_be_ended(driver: Driver, started: Started) -> None:
    job = await started(driver.job(leaves_one_behind=True))
    await driver.finish(job, 0)
    assert (await driver.launcher.wait(job)).code == 0
    assert await driver.launcher.survivors(job) is True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.launcher.wait_gone, job)
        with trio.move_on_after(0.1) as patience:
            await driver.launcher.wait_gone(job)
        assert patience.cancelled_caught
        assert await driver.launcher.send_signal(job, signal.SIGKILL) == 1
    assert await driver.launcher.survivors(job) is False


async def test_a_job_s_processes_are_told_from_those_of_others(driver: Driver, started: Started) -> None:
    job, other = await started(driver.job()), await started(driver.job(leaves_one_behind=True))
    own, others, stranger = driver.processes(job), driver.processes(other), driver.stranger()
    owners = await driver.launcher.owners([*own, *others, stranger, driver.nobody()])
    assert owners.keys() == {*own, *others, stranger}, "what cannot be seen is left out"
    assert {owners[pid].run_id for pid in own} == {job.run_id}
    assert {owners[pid].run_id for pid in others} == {other.run_id}
    assert owners[stranger].run_id is None
    assert all(owner.start_ticks > 0 for owner in owners.values())
    assert await driver.launcher.owners([]) == {}


async def test_what_outlives_the_main_process_is_still_the_job_s(driver: Driver, started: Started) -> None:
    job = await started(driver.job(leaves_one_behind=True))
    pids = driver.processes(job)
    before = await driver.launcher.owners(pids)
    await driver.finish(job, 0)
    await driver.launcher.wait(job)
    assert await driver.launcher.owners(pids) == {pids[1]: before[pids[1]]}
    assert before[pids[1]].run_id == job.run_id


async def test_what_became_of_a_launch(driver: Driver, started: Started) -> None:
    never = driver.job()
    assert await driver.launcher.trace(never) is Trace.NEVER_STARTED
    job = await started(driver.job())
    assert await driver.launcher.trace(job) is Trace.ALIVE
    await driver.finish(job, 0)
    await driver.launcher.wait(job)
    assert await driver.launcher.trace(job) is Trace.ENDED


async def test_the_terminal_can_be_attached_while_the_job_runs(driver: Driver, started: Started) -> None:
    job = driver.job()
    assert await attach(driver, job) is None
    assert await terminals(driver) == set()
    await started(job)
    argv = await attach(driver, job)
    assert argv is not None
    assert await terminals(driver, job) == {job.id}
    assert await attach(driver, job, read_only=True) == [*argv, "-r"]
    await driver.finish(job, 0)
    await driver.launcher.wait(job)
    await driver.launcher.discard(job)
    with trio.fail_after(20):
        while await attach(driver, job) is not None:
            await trio.sleep(0.005)
    assert await terminals(driver) == set()
    assert driver.launcher.started(job) is None


async def test_the_processes_of_a_job_are_shown_with_what_they_take(driver: Driver, started: Started) -> None:
    job, other = await started(driver.job(leaves_one_behind=True)), await started(driver.job())
    found = {process.pid: process for process in await driver.launcher.processes(job)}
    assert found.keys() == set(driver.processes(job))
    assert all(process.memory_bytes > 0 and process.threads > 0 and process.command for process in found.values())
    for each in (job, other):
        await driver.launcher.send_signal(each, signal.SIGKILL)
        await driver.launcher.wait(each)


async def test_terminals_are_known_while_they_are_there(driver: Driver, started: Started) -> None:
    job = await started(driver.job())
    assert await terminals(driver, job) == {job.id}
    await driver.finish(job, 0)
    await driver.launcher.wait(job)
    await driver.launcher.discard(job)
    with trio.fail_after(20):
        while await terminals(driver):
            await trio.sleep(0.005)
    assert await driver.launcher.close_terminal(job) is False


async def test_jobs_do_not_touch_each_other(driver: Driver, started: Started) -> None:
    jobs = [await started(driver.job()) for _ in range(12)]
    await driver.launcher.interrupt(jobs[0])
    assert (await driver.launcher.wait(jobs[0])).code == 130
    for job in jobs[1:]:
        assert await driver.launcher.trace(job) is Trace.ALIVE
    for job in jobs[1:]:
        await driver.finish(job, job.id)
    assert [(await driver.launcher.wait(job)).code for job in jobs[1:]] == [job.id for job in jobs[1:]]


@pytest.mark.parametrize("driver", ["per user"], indirect=True)
@pytest.mark.once
async def test_a_helper_that_nobody_needs_leaves(driver: Driver, started: Started) -> None:
    job = await started(driver.job())
    helper = driver.launcher._helpers[0]
    await until(lambda: helper.idle_secs > 0.8, "twice the time that one may be idle")
    assert helper.alive, "the job needs it"
    await driver.finish(job, 0)
    await driver.launcher.wait(job)
    await driver.launcher.discard(job)
    await until(lambda: not helper.alive, "the end of the helper")
    another = await started(driver.job())
    assert driver.launcher._helpers[0] is not helper
    await driver.finish(another, 0)
    assert (await driver.launcher.wait(another)).code == 0


@pytest.mark.parametrize("driver", ["per user"], indirect=True)
@pytest.mark.once
async def test_what_a_container_runs_is_the_job_s_and_what_others_run_is_not(
    driver: Driver, started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "subuid").write_text("root:300000:10\n")
    monkeypatch.setattr(accounts, "SUBORDINATE", tmp_path / "subuid")
    job = await started(driver.job())
    with marked(job.run_id or ""):
        lent, other = (subprocess.Popen(["sleep", "600"], user=uid, cwd="/") for uid in (300003, 400000))
    try:
        assert {process.pid for process in await driver.launcher.processes(job)} == {*driver.processes(job), lent.pid}
        owners = await driver.launcher.owners([lent.pid, other.pid])
        assert (owners[lent.pid].run_id, owners[other.pid].run_id) == (job.run_id, None)
        assert await driver.launcher.send_signal(job, signal.SIGKILL) == 2
        assert (await driver.launcher.wait(job)).code == 137
        assert (await trio.to_thread.run_sync(lent.wait), other.poll()) == (-signal.SIGKILL, None)
    finally:
        for process in (lent, other):
            process.kill()
            process.wait()
