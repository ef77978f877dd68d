"""Usage figures of a set of jobs, with gflow's names."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from gflow.core.model import Job, Now, State
from gflow.core.stops import elapsed_secs

TOP = 5


def usage(jobs: Iterable[Job], now: Now, *, user: str | None, since: float | None) -> dict[str, Any]:
    """Counts, waits, run times and GPU hours of `user`'s jobs (None: everybody's) submitted after `since`.

    Times are seconds; `success_rate` is the percentage of finished among jobs that ran to a final state.
    """
    chosen = [
        job for job in jobs if (user is None or job.spec.owner == user) and (since is None or job.submitted_at >= since)
    ]
    counts = Counter(job.state for job in chosen)
    waits = [job.started_at - job.submitted_at for job in chosen if job.started_at is not None]
    runs = [(elapsed_secs(job, now) or 0.0, job) for job in chosen if job.started_at is not None]
    ended = counts[State.FINISHED] + counts[State.FAILED] + counts[State.TIMEOUT]
    with_gpus = [job for job in chosen if job.spec.gpus]
    top = sorted(runs, key=lambda run: (-run[0], run[1].id))[:TOP]
    return {
        "user": user,
        "since": since,
        "total_jobs": len(chosen),
        "completed_jobs": counts[State.FINISHED],
        "failed_jobs": counts[State.FAILED],
        "cancelled_jobs": counts[State.CANCELLED],
        "timeout_jobs": counts[State.TIMEOUT],
        "running_jobs": counts[State.RUNNING],
        "queued_jobs": counts[State.QUEUED] + counts[State.HOLD],
        "avg_wait_secs": _mean(waits),
        "avg_runtime_secs": _mean([elapsed for elapsed, _ in runs]),
        "total_gpu_hours": sum(elapsed * len(job.gpu_ids or ()) for elapsed, job in runs) / 3600,
        "jobs_with_gpus": len(with_gpus),
        "avg_gpus_per_job": _mean([job.spec.gpus for job in chosen]) or 0.0,
        "peak_gpu_usage": max((job.spec.gpus for job in chosen), default=0),
        "success_rate": counts[State.FINISHED] / ended * 100 if ended else 0.0,
        "top_jobs": [
            {"id": job.id, "name": job.run_name, "runtime_secs": elapsed, "gpus": job.spec.gpus} for elapsed, job in top
        ],
    }


def _mean(values: list[float] | list[int]) -> float | None:
    return sum(values) / len(values) if values else None
