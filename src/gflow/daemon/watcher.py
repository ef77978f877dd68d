"""The watcher: one task for each running job, from its launch to its last process.

What is done to one job is done in order: a Ctrl-C asked for while the job is being launched waits for the launch.
"""

import logging

import trio

from gflow.core.effects import Effect, Interrupt, Launch, SendSignal
from gflow.core.model import Exit, Job, JobId, State
from gflow.daemon.runtime import Runtime
from gflow.launch.base import Launcher, LaunchFailed, Trace

log = logging.getLogger(__name__)


class Watcher:
    """Carries out effects and reports what became of jobs."""

    def __init__(self, runtime: Runtime, launcher: Launcher) -> None:
        self._runtime = runtime
        self._launcher = launcher
        self._nursery: trio.Nursery | None = None
        self._launched: dict[JobId, trio.Event] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; takes up the running jobs of an earlier daemon first."""
        try:
            async with trio.open_nursery() as self._nursery:
                for job_id in tuple(self._runtime.engine.running):
                    self._launched[job_id] = trio.Event()
                    self._nursery.start_soon(self._take_up, self._runtime.engine.jobs[job_id])
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def perform(self, effect: Effect) -> None:
        """Begin to carry out an effect. Once the daemon is leaving nothing begins: the next one finds it on disk."""
        nursery = self._nursery
        if nursery is None:
            return
        match effect:
            case Launch(job):
                self._launched[job.id] = trio.Event()
                nursery.start_soon(self._launch, job)
            case Interrupt(job):
                nursery.start_soon(self._interrupt, job)
            case SendSignal(job, signal):
                nursery.start_soon(self._send_signal, job, signal)

    async def _launch(self, job: Job) -> None:
        try:
            start = await self._launcher.launch(job)
        except LaunchFailed as failure:
            log.warning("Job %d could not be started: %s", job.id, failure)
            await self._finish(job, Exit(None, self._runtime.clock().wall, str(failure)))
            return
        self._runtime.commit(self._runtime.engine.launched(job.id, start.at, start.boot))
        self._launched[job.id].set()
        await self._see_off(job)

    async def _take_up(self, job: Job) -> None:
        """Go on with a job that an earlier daemon launched, or was about to."""
        engine = self._runtime.engine
        trace = await self._launcher.trace(job)
        log.info("Job %d was running before the restart: %s", job.id, trace.value)
        if trace is Trace.NEVER_STARTED and job.stop is None:
            self._runtime.commit(engine.relaunch(job.id, next(self._runtime.run_ids)))
            return
        if trace is Trace.NEVER_STARTED:
            await self._finish(job, Exit(None, self._runtime.clock().wall, "stopped before it started"))
            return
        start = self._launcher.started(job)
        if start is not None and job.started_boot is None:
            self._runtime.commit(engine.launched(job.id, start.at, start.boot))
        self._launched[job.id].set()
        await self._see_off(job)

    async def _see_off(self, job: Job) -> None:
        how = await self._launcher.wait(job)
        if await self._launcher.survivors(job):
            self._runtime.commit(self._runtime.engine.left_over(job.id, self._runtime.clock()))
            await self._launcher.wait_gone(job)
        await self._finish(job, how)

    async def _finish(self, job: Job, how: Exit) -> None:
        seq = self._runtime.commit(self._runtime.engine.ended(job.id, how, self._runtime.clock()))
        self._launched.pop(job.id).set()
        await self._runtime.journal.durable(seq)
        await self._launcher.discard(job)

    async def _ready_for_signals(self, job: Job) -> bool:
        launched = self._launched.get(job.id)
        if launched is not None:
            await launched.wait()
        return self._runtime.engine.jobs[job.id].state is State.RUNNING

    async def _interrupt(self, job: Job) -> None:
        if await self._ready_for_signals(job):
            await self._launcher.interrupt(job)

    async def _send_signal(self, job: Job, signal: int) -> None:
        if await self._ready_for_signals(job):
            reached = await self._launcher.send_signal(job, signal)
            log.info("Job %d: signal %d sent to %d processes", job.id, signal, reached)
