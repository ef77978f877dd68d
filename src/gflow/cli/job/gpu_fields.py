"""What `gjob show` says of a job's GPUs: what was asked for, and what became of it."""

from __future__ import annotations

from gflow.cli.render.times import seconds
from gflow.core.gpu_list import format_gpu_list
from gflow.core.limits import format_memory_mb, rounded_mb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]
    Field = tuple[str, object]


def asked(job: Record) -> list[Field]:
    """What the job asks for."""
    mode, size = job.get("gpu_sharing_mode"), memory(job.get("gpu_memory_limit_mb"))
    meaning = "declared" if mode == "Shared" else "required"
    return [
        ("GPUs", job.get("gpus")),
        ("GPUsRequested", format_gpu_list(job.get("gpu_indices") or ()) or None),
        ("GPUSharing", str(mode).lower() if mode else None),
        ("GPUMemoryLimit", f"{size} ({meaning})" if size else None),
        ("RetryOnOOM", "enabled" if job.get("retry_on_oom") else None),
        ("OOMRestarts", _oom_restarts(job)),
    ]


def used(job: Record, now: float) -> list[Field]:
    """What it was given, and what was measured on it; `now` in seconds since the epoch."""
    gpu_ids, use = job.get("gpu_ids"), job.get("gpu_use") or {}
    return [
        ("GPUIDs", ",".join(map(str, gpu_ids)) if gpu_ids else None),
        ("GPUMemoryUsed", job.get("gpu_memory_verdict") or _measured("peak ", use.get("peak_mb"))),
        ("GPUMemoryCounted", _measured("", job.get("gpu_share_mb"))),
        ("GPUUtilization", _utilization(use)),
        ("GPUHours", _gpu_hours(job, now)),
    ]


def memory(size_mb: int | None) -> str | None:
    """A size as it was asked for."""
    return None if size_mb is None else format_memory_mb(size_mb)


def _measured(word: str, size_mb: int | None) -> str | None:
    return None if size_mb is None else word + rounded_mb(size_mb)


def _oom_restarts(job: Record) -> str | None:
    """How many of the attempts up to this one were made because GPU memory had run out."""
    times = job.get("oom_restarts")
    return f"{times} (tried again with more GPU memory)" if times else None


def _utilization(use: Record) -> str | None:
    mean, peak = use.get("mean_pct"), use.get("peak_pct")
    return None if mean is None or peak is None else f"mean {mean:.0f}%, peak {peak:.0f}%"


def _gpu_hours(job: Record, now: float) -> str | None:
    started, finished = seconds(job.get("started_at")), seconds(job.get("finished_at"))
    if started is None or not job.get("gpus"):
        return None
    return f"{job['gpus'] * max(0.0, (now if finished is None else finished) - started) / 3600:.2f}"
