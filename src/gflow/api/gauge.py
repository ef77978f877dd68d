"""How far running jobs are, looked up when somebody asks and at no other time.

Looking reads the ends of two files for each job, in a thread; what was found counts for a second, so that many who ask
cost no more than one.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import trio

from gflow.core.model import Job, JobId, State
from gflow.core.progress import Progress
from gflow.daemon.runtime import Runtime
from gflow.launch.progress import Report, read_progress

FRESH_SECS = 1.0
AT_ONCE = 2
"""Threads that may be looking: where files are slow, other answers must not wait for these."""


class Gauge:
    """`log_path`: where the output of a job is. `report`: what it has written about how far it is; it may block."""

    def __init__(
        self, runtime: Runtime, log_path: Callable[[JobId], Path], report: Callable[[Job], Report | None]
    ) -> None:
        self._runtime = runtime
        self._log_path = log_path
        self._report = report
        self._seen: dict[JobId, tuple[float, Progress | None]] = {}
        self._threads = trio.CapacityLimiter(AT_ONCE)

    async def of(self, jobs: Iterable[Job]) -> dict[JobId, Progress]:
        """What those of the jobs that run have said, by id; nothing of a job that has said nothing."""
        running = [job for job in jobs if job.state is State.RUNNING]
        now = self._runtime.clock().boot
        stale = [job for job in running if self._seen_at(job.id) < now - FRESH_SECS]
        if stale:
            found = await trio.to_thread.run_sync(self._read_all, stale, limiter=self._threads)
            self._forget_ended()
            self._seen |= {job_id: (now, progress) for job_id, progress in found}
        seen = ((job.id, self._seen[job.id][1]) for job in running if job.id in self._seen)
        return {job_id: progress for job_id, progress in seen if progress is not None}

    def _seen_at(self, job_id: JobId) -> float:
        seen = self._seen.get(job_id)
        return seen[0] if seen is not None else float("-inf")

    def _forget_ended(self) -> None:
        running = self._runtime.engine.running
        self._seen = {job_id: seen for job_id, seen in self._seen.items() if job_id in running}

    def _read_all(self, jobs: Iterable[Job]) -> list[tuple[JobId, Progress | None]]:
        return [(job.id, read_progress(self._log_path(job.id), self._report(job))) for job in jobs]
