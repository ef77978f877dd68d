"""The memory watch: looks about once a second at what the jobs have in memory that have a limit of it.

One task for all of them, which sleeps while there are none, begins the looks that are due; those are done in threads.
Each job is looked at by itself: one whose processes do not let themselves be looked at keeps no other waiting. Between
two looks at a job it rests for three times as long as the last one took, so it takes a quarter of a CPU; but never so
long that a job could hide behind it.

A job that is over its limit is killed at once: whoever leaks memory would, while it tidied up, take that of the others.
Where the kernel keeps the limit, all there is to do is to tell it of a new one.
"""

import contextlib
import logging
import math
from collections.abc import Iterator

import trio

from gflow.core.errors import Refused
from gflow.core.limits import format_memory_mb, rounded_mb
from gflow.core.model import JobId, State
from gflow.daemon.runtime import Runtime
from gflow.launch.base import Launcher

log = logging.getLogger(__name__)

PERIOD_SECS = 1.0
LONGEST_REST_SECS = 4.0
_REST = 3


class MemoryWatch:
    """Owner of limits of host memory."""

    def __init__(self, runtime: Runtime, launcher: Launcher, period_secs: float = PERIOD_SECS) -> None:
        self._runtime = runtime
        self._launcher = launcher
        self._period_secs = period_secs
        self._watched: dict[JobId, float] = {}
        """When each is to be looked at next; never, while it is."""
        self._some = trio.Event()

    @contextlib.contextmanager
    def watching(self, job_id: JobId) -> Iterator[None]:
        """Look after this job while the context lasts."""
        self._watched[job_id] = -math.inf
        self._some.set()
        try:
            yield
        finally:
            del self._watched[job_id]
            if not self._watched:
                self._some = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._some.wait()
                now = trio.current_time()  # all that are due together: one reading of the process table is enough
                for job_id in [job_id for job_id, due in self._watched.items() if due <= now]:
                    self._watched[job_id] = math.inf
                    nursery.start_soon(self._look_and_rest, job_id)
                await trio.sleep(self._period_secs)

    async def _look_and_rest(self, job_id: JobId) -> None:
        began = trio.current_time()
        await self._look(job_id)
        now = trio.current_time()
        if self._watched.get(job_id) == math.inf:
            self._watched[job_id] = now + min(LONGEST_REST_SECS, _REST * (now - began))

    async def _look(self, job_id: JobId) -> None:
        engine = self._runtime.engine
        job = engine.jobs.get(job_id)
        used = await self._launcher.memory_over(job) if job is not None else None
        job = engine.jobs.get(job_id)  # its limit may have been raised meanwhile
        limit_mb = job.spec.memory_mb if job is not None and job.state is State.RUNNING else None
        if used is None or limit_mb is None or used <= limit_mb << 20:
            return
        used_mb = rounded_mb(math.ceil(used / (1 << 20)))
        log.warning(
            "Job %d uses %s of memory, more than its %s; killing it", job_id, used_mb, format_memory_mb(limit_mb)
        )
        text = f"out of memory: used {used_mb} of {format_memory_mb(limit_mb)}"
        with contextlib.suppress(Refused):
            self._runtime.commit(engine.out_of_memory(job_id, text, self._runtime.clock()))
