"""What is seen of running jobs, as the API shows it: progress, processes, GPUs."""

from typing import Any

from gflow.core.engine import Engine
from gflow.core.model import Job, Now
from gflow.core.placement import UNSEEN
from gflow.core.progress import Progress, time_left_secs

Json = dict[str, Any]


def progress_json(job: Job, progress: Progress, now: Now) -> Json:
    """How far a job is; times in seconds since the epoch, null where nobody can tell."""
    left = time_left_secs(progress, job, now)
    return {
        "id": job.id,
        "percent": round(progress.percent, 2),
        "left_secs": None if left is None else round(left, 1),
        "expected_end": None if left is None else round(now.wall + left, 1),
        "state": progress.state,
        "note": progress.note,
        "told_by": progress.told_by,
        "told_at": progress.told_at,
    }


def process_json(process: Any, now: Now) -> Json:
    """A process as `launch.base.Consumption` has it."""
    return {
        "pid": process.pid,
        "parent": process.parent,
        "command": process.command,
        "state": process.state,
        "cpu_secs": process.cpu_secs,
        "memory_bytes": process.memory_bytes,
        "threads": process.threads,
        "started_at": now.wall - (now.boot - process.started_boot),
    }


def gpus_json(engine: Engine, job: Job) -> list[Json]:
    """The job's devices as last seen; `job_mb` is what the job holds there, null if that cannot be told."""
    found = []
    for index in job.gpu_ids or ():
        status, gpu = engine.resources.status.get(index, UNSEEN), engine.resources.gpus.get(index)
        found.append(
            {
                "index": index,
                "name": gpu.name if gpu is not None else None,
                "memory_mb": gpu.memory_mb if gpu is not None else None,
                "used_mb": status.used_mb,
                "job_mb": status.job_mb.get(job.id),
                "utilisation_pct": status.utilisation_pct,
            }
        )
    return found
