"""Waiting for jobs to end, and what a shell is told about how they did."""

from __future__ import annotations

import sys

from gflow.cli.each import each
from gflow.cli.render.table import harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.client.http import Client


def exit_status(job: dict[str, Any]) -> int:
    """The job's own exit code; never 0 for one that did not finish, and 1 where there is no code."""
    if job["state"] == "Finished":
        return 0
    return int(job.get("exit_code") or 1)


def wait_for_all(client: Client, job_ids: list[int], *, tell: bool) -> int:
    """Wait until every job is final; the largest of their exit codes. `tell`: print a line about each.

    One that cannot be waited for is told of, and counts as 1.
    """
    worst = 0

    def wait(job_id: int) -> None:
        nonlocal worst
        job = client.wait(job_id)
        if tell:
            print(outcome(job))
            sys.stdout.flush()
        worst = max(worst, exit_status(job))

    return max(each(job_ids, wait), worst)


def outcome(job: dict[str, Any]) -> str:
    """One line about how a job ended."""
    facts = []
    if job.get("exit_code") is not None:
        facts.append(f"exit code {job['exit_code']}")
    if job.get("signal"):
        facts.append(str(job["signal"]))
    if job.get("status_detail"):
        facts.append(str(job["status_detail"]))
    return harmless(f"Job {job['id']} {job['state']}" + (f" ({', '.join(facts)})" if facts else ""))
