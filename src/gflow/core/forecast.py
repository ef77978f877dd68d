"""When a waiting job would start, if every running job took all the time it may.

The future is played by a second engine with the same jobs, so it follows the same rules as the present. Jobs without
a time limit never end there: what waits for one of them has no expected start.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import repeat

from gflow.core import stops
from gflow.core.dependencies import Verdict, judge
from gflow.core.engine import Engine
from gflow.core.fairshare import UsageNow
from gflow.core.model import Exit, Job, JobId, Now, State
from gflow.core.order import queue_key
from gflow.core.queue import rank

MOST_AHEAD = 200
"""With more jobs in front the answer would be worth less than the time it takes."""


def expected_start(engine: Engine, job: Job, now: Now) -> float | None:
    """Seconds since the epoch; None if the limits do not tell, and for jobs that are not queued.

    Jobs that are in the queue now and come before `job` are counted in; jobs that may join it later are not.
    """
    future = future_of(engine, job, now)
    start = future.play([job.id]).get(job.id) if future is not None else None
    return start if start is None else max(start, job.spec.begin_at or start)


def future_of(engine: Engine, job: Job, now: Now) -> "Future | None":
    """The future of one job and of those before it; None where it would not tell when that job starts."""
    usage = UsageNow(engine.fair_share, now)
    key = queue_key(job)
    if (
        job.state is not State.QUEUED
        or judge(job.spec, engine.jobs)[0] is not Verdict.SATISFIED
        or engine.ready.position(key, job.spec.owner, usage.of) > MOST_AHEAD
    ):
        return None
    ahead = [engine.jobs[job_id] for job_id in engine.ready.before(key, job.spec.owner, usage.of)]
    return Future(engine, [*ahead, job], now)


def future_of_the_queue(engine: Engine, now: Now) -> "Future":
    """The future of the first `MOST_AHEAD` ready jobs. Playing it takes a while: do that in a thread."""
    usage = UsageNow(engine.fair_share, now)
    ready = ((rank(key, usage.of(shape.owner)), job_id) for job_id, shape, key in engine.ready.items())
    return Future(engine, [engine.jobs[job_id] for _, job_id in heapq.nsmallest(MOST_AHEAD, ready)], now)


class Future:
    """What becomes of the running jobs and of some waiting ones, none of which waits for anything but room."""

    def __init__(self, engine: Engine, waiting: Iterable[Job], now: Now) -> None:
        self._now = now
        self._engine = future = Engine(grace_secs=engine.grace_secs, policy=engine.policy)
        jobs = [*(engine.jobs[job_id] for job_id in engine.running), *waiting]
        plain = [job.with_spec(depends_on=(), begin_at=None, max_retries=0, retry_on_oom=False) for job in jobs]
        self._waiting = [job.id for job in plain if job.state is State.QUEUED]
        there = engine.resources
        future.set_machine(tuple(there.gpus.values()), there.memory_total_mb, there.cpus_total)
        future.restore(plain, engine.groups.values(), engine.next_job_id, now, engine.kept_settings())
        future.stalled = dict(engine.stalled)
        future.resources.status = engine.resources.status

    def play(self, awaited: Iterable[JobId] | None = None) -> dict[JobId, float]:
        """When the awaited jobs start, all of them by default, in seconds since the epoch.

        Jobs end in the order of their limits, reservations come and go; those whose start does not follow from that are
        missing.
        """
        open_ = set(self._waiting if awaited is None else awaited)
        starts: dict[JobId, float] = {}
        ends = self._ends()
        run_ids: Iterator[str] = repeat("forecast")
        moment: Now | None = self._now
        while open_ and moment is not None:
            for started in self._engine.schedule(moment, run_ids).jobs.values():
                if started.state is State.RUNNING:
                    starts[started.id] = moment.wall
                    open_.discard(started.id)
                    limit = started.spec.time_limit_secs
                    if limit is not None:
                        heapq.heappush(ends, (moment.boot + limit, started.id))
            moment = self._next(ends, moment)
        return starts

    def _ends(self) -> list[tuple[float, JobId]]:
        jobs = ((job_id, self._engine.jobs[job_id]) for job_id in self._engine.running)
        ends = [(end, job_id) for job_id, job in jobs if (end := _end_boot(job, self._now)) is not None]
        heapq.heapify(ends)
        return ends

    def _next(self, ends: list[tuple[float, JobId]], moment: Now) -> Now | None:
        """The next moment at which something changes; the job that ends then has ended."""
        edge = self._engine.book.next_edge(moment.wall)
        edge_boot = edge - moment.wall + moment.boot if edge is not None else None
        if ends and (edge_boot is None or ends[0][0] <= edge_boot):
            boot, job_id = heapq.heappop(ends)
            after = Now(moment.wall + boot - moment.boot, boot)
            self._engine.ended(job_id, Exit(0, after.wall), after)
            return after
        return None if edge is None or edge_boot is None else Now(edge, edge_boot)


def _end_boot(job: Job, now: Now) -> float | None:
    """When a running job is gone at the latest, in CLOCK_BOOTTIME; not before now."""
    if job.stop is not None:
        return max(now.boot, stops.killed_boot(job.stop))
    if job.spec.time_limit_secs is None:
        return None
    ends = replace(job, signalled=True, started_boot=now.boot if job.started_boot is None else job.started_boot)
    return max(now.boot, stops.due_boot(ends) or now.boot)
