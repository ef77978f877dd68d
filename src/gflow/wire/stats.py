"""Usage figures, with gflow's names."""

from collections.abc import Mapping
from typing import Any

from gflow.core.model import State
from gflow.core.usage import Usage


def usage_json(usage: Usage, *, user: str | None, since: float | None) -> dict[str, Any]:
    """Counts, waits, run times and GPU hours of `user`'s jobs (None: everybody's) submitted after `since`.

    Times are seconds; `success_rate` is the percentage of finished among jobs that ran to a final state.
    `mean_gpu_utilisation_pct` is of the time that GPUs were held by jobs which were seen to use them or not.
    """
    return {
        "user": user,
        "since": _whole(since),
        **_figures(usage),
        "top_jobs": [
            {"id": run.id, "name": run.name, "runtime_secs": run.secs, "gpus": run.gpus} for run in usage.longest
        ],
        **_more_figures(usage),
    }


def usage_rows_json(rows: Mapping[str, Usage], by: str, *, user: str | None, since: float | None) -> dict[str, Any]:
    """The same for each user, project or day (`by`), under that word, and no longest runs. "-" is for no project."""
    figures = [{by: key or "-", **_figures(usage), **_more_figures(usage)} for key, usage in rows.items()]
    return {"by": by, "user": user, "since": _whole(since), "rows": figures}


def _whole(since: float | None) -> float | None:
    """Without a fraction where there is none: gflow's clients take no fractions."""
    return int(since) if since is not None and since.is_integer() else since


def _figures(usage: Usage) -> dict[str, Any]:
    states = usage.states
    ended = states[State.FINISHED] + states[State.FAILED] + states[State.TIMEOUT]
    return {
        "total_jobs": usage.jobs,
        "completed_jobs": states[State.FINISHED],
        "failed_jobs": states[State.FAILED],
        "cancelled_jobs": states[State.CANCELLED],
        "timeout_jobs": states[State.TIMEOUT],
        "running_jobs": states[State.RUNNING],
        "queued_jobs": states[State.QUEUED] + states[State.HOLD],
        "avg_wait_secs": _mean(usage.wait_secs, usage.started),
        "avg_runtime_secs": _mean(usage.run_secs, usage.started),
        "total_gpu_hours": usage.gpu_secs / 3600,
        "jobs_with_gpus": usage.with_gpus,
        "avg_gpus_per_job": _mean(usage.gpus, usage.jobs) or 0.0,
        "peak_gpu_usage": usage.most_gpus,
        "success_rate": states[State.FINISHED] / ended * 100 if ended else 0.0,
    }


def _more_figures(usage: Usage) -> dict[str, Any]:
    """What gflow does not have."""
    return {
        "measured_jobs": usage.measured,
        "mean_gpu_utilisation_pct": _mean(usage.busy_gpu_secs * 100, usage.measured_gpu_secs),
        "total_run_hours": usage.run_secs / 3600,
    }


def _mean(total: float, count: float) -> float | None:
    return total / count if count else None
