"""A state as gflow 0.4.18 keeps it, with many jobs: it reads that as its own, and we import it.

The format is version 4 of its `state.msgpack`: two lists that belong together, of what was asked for and of what became
of it; the id of a job is its place, counted from 1.
"""

import pathlib
import time
from typing import Any

import msgpack  # type: ignore[import-untyped]

DAY_SECS = 86_400


def moment(at: float) -> dict[str, int]:
    """Seconds since the epoch in its form."""
    return {"secs_since_epoch": int(at), "nanos_since_epoch": int(at % 1 * 1e9)}


def specification(job_id: int, work: str, now: float, *, queued: bool) -> dict[str, Any]:
    """What was asked for."""
    return {
        "script": None,
        "command": f"python train.py --seed {job_id}",
        "conda_env": None,
        "run_dir": work,
        "parameters": {},
        "submitted_by": "bench",
        "submitted_at": moment(now - 1000),
        "task_id": None,
        "redone_from": None,
        "retried_from": None,
        "max_retries": 0,
        "auto_close_tmux": False,
        "run_name": f"gjob-{job_id}",
        "project": None,
        "depends_on": None,
        "depends_on_ids": [],
        "dependency_mode": None,
        "auto_cancel_on_dependency_failure": True,
        "scheduled_at": moment(now + DAY_SECS) if queued else None,
    }


def course(job_id: int, now: float, *, queued: bool) -> dict[str, Any]:
    """What became of it."""
    return {
        "id": job_id,
        "state": "Queued" if queued else "Finished",
        "priority": 10,
        "gpus": 0,
        "gpu_sharing_mode": "Exclusive",
        "gpu_memory_limit_mb": None,
        "time_limit": None,
        "memory_limit_mb": None,
        "gpu_ids": None if queued else [],
        "group_id": None,
        "max_concurrent": None,
        "started_at": None if queued else moment(now - 900),
        "finished_at": None if queued else moment(now - 800),
        "reason": "WaitingForStartTime" if queued else None,
    }


def write(data_dir: pathlib.Path, work: str, *, finished: int, queued: int) -> None:
    """Write `state.msgpack` with so many jobs; the queued ones, which come last, begin tomorrow."""
    now, ids = time.time(), range(1, finished + queued + 1)
    state = {
        "version": 4,
        "job_specs": [specification(n, work, now, queued=n > finished) for n in ids],
        "job_runtimes": [course(n, now, queued=n > finished) for n in ids],
        "state_path": str(data_dir / "state.json"),
        "next_job_id": len(ids) + 1,
        "allowed_gpu_indices": None,
        "fair_share_usage": {},
        "reservations": [],
        "next_reservation_id": 1,
    }
    data_dir.mkdir(mode=0o700, exist_ok=True)
    (data_dir / "state.msgpack").write_bytes(msgpack.packb(state))
