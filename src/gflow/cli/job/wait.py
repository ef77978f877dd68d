"""gjob wait: return when jobs have ended, with their exit code."""

from __future__ import annotations

from gflow.cli.command import Command, Option
from gflow.cli.job.arguments import MANY, many
from gflow.cli.output import TEXT, print_document
from gflow.cli.waiting import exit_status, outcome, wait_for_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    client, job_ids = many(values)
    if values["output"] != "text":
        jobs = [client.wait_any(job_ids)] if values["any"] else [client.wait(job_id) for job_id in job_ids]
        print_document({"jobs": list(map(document, jobs))}, values["output"])
        return max(map(exit_status, jobs))
    if not values["any"]:
        return wait_for_all(client, job_ids, tell=not values["quiet"])
    job = client.wait_any(job_ids)
    if not values["quiet"]:
        print(outcome(job))
    return exit_status(job)


def document(job: dict[str, Any]) -> dict[str, Any]:
    """How a job ended, as programs read it."""
    return {field: job.get(field) for field in ("id", "state", "exit_code", "signal", "status_detail")}


COMMAND = Command(
    "wait",
    "Wait until jobs have ended, and exit as they did (largest exit code).",
    run,
    options=(
        Option("--any", help="Return as soon as one of them has ended."),
        Option("-q", "--quiet", help="Print nothing."),
        TEXT,
    ),
    arguments=(MANY,),
    examples=(
        ("gjob wait 7 && echo good", "exit status 0 only if job 7 finished"),
        ("gjob wait --any 7,10-12", "until the first of these has ended"),
    ),
)
