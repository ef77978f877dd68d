"""A launcher without processes, for tests of what uses one. It keeps the contract in tests/launch/test_contract.py.

A test says what happens to a job: `finish`, `leave_behind`, `refuse`, `enter`; `calls` tells what was asked, as
("launch", id), ("interrupt", id), ("signal", id, number), ("discard", id) and ("close",).
"""

import signal as signals
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from gflow.core.model import Exit, Job, JobId, Now
from gflow.launch.base import CannotLaunch, Consumption, LaunchFailed, Owner, Start, Trace
from gflow.launch.progress import read_report

GENTLE: Mapping[int | str, int] = {"interrupt": 130, signals.SIGTERM: 143, signals.SIGKILL: 137}
STUBBORN: Mapping[int | str, int] = {signals.SIGKILL: 137}


@dataclass(eq=False)
class _Run:
    start: Start
    ended: trio.Event = field(default_factory=trio.Event)
    exit: Exit | None = None
    survivors: int = 0
    changed: trio.Event = field(default_factory=trio.Event)


class _Stranding:
    def __init__(self) -> None:
        self._happened = trio.Event()
        self._text = ""

    def happen(self, text: str) -> None:
        self._text = text
        self._happened.set()

    async def wait(self) -> str:
        await self._happened.wait()
        return self._text


