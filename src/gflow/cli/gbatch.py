"""gbatch: submit a command, a script, or an array or a sweep of either."""

from __future__ import annotations

from gflow.cli import directives, program, request, strays, submitted, sweep, work
from gflow.cli.command import Argument, Command, Failure, UsageError
from gflow.cli.entry import start
from gflow.cli.gbatch_options import DIRECTIVES, EXCLUSIVE, SUBMISSION
from gflow.client.endpoint import find
from gflow.client.errors import Declined
from gflow.client.http import Client
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]

_ADDED = ("notify_email", "param")
"""Lists that the command line adds to, instead of replacing them."""


def run(values: Values) -> int:
    found = work.find(values["command"], values["wrap"])
    sweep.check_once(values["param"] or (), "--param")
    if values["sbatch"] and found.text is None:
        raise UsageError("--sbatch goes by the #SBATCH lines of a script, and this is none; give the script's path")
    client = Client(find(values["url"], values["config"]))
    machine = client.elsewhere(ask=not values["dry_run"])
    if found.text is not None:
        values = _with_script(values, found.text, found.origin)
    if machine is not None:
        values = values | {"export": request.export_to(machine, values["export"])}
    elif found.text is None and values["export"] in (None, "ALL") and values["conda_env"] is None:
        from gflow.cli.conda import active

        values = values | {"conda_env": active()}
    request.check(values)
    is_named = "argv" in found.fields and machine is None  # what there is elsewhere nobody here knows
    about_program = program.check(found.fields["argv"][0], values) if is_named else None
    for remark in [*request.remarks(values), *filter(None, [about_program])]:
        say(f"{remark}")
    job, jobs = request.build(values, found.fields, here=machine is None), sweep.members(values)
    for remark in [*sweep.remarks(jobs[0], found.fields), *sweep.name_remarks(jobs[0], values["name"])]:
        say(f"{remark}")
    if values["dry_run"]:
        if values["output"] == "text":
            submitted.preview(job, jobs, found.origin, array=bool(values["array"]))
        else:
            submitted.data([submitted.NOTHING] * len(jobs), job, jobs, values["output"])
        return 0
    job |= request.dependencies(values, client)
    answers = _sent(client, job, jobs, machine, dry=values["test_only"])
    if values["test_only"]:
        if values["output"] == "text":
            submitted.tested(answers, job)
        else:
            submitted.data(answers, job, jobs, values["output"])
        return 0
    submitted.report(answers, job, jobs, values)
    if not values["wait"]:
        return 0
    from gflow.cli.waiting import wait_for_all

    tell = not values["parsable"] and values["output"] == "text"
    return wait_for_all(client, [answer["id"] for answer in answers], tell=tell)


def _with_script(values: Values, text: str, origin: str) -> Values:
    """`values`, and below them what the script says: its `# GFLOW` lines before its `#SBATCH` lines.

    `places` says of what the script has set where it did, for complaints about it.
    """
    places: directives.Places = {}
    merged = _merged(values, text, origin, places)
    ours = {dest: where for dest, where in places.items() if values[dest] in (None, False)}
    return merged | {request.PLACES: ours}


def _merged(values: Values, text: str, origin: str, places: directives.Places) -> Values:
    said = directives.read(text, origin, DIRECTIVES, EXCLUSIVE, places)
    for remark in strays.remarks(text, DIRECTIVES):
        say(f"{origin}:{remark}")
    sweep.check_once(said.get("param", ()), f"{origin}: {directives.MARK}")
    for remark in directives.replaced(values, said, EXCLUSIVE):
        say(f"{origin}: {remark}")
    values = directives.merge(values, said, EXCLUSIVE, _ADDED)
    if "#SBATCH" not in text:
        if values["sbatch"]:
            say(f"{origin} has no #SBATCH lines")
        return values
    from gflow.cli import sbatch

    if values["sbatch"]:
        also, remarks = sbatch.read(text, origin, DIRECTIVES, places)
        for remark in remarks:
            say(f"{remark}")
        for name in sbatch.variables(text):
            say(f"{origin} uses {name}; a job has {sbatch.VARIABLES[name]} here")
        return directives.merge(values, also, EXCLUSIVE)
    known = [] if said else sbatch.understood(text)
    if known:
        say(f"{origin} has #SBATCH {', '.join(known)}; with --sbatch gflow goes by that")
    return values


def _sent(client: Client, job: Record, jobs: list[Record], machine: str | None, *, dry: bool) -> list[Record]:
    """What came of it; `machine` is the name of the daemon's, if that is another one."""
    try:
        return client.submit_batch(job, jobs, dry_run=True) if dry else _submit(client, job, jobs)
    except Declined as error:
        if machine is None or "working directory" not in str(error):
            raise
        raise Failure(f"{error} on {machine}; --chdir DIR names one that is there") from error


def _submit(client: Client, job: Record, jobs: list[Record]) -> list[Record]:
    key = request.new_key()
    if len(jobs) == 1 and "task_id" not in jobs[0]:
        return [client.submit(job | jobs[0] | {"submit_key": key})]
    return client.submit_batch(job, [{**each, "submit_key": f"{key}-{number}"} for number, each in enumerate(jobs)])


COMMAND = Command(
    "gbatch",
    "Submit a command or a script. 'gbatch new NAME' writes a script to start from.",
    run,
    options=DIRECTIVES + SUBMISSION,
    arguments=(Argument("command", "SCRIPT|COMMAND", str, required=False, variadic=True),),
    exclusive=(*EXCLUSIVE, ("parsable", "output")),
    stop_at_argument=True,
    words={"new": ("gflow.cli.gbatch_new", "Write a script to start from.")},
    examples=(
        ("gbatch --gpus 1 --time 2:00:00 python train.py --epochs 100", "a program and its arguments, as typed"),
        (
            "gbatch --gpu-ids 0,3 --retry-on-oom python train.py",
            "on these two GPUs; again with more memory if it ran out",
        ),
        ("gbatch --gpus 1 --shared --gpu-memory 6G python serve.py", "beside other jobs that share, on 6G of a GPU"),
        ("gbatch --gpus 1 --gpu-memory 40G python train.py", "alone, on a GPU with 40G or more"),
        ("gbatch 'sort data.txt | uniq -c > counts.txt'", "one quoted word is a line for the shell"),
        ("gbatch train.sh fold-3", "a script with an argument; its # GFLOW lines are options"),
        ("gbatch --array 1-10%3 python fold.py '$GFLOW_ARRAY_TASK_ID'", "ten jobs, three at a time"),
        ("gbatch --param lr=0.1,0.01 --param seed=1:3 python train.py --lr {lr} --seed {seed}", "all six combinations"),
        (
            "gbatch --group lr --key run --param lr=0.1,0.01 --hold-after-failures 3 python train.py --lr {lr}",
            "run again, it submits only what is missing or failed",
        ),
        ("gbatch --depends-on @ --wait python evaluate.py", "after your latest job; wait and exit as it does"),
        ("gbatch --sbatch job.sh", "a script written for Slurm"),
        ("gbatch -o json --array 1-3 python fold.py", "the ids as data, for programs"),
    ),
)


def main() -> None:
    start(COMMAND)
