"""gjob redo: run ended jobs once more, as they were or with changes, and what was cancelled because they failed."""

from __future__ import annotations

from gflow.cli.command import Command, Option
from gflow.cli.fetching import fetch
from gflow.cli.job.arguments import MANY, many
from gflow.cli.job.changes import EXCLUSIVE, OPTIONS, changes, check, dependencies, notices
from gflow.cli.kinds import export, signal_name
from gflow.cli.outcomes import act_on_each
from gflow.cli.output import TEXT
from gflow.cli.render.table import harmless
from gflow.cli.request import environment, export_to
from gflow.client.errors import Declined
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gflow.cli.command import Values
    from gflow.client.http import Client

    Record = dict[str, Any]

_LENGTHY = ("environment", "script_text")
_FIELDS = ("redone_as", "name", "cascade")


def run(values: Values) -> int:
    check(values)
    changed = changes(values)
    client, job_ids = many(values)
    changed |= dependencies(values, client)
    machine = client.elsewhere()
    export_what = values["export"] if machine is None else export_to(machine, values["export"])
    jobs = fetch(client, job_ids)
    earlier = earlier_attempts(client, jobs)
    made: dict[int, Record] = {}
    told: dict[int, list[str]] = {}

    def redo(job_id: int) -> Record:
        """One that the cascade of another has made is not made again, nor is what was only tried more than once."""
        if job_id in made:
            return made[job_id]
        if job_id in earlier:
            made[job_id] = redo(earlier[job_id]) | {"id": job_id, "cascade": []}
            return made[job_id]
        wanted = changed | notices(values, client, job_id)
        alike = {"alike": job_ids} if wanted and values["cascade"] and len(job_ids) > 1 else {}
        body = wanted | alike | {name: True for name in ("cascade", "hold") if values[name]}
        variables = environment(export_what, jobs.get(job_id, {}).get("run_dir") or "/")
        answer = client.redo(job_id, body | {"environment": variables})
        along = [_made(receipt) for receipt in answer.get("cascade") or ()]
        made.update({job["id"]: job | {"cascade": []} for job in along})
        made[job_id] = _made(answer | {"redone_from": job_id}) | {"cascade": along}
        told[job_id] = report(wanted, made[job_id], cascade=values["cascade"])
        if answer.get("dropped_env"):
            say(f"left out of the environment: {', '.join(answer['dropped_env'])}")
        return made[job_id]

    def tell(job: Record) -> None:
        lines = told.get(job["id"], [])
        if values["parsable"]:
            lines = [str(new["redone_as"]) for new in (job, *job["cascade"])] if lines else []
        elif job["id"] in earlier:
            lines = [f"Job {job['id']} was a later attempt of job {earlier[job['id']]}, which is done again."]
        print("".join(f"{harmless(line)}\n" for line in lines), end="")

    return act_on_each(waited_for_first(job_ids, jobs), redo, tell, values["output"], _FIELDS)


def earlier_attempts(client: Client, jobs: Mapping[int, Record]) -> dict[int, int]:
    """For those of the jobs that are later attempts of others of them: the earliest of those, which stands for all."""
    known = dict(jobs)
    found: dict[int, int] = {}
    for job_id in jobs if len(jobs) > 1 else ():
        before = jobs[job_id].get("retried_from")
        while before is not None:
            if before in jobs:
                found[job_id] = before
            elif before not in known:
                known[before] = _record(client, before)
            before = known[before].get("retried_from")
    return found


def _record(client: Client, job_id: int) -> Record:
    try:
        return client.job(job_id)
    except Declined:
        return {}  # the history does not keep it any more


def waited_for_first(job_ids: list[int], jobs: Mapping[int, Record]) -> list[int]:
    """The ids, each behind those among them that it depends on, so that what is made of it waits for new jobs."""
    order: dict[int, None] = {}
    begun: set[int] = set()
    todo = job_ids[::-1]
    while todo:
        job_id = todo[-1]
        awaited = jobs.get(job_id, {}).get("depends_on_ids") or () if job_id not in begun else ()
        begun.add(job_id)
        before = [other for other in awaited if other in jobs and other not in begun]
        todo += before
        if not before:
            order[todo.pop()] = None
    return list(order)


def _made(receipt: Record) -> Record:
    return {"id": receipt["redone_from"], "redone_as": receipt["id"], "name": receipt["run_name"]}


def report(wanted: Record, made: Record, *, cascade: bool) -> list[str]:
    """What was changed, and the jobs that were made."""
    lines = [f"Resubmitting job {made['id']}{' with parameters:' if wanted else ' as it was.'}"]
    lines += [f"  {field}={_text(value)}" for field, value in _flat(wanted).items() if field not in _LENGTHY]
    lines.append(f"Submitted batch job {made['redone_as']} ({made['name']})")
    if cascade:
        along = made["cascade"]
        lines.append(f"Cascading to {len(along)} dependent job(s)...")
        lines += [f"  Job {job['id']} \u2192 Job {job['redone_as']} ({job['name']})" for job in along]
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
        Option("--parsable", help="Print only the new ids, one per line."),
        TEXT,
        Option(
            "--export",
            convert=export,
            metavar="ALL|NONE|LIST",
            help="Environment variables to run with (default ALL of the present ones; on another machine NONE).",
        ),
        *OPTIONS,
    ),
    arguments=(MANY,),
    exclusive=(*EXCLUSIVE, ("parsable", "output")),
    examples=(
        ("gjob redo 7", "as it was"),
        ("gjob redo @ --time-limit +1:00:00 --gpu-memory 20G", "with more of both"),
        ("gjob redo 7 --cascade", "and all that had been cancelled because 7 failed, in the same order"),
    ),
)
