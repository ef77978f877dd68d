"""When waiting jobs are expected to start, for whoever asks.

The future is played in a thread, one at a time, and what came of it is kept until something changes.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import trio

from gflow.core.forecast import Future, future_of, future_of_the_queue
from gflow.core.model import Job, JobId
from gflow.daemon.runtime import Runtime

KEPT_SECS = 60.0
"""What is known of the future may depend on the time alone, too: shares decay, others pass for long enough."""

Starts = Mapping[JobId, float]


class _Known(NamedTuple):
    state: object
    at_boot: float
    starts: Starts


class Forecast:
    """The expected starts of the jobs of `runtime`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._turn = trio.Lock()
        self._one_thread = trio.CapacityLimiter(1)
        self._known: _Known | None = None

    async def starts(self) -> Starts:
        """When the first jobs in the queue start, in seconds since the epoch; those nobody can tell of are missing."""
        if not self._runtime.engine.ready:
            return {}
        async with self._turn:
            if self._known is None or not self._still_holds(self._known):
                state, now = self._state(), self._runtime.clock()
                starts = await self._play(future_of_the_queue(self._runtime.engine, now))
                self._known = _Known(state, now.boot, starts)
            return self._known.starts

    async def start_of(self, job: Job) -> float | None:
        """The start of one job. One that is not in the queue yet counts as soon as its begin time has come."""
        engine = self._runtime.engine
        if job.id in engine.ready:
            return (await self.starts()).get(job.id)
        async with self._turn:
            at_hand = engine.jobs.get(job.id) is job
            future = future_of(engine, job, self._runtime.clock()) if at_hand else None
            start = (await self._play(future, job.id)).get(job.id) if future is not None else None
        return start if start is None else max(start, job.spec.begin_at or start)

    async def _play(self, future: Future, *awaited: JobId) -> Starts:
        """Whoever asked may go away meanwhile; then the limiter, not the lock, keeps the next one waiting."""
        play = partial(future.play, awaited or None)
        return await trio.to_thread.run_sync(play, limiter=self._one_thread, abandon_on_cancel=True)

    def _state(self) -> object:
        """What differs whenever the future may."""
        return self._runtime.last_seq, self._runtime.engine.resources.usable()

    def _still_holds(self, known: _Known) -> bool:
        return known.state == self._state() and self._runtime.clock().boot - known.at_boot < KEPT_SECS
