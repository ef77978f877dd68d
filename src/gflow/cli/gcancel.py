"""gcancel: cancel jobs, show what that would do, or send them a signal."""

from __future__ import annotations

from gflow.cli import ids, states
from gflow.cli.command import Argument, Command, Option, UsageError
from gflow.cli.each import each
from gflow.cli.entry import start
from gflow.cli.fetching import tell_missing
from gflow.cli.job.arguments import many
from gflow.cli.kinds import names, not_empty, reason, signal_number, wildcards
from gflow.cli.outcomes import act_on_each, declined, done
from gflow.cli.output import TEXT, print_document
from gflow.cli.render.table import harmless
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.client.http import Client

    Record = dict[str, Any]

_FILTERS = ("user", "names", "project", "states", "group")
_CANCELLABLE = ("Queued", "Hold", "Running")
_AT_ONCE = 5000
_FIELDS = ("id", "state", "verdict", "blocked_by")
"""What a dry run tells of each job."""


def run(values: Values) -> int:
    filtered = any(values[dest] for dest in _FILTERS)
    if values["signal"] and (values["dry_run"] or values["reason"]):
        raise UsageError("--signal cancels nothing, so --dry-run and --reason have no place beside it")
    _check_states(values["states"])
    client, job_ids = many(values)
    status = _report_ends(client, values)
    if filtered:
        from gflow.cli.selecting import select

        job_ids, missing = select(client, job_ids, values)
        status = max(status, tell_missing(missing))
        if not job_ids:
            return _nothing_meant(values)
    if not job_ids:
        if values["finish"] is None and values["fail"] is None:
            raise UsageError("no job named: give ids, e.g. gcancel 7,10-12, or --name, --user, --state and the like")
        return status
    if values["signal"]:
        return max(status, _signal(client, job_ids, values["signal"], values["output"]))
    if values["dry_run"]:
        return max(status, _preview(client, job_ids, values["output"]))
    return max(status, _cancel(client, job_ids, values["reason"], values["output"]))


def _cancel(client: Client, job_ids: list[int], reason: str | None, kind: str) -> int:
    """Several jobs are one request, so that none of them starts when another makes room for it."""

    def cancel(job_id: int) -> Record:
        client.cancel(job_id, reason)
        return {}

    if len(job_ids) == 1:
        return act_on_each(job_ids, cancel, lambda job: print(f"Job {job['id']} cancelled."), kind)
    status = 0
    outcomes: dict[int, Record] = {}
    try:
        for at in range(0, len(job_ids), _AT_ONCE):
            answer = client.cancel_many(job_ids[at : at + _AT_ONCE], reason=reason)
            outcomes |= {job["id"]: done(job["id"]) for job in answer["jobs"]}
            outcomes |= {job["id"]: declined(job) for job in answer["failed"]}
            if kind == "text":
                print("".join(f"Job {job['id']} cancelled.\n" for job in answer["jobs"]), end="")
            status = max(status, _tell(answer["failed"]))
    finally:
        if kind != "text":
            print_document({"jobs": [outcomes[job_id] for job_id in job_ids if job_id in outcomes]}, kind)
    return status


def _preview(client: Client, job_ids: list[int], kind: str) -> int:
    """The jobs and all that would be cancelled with them: one tab-separated line each, or one document."""
    status = 0
    found: list[Record] = []
    for at in range(0, len(job_ids), _AT_ONCE):
        answer = client.cancel_many(job_ids[at : at + _AT_ONCE], dry_run=True)
        found += [{**job, "verdict": "ok", "blocked_by": None} for job in answer["jobs"]]
        found += [{**job, "verdict": "blocked"} for job in answer["dependents"]]
        status = max(status, _tell(answer["failed"]))
    if kind != "text":
        print_document({"jobs": [{name: job[name] for name in _FIELDS} for job in found]}, kind)
        return status
    for job in found:
        print(*(harmless(str(job[name])) for name in _FIELDS if job[name] is not None), sep="\t")
    return status


def _tell(failed: list[Record]) -> int:
    """Say what could not be cancelled; 1 if there is such, else 0."""
    for job in failed:
        say(job["error"])
    return 1 if failed else 0


def _signal(client: Client, job_ids: list[int], number: int, kind: str) -> int:
    def tell(job: Record) -> None:
        count = job["processes"]
        print(harmless(f"{job['signal']} sent to {count} process{'' if count == 1 else 'es'} of job {job['id']}."))

    fields = ("signal", "processes")
    return act_on_each(job_ids, lambda job_id: client.signal(job_id, number), tell, kind, fields)


def _nothing_meant(values: Values) -> int:
    """Say that there is no such job: who cancels by a condition has some in mind."""
    if values["output"] != "text":
        print_document({"jobs": []}, values["output"])
    whose = "no job" if values["user"] or values["jobs"] else "no job of yours"
    say(f"{whose} that waits or runs is meant by these conditions")
    return 1


def _check_states(wanted: list[str] | None) -> None:
    over = [state for state in wanted or () if state not in _CANCELLABLE]
    if over:
        raise UsageError(f"jobs that are {over[0]} have ended; --state takes {', '.join(_CANCELLABLE)}")


def _report_ends(client: Client, values: Values) -> int:
    """What jobs of an older gflow call at their end."""
    status = 0
    if values["finish"] is not None:
        status = each(ids.expand([values["finish"]], client), client.finish)
    if values["fail"] is not None:
        status = max(status, each(ids.expand([values["fail"]], client), client.fail))
    return status


COMMAND = Command(
    "gcancel",
    "Cancel jobs that wait or run.",
    run,
    options=(
        Option(
            "-u",
            "--user",
            "--users",
            convert=names,
            metavar="LIST",
            help="Jobs of these users (all: everybody's); without it, conditions mean yours.",
        ),
        Option(
            "-n",
            "--names",
            "--name",
            convert=wildcards,
            metavar="LIST",
            help="Jobs with these names; * and ? match, \\* is a star.",
        ),
        Option("-P", "--project", convert=not_empty, metavar="CODE", help="Jobs of this project."),
        Option(
            "-s",
            "--states",
            "--state",
            "-t",
            convert=states.parse,
            metavar="LIST",
            choices=_CANCELLABLE,
            help="Jobs in these states, e.g. PD or Queued,Hold.",
        ),
        Option("--group", convert=not_empty, metavar="GROUP", help="Jobs of this group, by its name or id."),
        Option("--reason", convert=reason, metavar="TEXT", help="Say why; gjob show has it for good."),
        Option(
            "--signal",
            convert=signal_number,
            metavar="NAME",
            help="Only send a signal to the processes of running jobs, e.g. USR1.",
        ),
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
        ("gcancel --name 'sweep-*' --state Queued --reason 'wrong data'", "yours of such names that wait, and why"),
        ("gcancel 7 --signal USR1", "a signal, and nothing else"),
        ("gcancel @", "your latest job"),
    ),
)


def main() -> None:
    start(COMMAND)
