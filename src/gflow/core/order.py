"""The order of the queue: priority first, then the bonus for having a time limit, then submission.

The formula is gflow's, as its documents state it: priority x 1000 + bonus. A bonus is at most 300, so it never beats
a higher priority. A job that was blocked and got a planned start comes before all others of its priority, or the
shorter ones that are submitted later would put it off again and again.
"""

from gflow.core.model import Job, JobId

_DAY_SECS = 86400
_UNLIMITED_BONUS = 100

PRIORITY_WEIGHT = 1000
"""More than any bonus."""

PLANNED_BONUS = 999
"""For a job that others must not put off any more; still less than a step of priority."""

QueueKey = tuple[int, JobId]
"""Sorts ascending: the first key is the next job."""


def time_bonus(time_limit_secs: float | None) -> int:
    """100 without a limit; with one 200 (a day or more) to 300 (moments)."""
    if time_limit_secs is None:
        return _UNLIMITED_BONUS
    return 200 + int((1 - min(time_limit_secs / _DAY_SECS, 1)) * 100)


def queue_key(job: Job) -> QueueKey:
    """Where `job` stands in the queue."""
    planned = job.planned_for is not None or job.bypassed_at is not None
    bonus = PLANNED_BONUS if planned else time_bonus(job.spec.time_limit_secs)
    return -(job.spec.priority * PRIORITY_WEIGHT + bonus), job.id


def is_planned(key: QueueKey) -> bool:
    """Whether it is the key of a job with a planned start."""
    return -key[0] % PRIORITY_WEIGHT == PLANNED_BONUS
