"""gjob close-sessions: close terminals that ended jobs have left open."""

from __future__ import annotations

from gflow.cli import ids, states
from gflow.cli.command import Argument, Command, Option, UsageError
from gflow.cli.job.arguments import many
from gflow.cli.kinds import wildcard, wildcards
from gflow.cli.matching import matches
from gflow.cli.outcomes import act_on_each
from gflow.cli.output import TEXT
from gflow.cli.render.table import harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.client.http import Client

    Record = dict[str, Any]


def run(values: Values) -> int:
    filtered = values["states"] or values["pattern"] or values["names"]
    values = {**values, "jobs": [*values["jobs"], *values["job_ids"]]}
    if not (values["all"] or filtered or values["jobs"]):
        raise UsageError("say which: job ids, --names, --pattern, --states, or --all for all ended jobs")
    if values["dry_run"] and values["output"] != "text":
        raise UsageError("--dry-run prints names of sessions, one a line: it does not go with --output")
    client, job_ids = many(values)
    there = {job["id"]: job for job in client.terminals()}
    wanted = job_ids if values["jobs"] else list(there)
    chosen = [job_id for job_id in wanted if job_id not in there or _meant(there[job_id], values)]
    if values["jobs"] and filtered:
        chosen = [job_id for job_id in chosen if job_id in there]
    if not values["jobs"]:
        chosen = [job_id for job_id in chosen if there[job_id]["state"] in states.FINAL]
    if values["dry_run"]:
        print("".join(f"{harmless(there[job_id]['session'])}\n" for job_id in chosen if job_id in there), end="")
        return 0
    return _close(client, chosen, values["output"])


def _meant(job: Record, values: Values) -> bool:
    """Whether all the conditions hold."""
    of_state = not values["states"] or job["state"] in values["states"]
    named = not values["names"] or matches(job["name"], values["names"])
    return bool(of_state and named and (not values["pattern"] or _like(job, values["pattern"])))


def _like(job: Record, pattern: str) -> bool:
    """Whether a pattern, or else a part, is of the job's name or of its session's."""
    texts = (job["name"], job["session"])
    return any(pattern in text for text in texts) or any(matches(text, [pattern]) for text in texts)


def _close(client: Client, job_ids: list[int], kind: str) -> int:
    """The names of the sessions, and at the end how many."""
    closed = already = 0

    def tell(job: Record) -> None:
        nonlocal closed, already
        if job["closed"]:
            print(harmless(job["session"]))
            closed += 1
        else:
            already += 1

    status = act_on_each(job_ids, client.close_terminal, tell, kind, ("session", "closed"))
    if kind == "text":
        failed = len(job_ids) - closed - already
        print(f"gjob close-sessions: Closed={closed} AlreadyClosed={already} Failed={failed}")
    return status


COMMAND = Command(
    "close-sessions",
    "Close the terminals that ended jobs have left open.",
    run,
    options=(
        Option(
            "-j",
            "--job-ids",
            "--jobs",
            convert=ids.parse,
            metavar="IDS",
            multiple=True,
            default=(),
            help="Of these jobs.",
        ),
        Option(
            "-n",
            "--names",
            "--name",
            convert=wildcards,
            metavar="LIST",
            help="Of jobs with these names; * and ? match.",
        ),
        Option(
            "-p",
            "--pattern",
            convert=wildcard,
            metavar="TEXT",
            help="Whose name, or session's name, has or matches this.",
        ),
        Option("-s", "--states", "--state", convert=states.parse, metavar="LIST", help="Of jobs that ended so."),
        Option("-a", "--all", help="Of all jobs that have ended."),
        Option("--dry-run", help="Only show which."),
        TEXT,
    ),
    arguments=(Argument("jobs", "IDS", ids.parse, required=False, variadic=True),),
    examples=(
        ("gjob close-sessions 7,10-12", "of these jobs"),
        ("gjob close-sessions -p 'train-*' -s Finished", "of jobs of such a name that have finished"),
        ("gjob close-sessions --all", "of all that have ended"),
    ),
)
