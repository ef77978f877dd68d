"""The timeout enforcer: wakes at the next deadline of a running job and takes the next step of its stop.

Deadlines are in CLOCK_BOOTTIME: they hold over suspends, and over steps of the wall clock.
"""

import logging
import time
from collections.abc import Callable

import trio

from gflow.core.model import Job, JobId, Stop, StopCause, StopStep
from gflow.core.outcome import Outcome
from gflow.daemon.alarm import Alarm
from gflow.daemon.runtime import Runtime
from gflow.daemon.wake import Bell

log = logging.getLogger(__name__)


class TimeoutEnforcer:
    """Owner of early signals, time limits and the ladder Ctrl-C, SIGTERM, SIGKILL.

    `is_over` sees whether a job has ended, which this process may not have heard if it had no time for so long.
    """

    def __init__(self, runtime: Runtime, is_over: Callable[[Job], bool]) -> None:
        self._runtime = runtime
        self._is_over = is_over
        self._alarm = Alarm(time.CLOCK_BOOTTIME)
        self._killed: set[JobId] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        runtime, wake = self._runtime, self._runtime.deadline_wake
        bell = Bell(self._alarm, wake)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bell.run)
                task_status.started()
                while True:
                    wake.clear()
                    outcome = runtime.engine.enforce(runtime.clock(), self._is_over)
                    if outcome:
                        self._warn(outcome)
                        runtime.commit(outcome)
                    bell.set(runtime.engine.next_deadline_boot())
                    await wake.wait()
        finally:
            self._alarm.close()

    def _warn(self, outcome: Outcome) -> None:
        self._killed &= self._runtime.engine.running.keys()
        for job in outcome.jobs.values():
            match job.stop:
                case Stop(cause=StopCause.TIMEOUT, step=StopStep.INTERRUPT):
                    log.warning("Job %d has exceeded time limit, terminating...", job.id)
                case Stop(step=StopStep.KILL) if job.id not in self._killed:
                    self._killed.add(job.id)  # it is killed again and again until nothing is left, but said once
                    log.warning("Job %d does not end by itself; killing its processes", job.id)
                case _:
                    pass
