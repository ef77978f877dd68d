"""What `gjob update` and `gjob redo` change of jobs: the options, and the fields they are."""

from __future__ import annotations

import os

from gflow.cli import ids
from gflow.cli.command import Failure, Option, UsageError
from gflow.cli.kinds import (
    assignment,
    begin,
    early_signal,
    email_address,
    gpu_ids,
    gpus,
    job_events,
    memory_mb,
    name,
    not_empty,
    positive,
    priority,
    project,
    retries,
    time_limit_change,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.client.http import Client

    Record = dict[str, Any]

_FIELDS = {
    "name": "run_name",
    "project": "project",
    "command": "command",
    "conda_env": "conda_env",
    "priority": "priority",
    "gpus": "gpus",
    "gpu_ids": "gpu_indices",
    "memory_limit": "memory_limit_mb",
    "gpu_memory": "gpu_memory_limit_mb",
    "cpus": "cpus",
    "max_retries": "max_retries",
    "begin": "scheduled_at",
}
_CLEARED: dict[str, tuple[str, object]] = {
    "clear_project": ("project", None),
    "clear_conda_env": ("conda_env", None),
    "clear_time_limit": ("time_limit", None),
    "clear_signal": ("early_signal", None),
    "clear_memory_limit": ("memory_limit_mb", None),
    "clear_cpus": ("cpus", None),
    "clear_gpu_memory_limit": ("gpu_memory_limit_mb", None),
    "clear_max_retries": ("max_retries", None),
    "clear_depends_on": ("depends_on_ids", []),
    "clear_params": ("parameters", None),
    "clear_begin": ("scheduled_at", None),
    "clear_notify": ("notifications", None),
}
_SWITCHES = (
    ("auto_cancel_on_dependency_failure", "auto_cancel_on_dep_failure", "no_auto_cancel_on_dep_failure"),
    ("retry_on_oom", "retry_on_oom", "no_retry_on_oom"),
    ("auto_close_tmux", "auto_close", "no_auto_close"),
    ("keep_session", "keep_session", "no_keep_session"),
)
_DEPENDENCIES = (("depends_on", "All"), ("depends_on_all", "All"), ("depends_on_any", "Any"))


def changes(values: Values) -> Record:
    """The fields of the request, but for those that only the daemon can tell; None clears. Raises Failure."""
    changed: Record = {field: values[dest] for dest, field in _FIELDS.items() if values[dest] is not None}
    changed |= {field: value for dest, (field, value) in _CLEARED.items() if values[dest]}
    changed |= {field: bool(values[on]) for field, on, off in _SWITCHES if values[on] or values[off]}
    if values["time_limit"]:
        how, secs = values["time_limit"]
        changed["time_limit" if how == "set" else "time_limit_delta"] = secs
    if values["shared"] or values["exclusive"]:
        changed["gpu_sharing_mode"] = "Shared" if values["shared"] else "Exclusive"
    if values["signal"]:
        number, secs_before = values["signal"]
        changed["early_signal"] = {"signal": number, "secs_before": secs_before}
    if values["param"]:
        changed["parameters" if values["clear_params"] else "parameter_changes"] = dict(values["param"])
    if values["chdir"]:
        changed["run_dir"] = os.path.abspath(values["chdir"])  # the daemon says whether it is there
    if values["script"]:
        from gflow.cli import work

        changed |= work.script(values["script"])
    return changed


def later(values: Values) -> bool:
    """Whether there are changes that only the daemon can tell."""
    return any(values[dest] for dest, _ in _DEPENDENCIES) or _mail(values)


def dependencies(values: Values, client: Client) -> Record:
    """The fields that say what to wait for."""
    for dest, mode in _DEPENDENCIES:
        if values[dest]:
            return {"depends_on_ids": ids.expand(values[dest], client), "dependency_mode": mode}
    return {}


def notices(values: Values, client: Client, job_id: int) -> Record:
    """Who is sent mail about this job, and about what: of what is not given, it stays as it is. Raises Failure."""
    if not _mail(values):
        return {}
    emails: list[str] | None = values["notify_email"]
    events: list[str] | None = [name for names in values["notify_on"] for name in names]
    if not emails or not events:
        before = client.job(job_id).get("notifications") or {}
        emails, events = emails or before.get("emails"), events or before.get("events")
    if not emails:
        raise Failure(f"job {job_id} sends mail to nobody: say to whom, with --notify-email")
    return {"notifications": {"emails": emails, "events": events or []}}


def check(values: Values) -> None:
    """Raise UsageError for options that cannot be meant together, and are no plain alternatives."""
    if _mail(values) and values["clear_notify"]:
        raise UsageError("--clear-notify and --notify-email or --notify-on cannot be used together")


def _mail(values: Values) -> bool:
    return bool(values["notify_email"] or values["notify_on"])


OPTIONS = (
    Option("-n", "--name", convert=name, metavar="NAME", help="The job's name."),
    Option("-P", "--project", convert=project, metavar="CODE", help="The project it is for."),
    Option("--clear-project", help="No project."),
    Option("-c", "--command", convert=not_empty, metavar="LINE", help="What to run: a line for the shell."),
    Option("-s", "--script", convert=not_empty, metavar="PATH", help="What to run: a script, as it is now."),
    Option("--chdir", convert=not_empty, metavar="DIR", help="Run in this directory."),
    Option("--param", convert=assignment, metavar="NAME=VALUE", multiple=True, default=(), help="Set a parameter."),
    Option("--clear-params", help="No parameters but those given along."),
    Option("-e", "--conda-env", convert=not_empty, metavar="NAME", help="Activate this conda environment first."),
    Option("--clear-conda-env", help="No conda environment."),
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
    Option("--signal", convert=early_signal, metavar="NAME@SECS", help="Send a signal that long before the limit."),
    Option("--clear-signal", help="No signal before the time limit."),
    Option("-g", "--gpus", convert=gpus, metavar="N", help="GPUs to reserve, whichever they are."),
    Option(
        "--gpu-ids",
        convert=gpu_ids,
        metavar="LIST",
        once="write one list, as 0,3",
        help="Reserve these very GPUs, e.g. 0,3 or 0-2.",
    ),
    Option("--shared", help="Share the GPUs with other jobs that do; it must say its --gpu-memory."),
    Option("--exclusive", help="Have the GPUs alone."),
    Option("-m", "--memory-limit", "--memory", convert=memory_mb, metavar="SIZE", help="Host memory it may use."),
    Option("--clear-memory-limit", help="No host memory request."),
    Option("--cpus", "--cpus-per-task", convert=positive, metavar="N", help="CPUs the job may use."),
    Option("--clear-cpus", help="Any of the CPUs."),
    Option(
        "--gpu-memory",
        "--max-gpu-mem",
        "--max-gpu-memory",
        convert=memory_mb,
        metavar="SIZE",
        help="Memory of each GPU: what a sharing job uses of it, or how large it must be.",
    ),
    Option("--clear-gpu-memory-limit", help="No GPU memory request."),
    Option(
        "-d", "--depends-on", convert=ids.parse, metavar="LIST", once="write one list A,B", help="Wait for these jobs."
    ),
    Option(
        "--depends-on-all",
        convert=ids.parse,
        metavar="LIST",
        once="write one list A,B",
        help="Wait for all of these jobs.",
    ),
    Option(
        "--depends-on-any",
        convert=ids.parse,
        metavar="LIST",
        once="write one list A,B",
        help="Wait for one of these jobs.",
    ),
    Option("--clear-depends-on", "--clear-deps", help="Wait for no other job."),
    Option("--auto-cancel-on-dep-failure", help="Be cancelled when a dependency fails."),
    Option("--no-auto-cancel-on-dep-failure", help="Stay queued when a dependency fails."),
    Option("--begin", convert=begin, metavar="TIME", help="Not before: now+2h, +30 (minutes), HH:MM or a date."),
    Option("--clear-begin", help="As soon as its turn comes."),
    Option("--max-retries", convert=retries, metavar="N", help="Run again up to N times when it fails."),
    Option("--clear-max-retries", help="Do not run again when it fails."),
    Option("--retry-on-oom", help="Run again with more when GPU memory ran out."),
    Option("--no-retry-on-oom", help="Do not run again when GPU memory ran out."),
    Option(
        "--notify-email",
        convert=email_address,
        metavar="ADDR",
        multiple=True,
        default=(),
        help="Send mail about the job to this address, and to others so named.",
    ),
    Option(
        "--notify-on",
        convert=job_events,
        metavar="EVENTS",
        multiple=True,
        default=(),
        help="What the mail is about, e.g. job_started,job_failed.",
    ),
    Option("--clear-notify", help="No mail about the job."),
    Option("--auto-close", help="Close the job's terminal when it succeeds."),
    Option("--no-auto-close", help="Leave that to the rest of the settings."),
    Option("--keep-session", help="Keep the job's terminal after its end."),
    Option("--no-keep-session", help="Close the job's terminal at its end."),
)

EXCLUSIVE = (
    ("command", "script"),
    ("project", "clear_project"),
    ("conda_env", "clear_conda_env"),
    ("gpus", "gpu_ids"),
    ("shared", "exclusive"),
    ("retry_on_oom", "no_retry_on_oom"),
    ("time_limit", "clear_time_limit"),
    ("signal", "clear_signal"),
    ("memory_limit", "clear_memory_limit"),
    ("gpu_memory", "clear_gpu_memory_limit"),
    ("cpus", "clear_cpus"),
    ("depends_on", "depends_on_all", "depends_on_any", "clear_depends_on"),
    ("auto_cancel_on_dep_failure", "no_auto_cancel_on_dep_failure"),
    ("begin", "clear_begin"),
    ("max_retries", "clear_max_retries"),
    ("auto_close", "no_auto_close"),
    ("keep_session", "no_keep_session"),
)
