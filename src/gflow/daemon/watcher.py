"""The watcher: one task for each running job, from its launch to its last process.

What is asked for while a job is being launched, as a Ctrl-C, waits for the launch. Once the daemon is leaving nothing
is begun any more: the next one finds what there is to do on disk.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from gflow.core.effects import Effect, Interrupt, Launch, SendSignal
from gflow.core.errors import Unavailable
from gflow.core.limits import format_memory_mb
from gflow.core.model import Exit, Job, JobId, State, StopCause
from gflow.daemon.going_down import GoingDown
from gflow.daemon.last_seen import LastSeen
from gflow.daemon.runtime import Runtime
from gflow.daemon.stalls import Stalls
from gflow.launch.base import CannotLaunch, Launcher, LaunchFailed, Trace
from gflow.launch.line import Line, Turn
from gflow.launch.log import read_tail
from gflow.launch.oom_signs import TAIL_BYTES, gpu_memory_ran_out
from gflow.launch.patience import Patience

log = logging.getLogger(__name__)

STOPPED_FIRST = "stopped before it started"
LOG_SECS = 5.0
"""What the end of a log may take to read."""


class Watcher:
    """Carries out effects and reports what became of jobs.

    `log_of`: where the output of a job is. `recovering`: there may be running jobs that could not be read, so traces of
    jobs that are not known stay. `watching` has the memory of a job watched, for as long as the context lasts.
    `going_down` tells ends by a shutdown of the machine from others; without it there are none. `last_seen` tells when
    an earlier daemon saw jobs run, and is told that they do.
    `launching` jobs have been told to start and have not come to their first instruction.
    """

    def __init__(
        self,
        runtime: Runtime,
        launcher: Launcher,
        log_of: Callable[[JobId], Path],
        *,
        recovering: bool = False,
        watching: Callable[[JobId], AbstractContextManager[object]] = nullcontext,
        going_down: GoingDown | None = None,
        last_seen: LastSeen | None = None,
    ) -> None:
        self.launching = 0
        self._last_seen = last_seen
        self._going_down = going_down
        self._watching = watching
        self._runtime = runtime
        self._launcher = launcher
        self._log_of = log_of
        self._patience = Patience()
        self._recovering = recovering
        self._nursery: trio.Nursery | None = None
        self._launched: dict[JobId, trio.Event] = {}
        self._stalls = Stalls(runtime)
        self._line = Line()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; takes up the running jobs of an earlier daemon first."""
        engine = self._runtime.engine
        # an earlier daemon may have been killed between the end of a job and dropping its traces
        if not self._recovering:
            await self._launcher.sweep([engine.jobs[job_id] for job_id in engine.running])
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            if self._last_seen is not None:
                nursery.start_soon(self._last_seen.run, engine.running)
            try:
                for job_id in tuple(engine.running):
                    self._launched[job_id] = trio.Event()
                    self._begin(self._take_up, engine.jobs[job_id])
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None  # before the nursery closes

    def perform(self, effect: Effect) -> None:
        """Begin to carry out an effect."""
        match effect:
            case Launch(job):
                self._launched.setdefault(job.id, trio.Event())
                self._begin(self._launch, job, self._line.join())
            case Interrupt(job):
                self._stalls.hurry(job.id)
                self._begin(self._interrupt, job)
            case SendSignal(job, signal):
                self._stalls.hurry(job.id)
                self._begin(self._send_signal, job, signal)

    def _begin(self, task: Callable[..., Awaitable[None]], job: Job, *args: object) -> None:
        async def unless_leaving() -> None:
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                await task(job, *args)
            except Unavailable:
                log.info("Job %d: what became of it is left to the next daemon", job.id)

        if self._nursery is not None:
            self._nursery.start_soon(unless_leaving)

    async def _launch(self, job: Job, turn: Turn) -> None:
        self.launching += 1
        try:
            await turn()
            start = await self._launcher.launch(job)
        except CannotLaunch as trouble:
            self._begin(self._put_off, job, trouble)
            return
        except LaunchFailed as failure:
            log.warning("Job %d could not be started: %s", job.id, failure)
            await self._finish(job, Exit(None, self._runtime.clock().wall, str(failure)))
            return
        finally:
            self.launching -= 1
        self._stalls.launched(job)
        self._runtime.commit(self._runtime.engine.launched(job.id, start.at, start.boot))
        self._launched[job.id].set()
        await self._see_off(job)

    async def _put_off(self, job: Job, trouble: CannotLaunch) -> None:
        """Wait, and order the launch that could not be made again."""
        go_on = await self._stalls.wait(job, trouble)
        engine = self._runtime.engine
        if engine.jobs[job.id].stop is not None or not go_on:
            text = f"Nothing could be launched: {trouble}" if not go_on else STOPPED_FIRST
            await self._finish(job, Exit(None, self._runtime.clock().wall, text))
            return
        self._runtime.commit(engine.relaunch(job.id, next(self._runtime.run_ids)))
        await self._launcher.discard(job)

    async def _take_up(self, job: Job) -> None:
        """Go on with a job that an earlier daemon launched, or was about to."""
        engine = self._runtime.engine
        trace = await self._launcher.trace(job)
        log.info("Job %d was running before the restart: %s", job.id, trace.value)
        job = engine.jobs[job.id]  # somebody may have stopped it meanwhile
        if trace is Trace.NEVER_STARTED and job.stop is None:
            self._runtime.commit(engine.relaunch(job.id, next(self._runtime.run_ids)))
            await self._launcher.discard(job)  # what the launch that never was has left
            return
        if trace is Trace.NEVER_STARTED:
            await self._finish(job, Exit(None, self._runtime.clock().wall, STOPPED_FIRST))
            return
        start = self._launcher.started(job)
        if start is not None and job.started_boot is None:
            self._runtime.commit(engine.launched(job.id, start.at, start.boot))
        self._launched[job.id].set()
        await self._see_off(job, unseen=trace is Trace.ENDED)

    async def _see_off(self, job: Job, *, unseen: bool = False) -> None:
        """Wait for its end. `unseen`: its main process ended while no daemon was there."""
        if job.spec.memory_mb is None:
            how = await self._end_of(job)
        else:
            with self._watching(job.id):
                how = await self._end_of(job)
        if unseen and how.code is None and self._last_seen is not None:  # what is known is how long it lived
            how = replace(how, at=max(how.at, self._last_seen.before))
        how = replace(how, gpu_memory_ran_out=await self._gpu_memory_ran_out(job, how))
        await self._finish(job, how, unseen=unseen)

    async def _end_of(self, job: Job) -> Exit:
        """How it ended, once nothing of it is left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_if_stranded, job)
            how = await self._launcher.wait(job)
            nursery.cancel_scope.cancel()
        how = await self._but_for_shutdown(job, how)
        if await self._launcher.survivors(job):
            self._runtime.commit(self._runtime.engine.left_over(job.id, self._runtime.clock()))
            await self._launcher.wait_gone(job)
        return how

    async def _but_for_shutdown(self, job: Job, how: Exit) -> Exit:
        """How it ended, in view of what the machine did. Does not return while that goes down."""
        now = self._runtime.engine.jobs[job.id]
        if self._going_down is None or now.stop is not None:  # else it is clear why it ended
            return how
        told = self._going_down.told(now, how)
        await self._going_down.wait_over(told)
        return told

    async def _gpu_memory_ran_out(self, job: Job, how: Exit) -> bool:
        """Whether the job's log says so; looked for only where it matters. A log that cannot be read says nothing."""
        if not job.spec.retry_on_oom or not how.code:
            return False
        try:
            read = partial(_says_so, self._log_of(job.id))
            return await self._patience.within(LOG_SECS, job.spec.uid, read)
        except OSError as error:
            log.warning("Job %d: its log cannot be read (%s), so it is not tried again", job.id, error.strerror)
            return False

    async def _stop_if_stranded(self, job: Job) -> None:
        """Without a terminal a job can neither be seen nor print: it is stopped."""
        text = await self._launcher.wait_stranded(job)
        if self._going_down is not None:
            await self._going_down.wait_over(Exit(None, 0.0, text))
        engine = self._runtime.engine
        with contextlib.suppress(Unavailable):
            self._runtime.commit(engine.stop(job.id, StopCause.LOST, self._runtime.clock(), text=text))

    async def _finish(self, job: Job, how: Exit, *, unseen: bool = False) -> None:
        seq = self._runtime.commit(self._runtime.engine.ended(job.id, how, self._runtime.clock(), unseen=unseen))
        self._stalls.forget(job.id)
        self._launched.pop(job.id).set()
        if how.gpu_memory_ran_out:
            self._tell_of_memory(job.id)
        await self._runtime.on_disk(seq)
        await self._launcher.discard(job)

    def _tell_of_memory(self, job_id: JobId) -> None:
        jobs = self._runtime.engine.jobs
        job = jobs[job_id]
        again = jobs[job.retried_as] if job.retried_as is not None else None
        if again is not None and again.spec.oom_restarts > job.spec.oom_restarts:
            more = format_memory_mb(again.spec.gpu_memory_mb or 0)
            log.info("Job %d ran out of GPU memory; tried again as job %d with %s", job_id, again.id, more)
        elif job.state is State.FAILED:
            log.info("Job %d ran out of GPU memory; it is not tried again with more", job_id)

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


def _says_so(log_path: Path) -> bool:
    """Whether a log says that GPU memory ran out. Blocks, and looks through what anybody liked to print."""
    return gpu_memory_ran_out(read_tail(log_path, TAIL_BYTES))
