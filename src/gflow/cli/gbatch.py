"""gbatch: submit a command, a script, or an array of either."""

from __future__ import annotations

import sys

from gflow.cli import directives, ids, request, work
from gflow.cli.command import Argument, Command, Option
from gflow.cli.entry import start
from gflow.cli.kinds import (
    array,
    begin,
    count,
    early_signal,
    export,
    gpu_ids,
    gpus,
    memory_mb,
    not_empty,
    positive,
    priority,
    time_limit,
    trimmed,
)
from gflow.cli.render.words import what_runs
from gflow.client.endpoint import find
from gflow.client.http import Client
from gflow.core.gpu_list import format_gpu_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]


def run(values: Values) -> int:
    found = work.find(values["command"])
    if found.text is not None:
        said = directives.read(found.text, found.origin, DIRECTIVES, EXCLUSIVE)
        values = directives.merge(values, said, EXCLUSIVE)
    request.check(values)
    for remark in request.remarks(values):
        print(f"gbatch: {remark}", file=sys.stderr)
    job = request.build(values, found.fields)
    if values["dry_run"]:
        return _preview(job, values["array"], found.origin)
    client = Client(find(values["url"], values["config"]))
    job |= request.dependencies(values, client)
    answers = _submit(client, job, values["array"])
    _report(answers, job, values)
    if not values["wait"]:
        return 0
    from gflow.cli.waiting import wait_for_all

    sys.stdout.flush()
    return wait_for_all(client, [answer["id"] for answer in answers], tell=not values["parsable"])


def _submit(client: Client, job: Record, indices: tuple[int, int] | None) -> list[Record]:
    key = request.new_key()
    if indices is None:
        return [client.submit(job | {"submit_key": key})]
    tasks = range(indices[0], indices[1] + 1)
    return client.submit_batch(job, [{"task_id": task, "submit_key": f"{key}-{task}"} for task in tasks])


def _report(answers: list[Record], job: Record, values: Values) -> None:
    dropped = sorted({name for answer in answers for name in answer.get("dropped_env") or ()})
    if dropped:
        print(f"gbatch: left out of the job's environment: {', '.join(dropped)}", file=sys.stderr)
    if values["parsable"]:
        print("\n".join(str(answer["id"]) for answer in answers))
        return
    if values["array"] and "group_id" in job:
        print(f"Submitted {len(answers)} batch jobs with group_id: {job['group_id']}")
        print(f"  (You can update the limit with: gctl set-limit {answers[0]['id']} <N>)")
    for answer in answers:
        print(f"Submitted batch job {answer['id']} ({answer['run_name']})")


def _preview(job: Record, indices: tuple[int, int] | None, origin: str) -> int:
    line = origin if origin == work.STDIN else what_runs(job)
    about = f"GPUs: {job.get('gpus', 0)}"
    if "gpu_indices" in job:
        about += f", indices: {format_gpu_list(job['gpu_indices'])}"
    if indices is None:
        print(f"Would submit 1 batch job:\n  [1] {line} ({about})")
        return 0
    tasks = range(indices[0], indices[1] + 1)
    print(f"Would submit {len(tasks)} array job(s):")
    for number, task in enumerate(tasks, 1):
        print(f"  [{number}] {line} ({about}, task_id: {task})")
    return 0


