"""gcancel: cancel jobs, or show what that would do."""

from __future__ import annotations

from gflow.cli import ids
from gflow.cli.command import Argument, Command, Option, UsageError
from gflow.cli.each import each
from gflow.cli.entry import start
from gflow.cli.job.arguments import many
from gflow.cli.output import TEXT, print_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.client.http import Client

    Record = dict[str, Any]

_CANCELLABLE = ("Queued", "Hold", "Running")


def run(values: Values) -> int:
    client, job_ids = many(values)
    status = _report_ends(client, values)
    if not job_ids:
        if values["finish"] is None and values["fail"] is None:
            raise UsageError("no job named: give ids, e.g. gcancel 7,10-12")
        return status
    if values["output"] != "text" and not values["dry_run"]:
        raise UsageError("--output is for --dry-run")
    if values["output"] != "text":
        previews = print_each("gcancel", "jobs", job_ids, lambda one: _document(client, one), values["output"])
        return max(status, previews)
    if values["dry_run"]:
        return max(status, each("gcancel", job_ids, lambda job_id: _preview(client, job_id)))

    def cancel(job_id: int) -> None:
        client.cancel(job_id)
        print(f"Job {job_id} cancelled.")

    return max(status, each("gcancel", job_ids, cancel))


def _preview(client: Client, job_id: int) -> None:
    """The job and all that would be cancelled with it, one tab-separated line each."""
    answer = _document(client, job_id)
    print(f"{answer['id']}\t{answer['state']}\t{answer['verdict']}")
    for dependent in answer["dependents"]:
        print(f"{dependent['id']}\t{dependent['state']}\tblocked\t{dependent['blocked_by']}")


def _document(client: Client, job_id: int) -> Record:
    """What a cancel would do, as programs read it."""
    answer = client.preview_cancel(job_id)
    verdict = "ok" if answer["state"] in _CANCELLABLE else "invalid"
    return {
        "id": answer["id"],
        "state": answer["state"],
        "verdict": verdict,
        "dependents": answer.get("dependents") or [],
    }


def _report_ends(client: Client, values: Values) -> int:
    """What jobs of an older gflow call at their end."""
    status = 0
    if values["finish"] is not None:
        status = each("gcancel", ids.expand([values["finish"]], client), client.finish)
    if values["fail"] is not None:
        status = max(status, each("gcancel", ids.expand([values["fail"]], client), client.fail))
    return status


COMMAND = Command(
    "gcancel",
    "Cancel jobs that wait or run.",
    run,
    options=(
        Option("--dry-run", help="Only show which jobs would be cancelled, and which others with them."),
        TEXT,
        Option("--finish", convert=ids.parse_one, metavar="ID", hidden=True, help="Mark a job as finished."),
        Option("--fail", convert=ids.parse_one, metavar="ID", hidden=True, help="Mark a job as failed."),
        Option("--cancel", hidden=True, help="Accepted; it is what gcancel does."),
        Option("--kill", hidden=True, help="Accepted; it is what gcancel does."),
    ),
    arguments=(Argument("jobs", "IDS", ids.parse, required=False, variadic=True),),
    examples=(
        ("gcancel 7", "Ctrl-C first, then TERM, then KILL"),
        ("gcancel 7,10-12 --dry-run", "what would happen, also to jobs that depend on these"),
        ("gcancel @", "your latest job"),
    ),
)


def main() -> None:
    start(COMMAND)
