"""How far a running job is by its own account, and how long it will still take by that. Nothing is decided by it."""

from dataclasses import dataclass

from gflow.core.model import Job, Now
from gflow.core.stops import elapsed_secs


@dataclass(frozen=True, slots=True)
class Progress:
    """What a job said last.

    - percent: 0 to 100. told_at: when that was, in seconds since the epoch. told_by: `file` or `terminal`.
    - left_secs: what was still to come then, if the job said that, too. state: `normal`, `paused` or `error`.
    - note: a few words of the job's own.
    """

    percent: float
    told_at: float
    told_by: str
    left_secs: float | None = None
    state: str = "normal"
    note: str | None = None


def time_left_secs(progress: Progress, job: Job, now: Now) -> float | None:
    """How long the job will still take: what it said, less what has passed since, or what the time until now tells.

    None where there is nothing to go by, and where what was to come by that is over: the job has slowed down or stands.
    """
    age = max(0.0, now.wall - progress.told_at)
    if progress.left_secs is not None:
        return max(0.0, progress.left_secs - age)
    elapsed = elapsed_secs(job, now)
    if elapsed is None or elapsed <= age or progress.percent <= 0:
        return None
    left = (elapsed - age) * 100 / progress.percent - elapsed
    if left < 0:
        return 0.0 if progress.percent >= 100 else None
    return left
