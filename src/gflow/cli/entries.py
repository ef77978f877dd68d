"""A job as other programs read it: what `gqueue -o json` and `gjob show -o json` have for fields.

Times are UTC as `2026-02-04T12:30:45Z`, lengths are seconds unless they say otherwise; `time` and `time_limit` are
texts as in the table, as gflow has always had them. Fields come, none goes and none changes its meaning.
"""

from __future__ import annotations

from gflow.cli.render.times import iso, seconds
from gflow.cli.render.words import what_runs
from gflow.core.limits import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

_REASONS = {
    "WaitingForDependency": "Dependency",
    "WaitingForStartTime": "BeginTime",
    "WaitingForResources": "Resources",
    "WaitingForGpu": "Resources",
    "WaitingForMemory": "Resources",
    "WaitingForQuota": "Quota",
    "JobHeldUser": "JobHeldUser",
}
"""As the queue's column NODELIST(REASON) has them."""

_AS_IT_IS = (
    "command",
    "argv",
    "script",
    "script_args",
    "conda_env",
    "dependency_mode",
    "auto_cancel_on_dependency_failure",
    "task_id",
    "group_id",
    "group",
    "key",
    "max_concurrent",
    "parameters",
    "max_retries",
    "restart_count",
    "retried_from",
    "retried_as",
    "redone_from",
    "redone_as",
    "gpu_sharing_mode",
    "gpu_indices",
    "gpu_memory_limit_mb",
    "cpus",
    "gpu_use",
    "stopping",
    "session",
    "keep_session",
)


def entry(job: Record, elapsed: str, place: str, progress: Record | None = None) -> Record:
    """A job of a list; `place` is the text of NODELIST(REASON), `progress` how far it says it is."""
    limit = seconds(job.get("time_limit"))
    waits = job["state"] in ("Queued", "Hold", "Cancelled")
    fields: Record = {
        "id": job["id"],
        "name": job.get("run_name"),
        "state": job["state"],
        "time": elapsed,
        "gpus": job.get("gpu_ids") or [],
        "user": job.get("submitted_by"),
        "project": job.get("project"),
        "submitted_at": iso(job.get("submitted_at")),
        "reason": place.strip("()") if waits and place != "-" else None,
        "memory_mb": job.get("memory_limit_mb"),
        "time_limit": None if limit is None else format_duration(limit),
    }
    optional = ("project", "submitted_at", "reason", "memory_mb", "time_limit")
    fields = {name: value for name, value in fields.items() if value is not None or name not in optional}
    return fields | {
        "priority": job.get("priority"),
        "gpus_requested": job.get("gpus"),
        "started_at": iso(job.get("started_at")),
        "finished_at": iso(job.get("finished_at")),
        "exit_code": job.get("exit_code"),
        "signal": job.get("signal"),
        "status_detail": job.get("status_detail"),
        "run_dir": job.get("run_dir"),
        "log_path": job.get("log_path"),
        "progress_percent": progress["percent"] if progress else None,
        "progress_left_secs": progress["left_secs"] if progress else None,
    }


def detailed(job: Record, now: float, progress: Record | None = None) -> Record:
    """A job with all there is to know about it; `now` in seconds since the epoch."""
    ran = _elapsed_secs(job, now)
    limit = seconds(job.get("time_limit"))
    return {
        **entry(job, "-" if ran is None else format_duration(ran), _reason(job), progress),
        "elapsed_secs": None if ran is None else round(ran, 3),
        "time_limit_secs": limit,
        "begin_at": iso(job.get("scheduled_at")),
        "depends_on": job.get("depends_on_ids") or [],
        "runs": what_runs(job),
        "notifications": job.get("notifications"),
        **{name: job.get(name) for name in _AS_IT_IS},
    }


def _elapsed_secs(job: Record, now: float) -> float | None:
    started, finished = seconds(job.get("started_at")), seconds(job.get("finished_at"))
    return None if started is None else max(0.0, (now if finished is None else finished) - started)


def _reason(job: Record) -> str:
    reason = job.get("reason")
    if isinstance(reason, dict):
        return next((f"{kind}:{which}" for kind, which in reason.items() if kind == "DependencyFailed"), "-")
    return _REASONS.get(str(reason), "-")
