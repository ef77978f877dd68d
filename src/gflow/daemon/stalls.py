"""Launches that cannot be made just now, by no fault of their jobs: they wait and are tried again, ever more slowly.

Meanwhile the engine starts no more of the jobs concerned, so the queue does not run through as failed. Those on their
way stay Running without having begun; the first that can be launched lets all go on. They can be stopped at once.
"""

import logging
from dataclasses import dataclass, field

import trio

from gflow.core.model import Job, JobId
from gflow.daemon.runtime import Runtime
from gflow.launch.base import CannotLaunch

log = logging.getLogger(__name__)

BACKOFF_SECS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
GIVE_UP_SECS = 1800.0
"""After that jobs fail whose owner's own surroundings keep them from being launched: others wait for what they have."""


@dataclass(slots=True)
class _Waiting:
    whose: str | None
    since: float
    tries: int = 0
    wake: trio.Event = field(default_factory=trio.Event)


class Stalls:
    """Who waits to be launched, and since when."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: dict[JobId, _Waiting] = {}

    async def wait(self, job: Job, trouble: CannotLaunch) -> bool:
        """Return when it is worth another try; False if there is to be none."""
        waiting = self._waiting.setdefault(job.id, _Waiting(trouble.whose, trio.current_time()))
        waiting.tries += 1
        if self._runtime.engine.stall(trouble.whose, str(trouble)):
            concerned = "" if trouble.whose is None else f" of {trouble.whose}"
            log.error("jobs%s cannot be launched: %s; they wait, and it is tried again", concerned, trouble)
            self._runtime.schedule_wake.set()
        if trouble.whose is not None and trio.current_time() - waiting.since > GIVE_UP_SECS:
            return False
        waiting.wake = trio.Event()
        with trio.move_on_after(BACKOFF_SECS[min(waiting.tries, len(BACKOFF_SECS)) - 1]):
            await waiting.wake.wait()
        return True

    def hurry(self, job_id: JobId) -> None:
        """Something is wanted of the job, as to stop it."""
        if job_id in self._waiting:
            self._waiting[job_id].wake.set()

    def launched(self, job: Job) -> None:
        """It could be launched, so others can be."""
        self._waiting.pop(job.id, None)
        for whose in {None, job.spec.owner} & self._runtime.engine.stalled.keys():
            self._end(whose)
            for waiting in self._waiting.values():
                if waiting.whose == whose:
                    waiting.wake.set()

    def forget(self, job_id: JobId) -> None:
        """It waits no longer; the last to do so leaves it to the next job to try."""
        waiting = self._waiting.pop(job_id, None)
        if waiting is not None and not any(other.whose == waiting.whose for other in self._waiting.values()):
            self._end(waiting.whose)

    def _end(self, whose: str | None) -> None:
        if self._runtime.engine.stall(whose, None):
            log.info("jobs%s are launched again", "" if whose is None else f" of {whose}")
            self._runtime.schedule_wake.set()