_JOB_OPTIONS: tuple[Option, ...] = (
    Option(
        "-g", "--gpus", "--gres", convert=gpus, metavar="N", help="GPUs to reserve (default 0); gpu:N is understood."
    ),
    Option(
        "--gpu-ids",
        convert=gpu_ids,
        metavar="LIST",
        help="Reserve these very GPUs, e.g. 0,3 or 0-2 (ginfo shows them); instead of --gpus.",
    ),
    Option("--shared", help="Share the GPUs with other jobs that do; needs --gpu-memory."),
    Option(
        "--gpu-memory",
        "--max-gpu-mem",
        "--max-gpu-memory",
        convert=memory_mb,
        metavar="SIZE",
        help="Memory of each GPU, e.g. 20G: with --shared, what the job uses of it; else only GPUs that large will do.",
    ),
    Option(
        "--retry-on-oom",
        help="When the job fails because GPU memory ran out, run it again with 1.25 times as much, up to 5 times.",
    ),
    Option(
        "-m",
        "--memory",
        "--max-mem",
        "--max-memory",
        convert=memory_mb,
        metavar="SIZE",
        help="Host memory needed, e.g. 16G; a bare number is MB.",
    ),
    Option(
        "-t",
        "--time",
        "--time-limit",
        "--timelimit",
        convert=time_limit,
        metavar="SPEC",
        help="Time limit: MM (minutes), MM:SS or HH:MM:SS.",
    ),
    Option(
        "--signal",
        convert=early_signal,
        metavar="NAME@SECS",
        help="Send a signal that long before the time limit, e.g. USR1@120.",
    ),
    Option("-p", "--priority", "--nice", convert=priority, metavar="0-255", help="Higher runs first (default 10)."),
    Option(
        "-d",
        "--depends-on",
        "--dependency",
        convert=ids.parse_one,
        metavar="ID|@|@~N",
        help="Wait until this job has finished; @ is your latest job.",
    ),
    Option("--depends-on-all", convert=ids.parse, metavar="LIST", help="Wait until all of these have finished."),
    Option("--depends-on-any", convert=ids.parse, metavar="LIST", help="Wait until one of these has finished."),
    Option("--no-auto-cancel", help="Stay queued when a dependency fails (default: be cancelled)."),
    Option(
        "--array", convert=array, metavar="A-B", help="One job per index, A to B; GFLOW_ARRAY_TASK_ID tells it which."
    ),
    Option("--max-concurrent", convert=positive, metavar="N", help="Run at most N jobs of this submission at once."),
    Option("--max-retries", convert=count, metavar="N", help="Run the job again, up to N times, when it fails."),
    Option(
        "--begin", convert=begin, metavar="TIME", help="Not before: now+2h, +30 (minutes), HH:MM, YYYY-MM-DD[THH:MM]."
    ),
    Option("--hold", help="Queue the job on hold; gjob release lets it go."),
    Option(
        "-n",
        "-J",
        "--name",
        "--job-name",
        convert=not_empty,
        metavar="NAME",
        help="The job's name (default: a made-up one).",
    ),
    Option("-P", "--project", convert=trimmed, metavar="CODE", help="The project it is for."),
    Option("-c", "--conda-env", convert=not_empty, metavar="NAME", help="Activate this conda environment first."),
    Option(
        "--export",
        convert=export,
        metavar="ALL|NONE|LIST",
        help="Environment variables to run with (default ALL of the present ones).",
    ),
    Option("--chdir", convert=not_empty, metavar="DIR", help="Run in this directory (default: the present one)."),
    Option("--auto-close", help="Close the job's terminal when it succeeds."),
    Option("--keep-session", help="Keep the job's terminal after its end."),
)

_SUBMISSION_OPTIONS: tuple[Option, ...] = (
    Option("--dry-run", help="Only show what would be submitted."),
    Option("--wait", help="Wait for the end; exit with the job's exit code (the largest of several)."),
    Option("--parsable", help="Print only the job id, one per line."),
)

DIRECTIVES = _JOB_OPTIONS
"""What a script may set with `# GFLOW`."""

EXCLUSIVE = (("gpus", "gpu_ids"), ("depends_on", "depends_on_all", "depends_on_any"), ("auto_close", "keep_session"))

COMMAND = Command(
    "gbatch",
    "Submit a command or a script. 'gbatch new NAME' writes a script to start from.",
    run,
    options=_JOB_OPTIONS + _SUBMISSION_OPTIONS,
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
        ("gbatch --array 1-10 --max-concurrent 3 python fold.py '$GFLOW_ARRAY_TASK_ID'", "ten jobs, three at a time"),
        ("gbatch --depends-on @ --wait python evaluate.py", "after your latest job; wait and exit as it does"),
    ),
)


def main() -> None:
    start(COMMAND)
