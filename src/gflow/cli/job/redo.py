"""gjob redo: run ended jobs once more, as they were or with changes, and what was cancelled because they failed."""

from __future__ import annotations

from gflow.cli.command import Command, Option
from gflow.cli.each import each
from gflow.cli.job.arguments import MANY, many
from gflow.cli.job.changes import EXCLUSIVE, OPTIONS, changes, check, dependencies, notices
from gflow.cli.kinds import export, signal_name
from gflow.cli.request import environment, export_to
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]

_LENGTHY = ("environment", "script_text")


def run(values: Values) -> int:
    check(values)
    changed = changes(values)
    client, job_ids = many(values)
    changed |= dependencies(values, client)
    flags = {name: True for name in ("cascade", "hold") if values[name]}
    machine = client.elsewhere()
    export_what = values["export"] if machine is None else export_to(machine, values["export"])

    def redo(job_id: int) -> None:
        variables = environment(export_what, client.job(job_id).get("run_dir") or "/")
        wanted = changed | notices(values, client, job_id)
        answer = client.redo(job_id, wanted | flags | {"environment": variables})
        print("\n".join(report(job_id, wanted, answer, cascade=values["cascade"])))
        if answer.get("dropped_env"):
            say(f"left out of the environment: {', '.join(answer['dropped_env'])}")

    return each(job_ids, redo)


def report(job_id: int, wanted: Record, answer: Record, *, cascade: bool) -> list[str]:
    """What was changed, and the jobs that were made."""
    lines = [f"Resubmitting job {job_id}{' with parameters:' if wanted else ' as it was.'}"]
    lines += [f"  {field}={_text(value)}" for field, value in _flat(wanted).items() if field not in _LENGTHY]
    lines.append(f"Submitted batch job {answer['id']} ({answer['run_name']})")
    if cascade:
        along = answer.get("cascade") or ()
        lines.append(f"Cascading to {len(along)} dependent job(s)...")
        lines += [f"  Job {job['redone_from']} \u2192 Job {job['id']} ({job['run_name']})" for job in along]
    return lines


def _flat(wanted: Record) -> Record:
    """The fields as a user knows them: each parameter by itself, the time and the signal of the early one in words."""
    found = dict(wanted)
    for field in ("parameter_changes", "parameters"):
        parameters = found.pop(field, None)
        found |= {f"param {name}": value for name, value in (parameters or {}).items()}
        if field == "parameters" and field in wanted and not parameters:
            found[field] = None
    early = found.get("early_signal")
    if early:
        found["early_signal"] = f"{signal_name(early['signal'])}@{early['secs_before']:g}"
    mail = found.pop("notifications", None) if found.get("notifications") else None
    return found | ({f"notify_{name}": value for name, value in mail.items()} if mail else {})


def _text(value: object) -> str:
    if value is None or value == []:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


COMMAND = Command(
    "redo",
    "Run ended jobs once more, under new ids.",
    run,
    options=(
        Option("--cascade", help="Also the jobs that were cancelled because it had failed."),
        Option("--hold", help="Queue it on hold; gjob release lets it go."),
        Option(
            "--export",
            convert=export,
            metavar="ALL|NONE|LIST",
            help="Environment variables to run with (default ALL of the present ones; on another machine NONE).",
        ),
        *OPTIONS,
    ),
    arguments=(MANY,),
    exclusive=EXCLUSIVE,
    examples=(
        ("gjob redo 7", "as it was"),
        ("gjob redo @ --time-limit +1:00:00 --gpu-memory 20G", "with more of both"),
        ("gjob redo 7 --cascade", "and all that had been cancelled because 7 failed, in the same order"),
    ),
)
