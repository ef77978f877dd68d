"""What pruning comes to, and the part of it that is not about records: the logs of jobs."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gflow.core.model import JobId


@dataclass(frozen=True, slots=True)
class Pruned:
    """What has gone, or would.

    - jobs: records of jobs in all. from_state, from_history: where they were; some were in both.
    - kept: jobs that ended before the moment, but that waiting jobs, or other records, still need.
    - logs: files with their output.
    """

    jobs: int
    from_state: int
    from_history: int
    kept: int
    logs: int


def count_logs(logs_dir: Path, ids: Iterable[JobId]) -> int:
    """How many of these jobs have a log."""
    return sum((logs_dir / f"{job_id}.log").exists() for job_id in ids)


def remove_logs(logs_dir: Path, ids: Iterable[JobId]) -> int:
    """Remove the logs of these jobs; returns how many there were. Raises OSError."""
    removed = 0
    for job_id in ids:
        with suppress(FileNotFoundError):
            (logs_dir / f"{job_id}.log").unlink()
            removed += 1
    return removed
