"""When a waiting job would start, if every running job took all the time it may.

The future is played by a second engine with the same jobs, so it follows the same rules as the present. Jobs without
a time limit never end there: what waits for one of them has no expected start.
"""

import heapq
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat

from gflow.core import stops
from gflow.core.dependencies import Verdict, judge
from gflow.core.engine import Engine
from gflow.core.model import Exit, Job, JobId, Now, State, Stop, StopStep
from gflow.core.order import queue_key

MOST_AHEAD = 200
"""With more jobs in front the answer would be worth less than the time it takes."""


def expected_start(engine: Engine, job: Job, now: Now) -> float | None:
    """Seconds since the epoch; None if the limits do not tell, and for jobs that are not queued.

    Jobs that are in the queue now and come before `job` are counted in; jobs that may join it later are not.
    """
    key = queue_key(job)
    if (
        job.state is not State.QUEUED
        or judge(job.spec, engine.jobs)[0] is not Verdict.SATISFIED
        or engine.ready.position(key) > MOST_AHEAD
    ):
        return None
    ahead = [engine.jobs[job_id] for job_id in (*engine.running, *engine.ready.before(key))]
    start = _play(_future(engine, [*ahead, job], now), job.id, now)
    return start if start is None else max(start, job.spec.begin_at or start)


def _future(engine: Engine, jobs: list[Job], now: Now) -> Engine:
    """An engine with these jobs, none of which waits for anything but room."""
    future = Engine(grace_secs=engine.grace_secs)
    future.set_machine(tuple(engine.resources.gpus.values()), engine.resources.memory_total_mb)
    plain = (job.with_spec(depends_on=(), begin_at=None, max_retries=0) for job in jobs)
    future.restore(plain, engine.groups.values(), engine.next_job_id, now)
    return future


def _play(future: Engine, awaited: JobId, now: Now) -> float | None:
    """End jobs in the order of their limits until the awaited one runs."""
    run_ids: Iterator[str] = repeat("forecast")
    ends = [(end, job_id) for job_id in future.running if (end := _end_boot(future.jobs[job_id], now)) is not None]
    heapq.heapify(ends)
    moment = now
    while True:
        for started in future.schedule(moment, run_ids).jobs.values():
            if started.id == awaited:
                return moment.wall
            limit = started.spec.time_limit_secs
            if limit is not None:
                heapq.heappush(ends, (moment.boot + limit, started.id))
        if not ends:
            return None
        boot, job_id = heapq.heappop(ends)
        moment = Now(now.wall + boot - now.boot, boot)
        future.ended(job_id, Exit(0, moment.wall), moment)


def _end_boot(job: Job, now: Now) -> float | None:
    """When a running job is gone at the latest, in CLOCK_BOOTTIME; not before now."""
    if job.stop is not None:
        return max(now.boot, _killed_boot(job.stop))
    if job.spec.time_limit_secs is None:
        return None
    ends = replace(job, signalled=True, started_boot=now.boot if job.started_boot is None else job.started_boot)
    return max(now.boot, stops.due_boot(ends) or now.boot)


def _killed_boot(stop: Stop) -> float:
    return stop.next_at_boot + (stops.TERM_GRACE_SECS if stop.step is StopStep.INTERRUPT else 0.0)
