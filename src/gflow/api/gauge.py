"""How far running jobs are, looked up when somebody asks and at no other time.

Looking reads the ends of two files for each job, in a thread; what was found counts for a second, so that many who ask
cost no more than one.
"""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import trio

from gflow.core.model import Job, JobId, State
from gflow.core.progress import Progress
from gflow.daemon.runtime import Runtime
from gflow.launch.patience import Patience
from gflow.launch.progress import Report, read_progress

FRESH_SECS = 1.0
MOST_SECS = 2.0
"""What the files of one user may take; where they are slow, other answers must not wait for these."""


class Gauge:
    """`log_path`: where the output of a job is. `report`: what it has written about how far it is; it may block."""

    def __init__(
        self, runtime: Runtime, log_path: Callable[[JobId], Path], report: Callable[[Job], Report | None]
    ) -> None:
        self._runtime = runtime
        self._log_path = log_path
        self._report = report
        self._seen: dict[JobId, tuple[float, Progress | None]] = {}
        self._patience = Patience()

    async def of(self, jobs: Iterable[Job]) -> dict[JobId, Progress]:
        """What those of the jobs that run have said, by id; nothing of a job that has said nothing."""
        running = [job for job in jobs if job.state is State.RUNNING]
        now = self._runtime.clock().boot
        stale = [job for job in running if self._seen_at(job.id) < now - FRESH_SECS]
        if stale:
            async with trio.open_nursery() as nursery:
                for user in {job.spec.uid for job in stale}:
                    nursery.start_soon(self._look, user, [job for job in stale if job.spec.uid == user], now)
            self._forget_ended()
        seen = ((job.id, self._seen[job.id][1]) for job in running if job.id in self._seen)
        return {job_id: progress for job_id, progress in seen if progress is not None}

    async def _look(self, user: int | None, jobs: list[Job], now: float) -> None:
        """At the jobs of one user. What does not come in time is as it was."""
        found: dict[JobId, Progress | None] = {}
        with contextlib.suppress(TimeoutError):
            await self._patience.within(MOST_SECS, user, partial(self._read_all, jobs, found))
        for job in jobs:
            self._seen[job.id] = now, found.get(job.id, self._seen.get(job.id, (now, None))[1])

    def _seen_at(self, job_id: JobId) -> float:
        seen = self._seen.get(job_id)
        return seen[0] if seen is not None else float("-inf")

    def _forget_ended(self) -> None:
        running = self._runtime.engine.running
        self._seen = {job_id: seen for job_id, seen in self._seen.items() if job_id in running}

    def _read_all(self, jobs: Iterable[Job], found: dict[JobId, Progress | None]) -> None:
        for job in jobs:
            found[job.id] = read_progress(self._log_path(job.id), self._report(job))