class FakeLauncher:
    """Launches succeed at once. `manners` says which interruptions end a job, and with which code, by job id."""

    def __init__(self, clock: Callable[[], Now]) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.manners: dict[int, Mapping[int | str, int]] = {}
        self.kept: set[int] = set()
        self.progress_dir: Path | None = None
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._ids: dict[int, str] = {}
        self._refusals: dict[int, str] = {}
        self.trouble: CannotLaunch | None = None
        self._given_up: set[str] = set()
        self.memory: dict[int, int] = {}
        self._strandings: dict[int, _Stranding] = {}
        self._processes: dict[int, Owner] = {}
        self._may_launch = trio.Event()
        self._may_launch.set()

    # -- what a test does

    def refuse(self, job_id: int, message: str) -> None:
        """The next launch of the job fails."""
        self._refusals[job_id] = message

    def hold_launches(self) -> None:
        """Launches hang from now on until `let_launch`; cancelling one does not end it, as it does not end tmux'."""
        self._may_launch = trio.Event()

    def let_launch(self) -> None:
        """Launches go on."""
        self._may_launch.set()

    def finish(self, job_id: int, code: int | None = 0, text: str | None = None) -> None:
        """The job's main process ends."""
        run = self._runs[self._ids[job_id]]
        if run.exit is None:
            run.exit = Exit(code, self._clock().wall, text)
            run.ended.set()

    def leave_behind(self, job_id: int, survivors: int) -> None:
        """So many processes of the job outlive its main process from now on."""
        run = self._runs[self._ids[job_id]]
        run.survivors = survivors
        run.changed.set()
        run.changed = trio.Event()

    def strand(self, job_id: int, text: str) -> None:
        """The job's terminal is lost; its main process goes on."""
        self._strandings.setdefault(job_id, _Stranding()).happen(text)

    def enter(self, pid: int, job_id: int | None = None) -> None:
        """A process can be seen from now on: of a job, or of nobody of ours."""
        self._processes[pid] = Owner(pid * 10, None if job_id is None else self._ids[job_id])

    def leave(self, pid: int) -> None:
        """A process has gone."""
        del self._processes[pid]

    def running(self) -> set[int]:
        """The ids of jobs whose main process lives."""
        return {job_id for job_id, run_id in self._ids.items() if run_id in self._runs and not self._runs[run_id].exit}

    # -- what a launcher does

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    async def launch(self, job: Job) -> Start:
        self.calls.append(("launch", job.id))
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            await self._may_launch.wait()
        if self.trouble is not None:
            self._given_up.add(_run_id(job))
            raise self.trouble
        message = self._refusals.pop(job.id, None)
        if message or _run_id(job) in self._runs or _run_id(job) in self._given_up:
            raise LaunchFailed(message or f"launch {job.run_id} was made before")
        now = self._clock()
        self._runs[_run_id(job)] = _Run(Start(now.wall, now.boot))
        self._ids[job.id] = _run_id(job)
        return Start(now.wall, now.boot)

    async def wait(self, job: Job) -> Exit:
        run = self._runs[_run_id(job)]
        await run.ended.wait()
        assert run.exit is not None
        return run.exit

    async def wait_stranded(self, job: Job) -> str:
        return await self._strandings.setdefault(job.id, _Stranding()).wait()

    def is_over(self, job: Job) -> bool:
        run = self._runs.get(_run_id(job))
        return run is not None and run.exit is not None

    async def survivors(self, job: Job) -> bool:
        await trio.lowlevel.checkpoint()
        return self._runs[_run_id(job)].survivors > 0

    async def wait_gone(self, job: Job) -> None:
        await trio.lowlevel.checkpoint()
        run = self._runs[_run_id(job)]
        while run.survivors:
            await run.changed.wait()

    async def interrupt(self, job: Job) -> None:
        self.calls.append(("interrupt", job.id))
        await trio.lowlevel.checkpoint()
        self._react(job, "interrupt")

    async def send_signal(self, job: Job, signal: int) -> int:
        self.calls.append(("signal", job.id, signal))
        await trio.lowlevel.checkpoint()
        run = self._runs[_run_id(job)]
        reached = run.survivors + (run.exit is None)
        self._react(job, signal)
        if signal == signals.SIGKILL and run.survivors:
            self.leave_behind(job.id, 0)
        return reached

    async def owners(self, pids: Collection[int]) -> Mapping[int, Owner]:
        await trio.lowlevel.checkpoint()
        return {pid: self._processes[pid] for pid in pids if pid in self._processes}

    async def trace(self, job: Job) -> Trace:
        await trio.lowlevel.checkpoint()
        run = self._runs.get(_run_id(job))
        if run is None:
            self._given_up.add(_run_id(job))
            return Trace.NEVER_STARTED
        return Trace.ALIVE if run.exit is None else Trace.ENDED

    def started(self, job: Job) -> Start | None:
        run = self._runs.get(_run_id(job))
        return run.start if run else None

    async def discard(self, job: Job) -> None:
        self.calls.append(("discard", job.id))
        await trio.lowlevel.checkpoint()
        self._runs.pop(_run_id(job), None)

    async def sweep(self, running: Iterable[Job]) -> None:
        await trio.lowlevel.checkpoint()
        kept = {job.run_id for job in running}
        self._runs = {run_id: run for run_id, run in self._runs.items() if run_id in kept}

    async def processes(self, job: Job) -> list[Consumption]:
        await trio.lowlevel.checkpoint()
        pids = sorted(pid for pid, owner in self._processes.items() if owner.run_id == _run_id(job))
        return [Consumption(pid, 1, f"program {pid}", "R", pid / 100, pid << 20, 1, 0.0) for pid in pids]

    async def memory_over(self, job: Job) -> int | None:
        await trio.lowlevel.checkpoint()
        used = self.memory.get(job.id, 0)
        return used if used > (job.spec.memory_mb or 0) << 20 else None

    def report(self, job: Job) -> tuple[bytes, float] | None:
        return read_report(self.progress_dir / str(job.id)) if self.progress_dir else None

    async def close_terminal(self, job: Job) -> bool:
        self.calls.append(("close terminal", job.id))
        await trio.lowlevel.checkpoint()
        kept = job.id in self.kept
        self.kept.discard(job.id)
        return kept

    def attach_argv(self, job: Job, *, read_only: bool = False) -> list[str] | None:
        run = self._runs.get(_run_id(job))
        if run is None or run.exit is not None:
            return None
        return ["attach", str(job.id), *(["-r"] if read_only else [])]

    def terminals(self, running: Iterable[Job]) -> set[JobId]:
        return {JobId(job_id) for job_id in {*self.kept, *self.running()}}

    async def close(self) -> None:
        self.calls.append(("close",))
        await trio.lowlevel.checkpoint()

    def _react(self, job: Job, stimulus: int | str) -> None:
        code = self.manners.get(job.id, GENTLE).get(stimulus)
        if code is not None:
            self.finish(job.id, code)


def _run_id(job: Job) -> str:
    assert job.run_id is not None
    return job.run_id
