"""gbatch: submit a command, a script, or an array or a sweep of either."""

from __future__ import annotations

import sys

from gflow.cli import directives, ids, request, sweep, work
from gflow.cli.command import Argument, Command, Failure
from gflow.cli.entry import start
from gflow.cli.gbatch_options import DIRECTIVES, EXCLUSIVE, SUBMISSION
from gflow.cli.render.words import what_runs
from gflow.client.endpoint import find
from gflow.client.errors import Declined
from gflow.client.http import Client
from gflow.core.gpu_list import format_gpu_list

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
    client = Client(find(values["url"], values["config"]))
    machine = client.elsewhere(ask=not values["dry_run"])
    if found.text is not None:
        values = _with_script(values, found.text, found.origin)
    if machine is not None:
        values = values | {"export": request.export_to(machine, values["export"], "gbatch")}
    elif found.text is None and values["export"] in (None, "ALL") and values["conda_env"] is None:
        from gflow.cli.conda import active

        values = values | {"conda_env": active()}
    request.check(values)
    for remark in request.remarks(values):
        print(f"gbatch: {remark}", file=sys.stderr)
    job, jobs = request.build(values, found.fields, here=machine is None), sweep.members(values)
    if values["dry_run"]:
        return _preview(job, jobs, found.origin, array=bool(values["array"]))
    job |= request.dependencies(values, client)
    try:
        if values["test_only"]:
            return _test(client, job, jobs)
        answers = _submit(client, job, jobs)
    except Declined as error:
        if machine is None or "working directory" not in str(error):
            raise
        raise Failure(f"{error} on {machine}; --chdir DIR names one that is there") from error
    _report(answers, job, values)
    if not values["wait"]:
        return 0
    from gflow.cli.waiting import wait_for_all

    sys.stdout.flush()
    return wait_for_all(client, [answer["id"] for answer in answers], tell=not values["parsable"])


def _with_script(values: Values, text: str, origin: str) -> Values:
    """`values`, and below them what the script says: its `# GFLOW` lines before its `#SBATCH` lines."""
    said = directives.read(text, origin, DIRECTIVES, EXCLUSIVE)
    sweep.check_once(said.get("param", ()), f"{origin}: {directives.MARK}")
    values = directives.merge(values, said, EXCLUSIVE, _ADDED)
    if "#SBATCH" not in text:
        return values
    from gflow.cli import sbatch

    if values["sbatch"]:
        also, ignored = sbatch.read(text, origin, DIRECTIVES)
        if ignored:
            print(f"gbatch: {origin}: gflow has nothing like #SBATCH {', '.join(ignored)}", file=sys.stderr)
        for name in sbatch.variables(text):
            print(f"gbatch: {origin} uses {name}; a job has {sbatch.VARIABLES[name]} here", file=sys.stderr)
        return directives.merge(values, also, EXCLUSIVE)
    known = [] if said else sbatch.understood(text)
    if known:
        print(f"gbatch: {origin} has #SBATCH {', '.join(known)}; with --sbatch gflow goes by that", file=sys.stderr)
    return values


def _submit(client: Client, job: Record, jobs: list[Record]) -> list[Record]:
    key = request.new_key()
    if len(jobs) == 1 and "task_id" not in jobs[0]:
        return [client.submit(job | jobs[0] | {"submit_key": key})]
    return client.submit_batch(job, [{**each, "submit_key": f"{key}-{number}"} for number, each in enumerate(jobs)])


def _test(client: Client, job: Record, jobs: list[Record]) -> int:
    """Have the daemon look at everything, and queue nothing."""
    answers = client.submit_batch(job, jobs, dry_run=True)
    new = sum("already" not in answer for answer in answers)
    print(f"Accepted: {_jobs(new)} would be queued{_there_already(len(answers) - new)}")
    return 0


def _there_already(number: int) -> str:
    return f"; {number} {'is' if number == 1 else 'are'} there already" if number else ""


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _report(answers: list[Record], job: Record, values: Values) -> None:
    dropped = sorted({name for answer in answers for name in answer.get("dropped_env") or ()})
    if dropped:
        print(f"gbatch: left out of the job's environment: {', '.join(dropped)}", file=sys.stderr)
    for warning in sorted({answer["warning"] for answer in answers if answer.get("warning")}):
        print(f"gbatch: warning: {warning}", file=sys.stderr)
    _warn_held(answers)
    if values["parsable"]:
        print("\n".join(str(answer["id"]) for answer in answers))
        return
    if len(answers) > 1:
        _head(answers, job)
    for answer in answers:
        what, state = ("Kept", f": {answer['already']}") if "already" in answer else ("Submitted", "")
        print(f"{what} batch job {answer['id']} ({answer['run_name']}){state}")


def _head(answers: list[Record], job: Record) -> None:
    """A line about all jobs of a group, and how to change its limit."""
    new = [answer for answer in answers if "already" not in answer]
    rest = _there_already(len(answers) - len(new))
    if "group" in job:
        print(f"Submitted {len(new)} batch jobs to group {job['group']}{rest}")
    elif "group_id" in job:
        print(f"Submitted {len(answers)} batch jobs with group_id: {job['group_id']}")
    if "max_concurrent" in job:
        print(f"  (You can update the limit with: gctl set-limit {answers[0]['id']} <N>)")


def _warn_held(answers: list[Record]) -> None:
    held = sorted(answer["id"] for answer in answers if "held" in answer)
    if held:
        why = next(answer["held"] for answer in answers if "held" in answer)
        listed = ids.show(ids.compact(held))
        be = "job {} is" if len(held) == 1 else "jobs {} are"
        print(f"gbatch: {be.format(listed)} on hold: {why}; gjob release {listed}", file=sys.stderr)


def _preview(job: Record, jobs: list[Record], origin: str, *, array: bool) -> int:
    line = origin if origin == work.STDIN else what_runs(job)
    about = f"GPUs: {job.get('gpus', 0)}"
    if "gpu_indices" in job:
        about += f", indices: {format_gpu_list(job['gpu_indices'])}"
    one = not array and "parameters" not in jobs[0]
    print("Would submit 1 batch job:" if one else f"Would submit {len(jobs)} {'array' if array else 'batch'} job(s):")
    for number, each in enumerate(jobs, 1):
        print(f"  [{number}] {line} ({', '.join([about, *_own(each)])})")
    return 0


def _own(each: Record) -> list[str]:
    """What tells this job from the others."""
    facts = [f"task_id: {each['task_id']}"] if "task_id" in each else []
    facts += [f"{name}={value}" for name, value in each.get("parameters", {}).items()]
    return facts + [f"{word}: {each[field]}" for field, word in (("run_name", "name"), ("key", "key")) if field in each]


COMMAND = Command(
    "gbatch",
    "Submit a command or a script. 'gbatch new NAME' writes a script to start from.",
    run,
    options=DIRECTIVES + SUBMISSION,
    arguments=(Argument("command", "SCRIPT|COMMAND", str, required=False, variadic=True),),
    exclusive=EXCLUSIVE,
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
    ),
)


def main() -> None:
    start(COMMAND)
