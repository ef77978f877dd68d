"""gjob update: change jobs that wait, and the time limit of those that run."""

from __future__ import annotations

from gflow.cli.command import Command, Option, UsageError
from gflow.cli.job.arguments import MANY, many
from gflow.cli.job.changes import EXCLUSIVE, OPTIONS, changes, check, dependencies, later, notices
from gflow.cli.kinds import positive
from gflow.cli.outcomes import act_on_each
from gflow.cli.output import TEXT
from gflow.cli.render.table import harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]


def run(values: Values) -> int:
    check(values)
    changed = changes(values) | _of_group(values)
    if not changed and not later(values):
        raise UsageError("nothing to change: say what, e.g. --priority 20")
    client, job_ids = many(values)
    changed |= dependencies(values, client)

    def update(job_id: int) -> Record:
        answer = client.update(job_id, changed | notices(values, client, job_id))
        return {"changed": list(answer.get("updated_fields") or ())}

    return act_on_each(job_ids, update, _tell, values["output"], ("changed",))


def _tell(job: Record) -> None:
    print(f"Job {job['id']} updated successfully.")
    if job["changed"]:
        print(harmless(f"  Changed: {', '.join(job['changed'])}"))


def _of_group(values: Values) -> Record:
    if values["clear_max_concurrent"]:
        return {"max_concurrent": None}
    return {} if values["max_concurrent"] is None else {"max_concurrent": values["max_concurrent"]}


COMMAND = Command(
    "update",
    "Change waiting jobs, or the time limit of running ones.",
    run,
    options=(
        *OPTIONS,
        Option("--max-concurrent", convert=positive, metavar="N", help="Jobs of its group that may run at once."),
        Option("--clear-max-concurrent", help="As many of its group at once as there is room for."),
        TEXT,
    ),
    arguments=(MANY,),
    exclusive=(*EXCLUSIVE, ("max_concurrent", "clear_max_concurrent")),
    examples=(
        ("gjob update 42 --time-limit +1:00:00", "an hour more"),
        ("gjob update 42 --gpu-ids 0,3 --exclusive", "on these two GPUs, alone"),
        ("gjob update 7,10-12 --priority 20 --clear-memory-limit", "several jobs, several fields"),
        ("gjob update @ --param lr=0.01 --notify-email me@example.org", "another parameter, and mail about the end"),
    ),
)
