"""gjob update: change jobs that wait, and the time limit of those that run."""

from __future__ import annotations

from gflow.cli import ids
from gflow.cli.command import Command, Option, UsageError
from gflow.cli.each import each
from gflow.cli.job.arguments import MANY, many
from gflow.cli.kinds import count, gpu_ids, gpus, memory_mb, not_empty, positive, priority, time_limit_change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.client.http import Client

    Record = dict[str, Any]

_FIELDS = {
    "name": "run_name",
    "priority": "priority",
    "gpus": "gpus",
    "gpu_ids": "gpu_indices",
    "memory_limit": "memory_limit_mb",
    "gpu_memory": "gpu_memory_limit_mb",
    "max_concurrent": "max_concurrent",
    "max_retries": "max_retries",
}
_CLEARED: dict[str, tuple[str, list[int] | None]] = {
    "clear_time_limit": ("time_limit", None),
    "clear_memory_limit": ("memory_limit_mb", None),
    "clear_gpu_memory_limit": ("gpu_memory_limit_mb", None),
    "clear_max_concurrent": ("max_concurrent", None),
    "clear_max_retries": ("max_retries", None),
    "clear_depends_on": ("depends_on_ids", []),
}


def run(values: Values) -> int:
    changed = changes(values)
    if not changed and not any(values[dest] for dest in _DEPENDENCIES):
        raise UsageError("nothing to change: say what, e.g. --priority 20")
    client, job_ids = many(values)
    changed |= _dependencies(values, client)

    def update(job_id: int) -> None:
        answer = client.update(job_id, changed)
        print(f"Job {job_id} updated successfully.")
        fields = answer.get("updated_fields") or ()
        if fields:
            print(f"  Changed: {', '.join(fields)}")

    return each("gjob update", job_ids, update)


def changes(values: Values) -> Record:
    """The fields of the PATCH request, but for dependencies; None clears."""
    changed: Record = {field: values[dest] for dest, field in _FIELDS.items() if values[dest] is not None}
    changed |= {field: value for dest, (field, value) in _CLEARED.items() if values[dest]}
    if values["time_limit"]:
        how, secs = values["time_limit"]
        changed["time_limit" if how == "set" else "time_limit_delta"] = secs
    if values["shared"] or values["exclusive"]:
        changed["gpu_sharing_mode"] = "Shared" if values["shared"] else "Exclusive"
    if values["retry_on_oom"] or values["no_retry_on_oom"]:
        changed["retry_on_oom"] = values["retry_on_oom"]
    if values["auto_cancel_on_dep_failure"] or values["no_auto_cancel_on_dep_failure"]:
        changed["auto_cancel_on_dependency_failure"] = values["auto_cancel_on_dep_failure"]
    return changed


def _dependencies(values: Values, client: Client) -> Record:
    for dest, mode in (("depends_on", "All"), ("depends_on_all", "All"), ("depends_on_any", "Any")):
        if values[dest]:
            return {"depends_on_ids": ids.expand(values[dest], client), "dependency_mode": mode}
    return {}


_DEPENDENCIES = ("depends_on", "depends_on_all", "depends_on_any")

COMMAND = Command(
    "update",
    "Change waiting jobs, or the time limit of running ones.",
    run,
    options=(
        Option("-n", "--name", convert=not_empty, metavar="NAME", help="The job's name."),
        Option("-p", "--priority", convert=priority, metavar="0-255", help="Higher runs first."),
        Option(
            "-t",
            "--time-limit",
            "--time",
            convert=time_limit_change,
            metavar="[+-]SPEC",
            help="Time limit: MM, MM:SS or HH:MM:SS; with a sign, so much more or less.",
        ),
        Option("--clear-time-limit", help="No time limit."),
        Option("-g", "--gpus", convert=gpus, metavar="N", help="GPUs to reserve, whichever they are."),
        Option("--gpu-ids", convert=gpu_ids, metavar="LIST", help="Reserve these very GPUs, e.g. 0,3 or 0-2."),
        Option("--shared", help="Share the GPUs with other jobs that do; it must say its --gpu-memory."),
        Option("--exclusive", help="Have the GPUs alone."),
        Option("-m", "--memory-limit", "--memory", convert=memory_mb, metavar="SIZE", help="Host memory needed."),
        Option("--clear-memory-limit", help="No host memory request."),
        Option(
            "--gpu-memory",
            "--max-gpu-mem",
            "--max-gpu-memory",
            convert=memory_mb,
            metavar="SIZE",
            help="Memory of each GPU: what a sharing job uses of it, or how large it must be.",
        ),
        Option("--clear-gpu-memory-limit", help="No GPU memory request."),
        Option("-d", "--depends-on", convert=ids.parse, metavar="LIST", help="Wait for these jobs."),
        Option("--depends-on-all", convert=ids.parse, metavar="LIST", help="Wait for all of these jobs."),
        Option("--depends-on-any", convert=ids.parse, metavar="LIST", help="Wait for one of these jobs."),
        Option("--clear-depends-on", help="Wait for no other job."),
        Option("--auto-cancel-on-dep-failure", help="Be cancelled when a dependency fails."),
        Option("--no-auto-cancel-on-dep-failure", help="Stay queued when a dependency fails."),
        Option("--max-concurrent", convert=positive, metavar="N", help="Jobs of its group that may run at once."),
        Option("--clear-max-concurrent", help="As many of its group at once as there is room for."),
        Option("--max-retries", convert=count, metavar="N", help="Run again up to N times when it fails."),
        Option("--retry-on-oom", help="Run again with more when GPU memory ran out."),
        Option("--no-retry-on-oom", help="Do not run again when GPU memory ran out."),
        Option("--clear-max-retries", help="Do not run again when it fails."),
    ),
    arguments=(MANY,),
    exclusive=(
        ("gpus", "gpu_ids"),
        ("shared", "exclusive"),
        ("retry_on_oom", "no_retry_on_oom"),
        ("time_limit", "clear_time_limit"),
        ("memory_limit", "clear_memory_limit"),
        ("gpu_memory", "clear_gpu_memory_limit"),
        ("depends_on", "depends_on_all", "depends_on_any", "clear_depends_on"),
        ("auto_cancel_on_dep_failure", "no_auto_cancel_on_dep_failure"),
        ("max_concurrent", "clear_max_concurrent"),
        ("max_retries", "clear_max_retries"),
    ),
    examples=(
        ("gjob update 42 --time-limit +1:00:00", "an hour more"),
        ("gjob update 42 --gpu-ids 0,3 --exclusive", "on these two GPUs, alone"),
        ("gjob update 7,10-12 --priority 20 --clear-memory-limit", "several jobs, several fields"),
    ),
)
