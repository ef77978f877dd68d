"""gjob show: all there is to know about jobs."""

from __future__ import annotations

import time

from gflow.cli.command import Command
from gflow.cli.fetching import fetch, progress_of, tell_missing
from gflow.cli.job.arguments import MANY, many
from gflow.cli.job.gpu_fields import asked, memory, used
from gflow.cli.kinds import signal_name
from gflow.cli.output import TEXT, print_document
from gflow.cli.render.table import harmless
from gflow.cli.render.times import seconds, stamp
from gflow.cli.render.words import what_runs
from gflow.cli.states import STATES
from gflow.core.limits import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]
    Field = tuple[str, object]


_HIDDEN = "(not shown: the job is somebody else's, and access.visibility is own)"


def run(values: Values) -> int:
    client, job_ids = many(values)
    jobs = fetch(client, job_ids)
    told, now = progress_of(client, jobs.values()), time.time()
    if values["output"] != "text":
        from gflow.cli.entries import detailed

        found = [detailed(job, now, told.get(job_id)) for job_id, job in jobs.items()]
        print_document({"jobs": found}, values["output"])
    else:
        texts = ("\n".join(describe(job, now, told.get(job_id))) for job_id, job in jobs.items())
        print(f"\n{'=' * 80}\n".join(texts), end="\n" if jobs else "")
    return tell_missing(set(job_ids) - jobs.keys())


def describe(job: Record, now: float, progress: Record | None = None) -> list[str]:
    """The job's details in sections; fields that are unset are left out."""
    sections = (
        ("Job Details:", _identity(job)),
        ("Parameters:", sorted((job.get("parameters") or {}).items())),
        ("Resources:", _resources(job, now)),
        ("Execution:", _execution(job)),
        ("Dependencies:", _dependencies(job)),
        ("Timing:", [*_timing(job, now), ("Progress", _progress(progress))]),
    )
    lines = []
    for title, fields in sections:
        said = [harmless(f"  {name}={value}") for name, value in fields if value is not None]
        lines += [title, *said] if said else []
    return lines


def _identity(job: Record) -> list[Field]:
    return [
        ("ID", job["id"]),
        ("Name", job.get("run_name")),
        ("State", f"{job['state']} ({STATES.get(job['state'], '?')})"),
        ("Stopping", job.get("stopping")),
        ("Reason", _reason(job.get("reason"))),
        ("ExitCode", job.get("exit_code")),
        ("Signal", job.get("signal")),
        ("Detail", job.get("status_detail")),
        ("Priority", job.get("priority")),
        ("SubmittedBy", job.get("submitted_by")),
        ("Project", job.get("project")),
        ("MaxRetries", job.get("max_retries") or None),
        ("RestartCount", job.get("restart_count") or None),
        ("RetriedFrom", job.get("retried_from")),
        ("RetriedAs", job.get("retried_as")),
        ("RedoneFrom", job.get("redone_from")),
        ("RedoneAs", job.get("redone_as")),
        ("GroupID", job.get("group_id")),
        ("Group", job.get("group")),
        ("Key", job.get("key")),
        ("HoldAfterFailures", job.get("hold_after_failures")),
        ("MaxConcurrent", job.get("max_concurrent")),
        ("Script" if job.get("script") else "Command", _HIDDEN if job.get("hidden") else what_runs(job)),
    ]


def _reason(reason: Any) -> str | None:
    """A reason as `WaitingForGpu` or `DependencyFailed:3`."""
    if isinstance(reason, dict):
        return ", ".join(f"{kind}:{what}" for kind, what in reason.items())
    return None if reason is None else str(reason)


def _resources(job: Record, now: float) -> list[Field]:
    others = [("MemoryLimit", memory(job.get("memory_limit_mb"))), ("CPUs", job.get("cpus"))]
    return [*asked(job), *used(job, now), *others, ("CondaEnv", job.get("conda_env"))]


def _execution(job: Record) -> list[Field]:
    wanted = job.get("notifications") or {}
    return [
        ("WorkingDir", job.get("run_dir") or None),
        ("TmuxSession", job.get("session")),
        ("Log", job.get("log_path") or None),
        ("NotifyEmail", ",".join(wanted.get("emails") or ()) or None),
        ("NotifyOn", ",".join(wanted.get("events") or ()) or None),
    ]


def _dependencies(job: Record) -> list[Field]:
    wanted = job.get("depends_on_ids") or []
    task = ("TaskID", job.get("task_id"))
    if not wanted:
        return [task]
    return [
        ("DependsOn", ",".join(map(str, wanted))),
        ("Mode", job.get("dependency_mode")),
        ("AnyEnd", "enough" if job.get("after_end") else None),
        ("AutoCancel", "enabled" if job.get("auto_cancel_on_dependency_failure") else "disabled"),
        task,
    ]


def _timing(job: Record, now: float) -> list[Field]:
    submitted, started, finished = (seconds(job.get(f"{what}_at")) for what in ("submitted", "started", "finished"))
    limit = seconds(job.get("time_limit"))
    early = job.get("early_signal")
    left = started if started is not None else finished if finished is not None else now
    return [
        ("TimeLimit", "UNLIMITED" if limit is None else format_duration(limit)),
        ("EarlySignal", _early(early) if early else None),
        ("BeginTime", None if job.get("scheduled_at") is None else stamp(job["scheduled_at"])),
        ("Submitted", _moment(submitted, "waited", left)),
        ("Started", _moment(started, "running", now, " so far") if finished is None else _moment(started)),
        ("Finished", _moment(finished, "runtime", finished, since=started)),
    ]


def _early(early: Record) -> str:
    """`USR1, 60 s before the limit`."""
    return f"{signal_name(early['signal'])}, {early['secs_before']:g} s before the limit"


def _progress(told: Record | None) -> str | None:
    """How far a running job is: `45% (about 00:12:00 left, until 02/04-13:30:45): epoch 3`."""
    if told is None:
        return None
    line, left = f"{told['percent']:g}%", told.get("left_secs")
    if left is not None:
        line += f" (about {format_duration(left)} left, until {stamp(told['expected_end'])})"
    if told.get("state") not in (None, "normal"):
        line += f", {told['state']}"
    return line + (f": {told['note']}" if told.get("note") else "")


def _moment(
    at: float | None, word: str = "", until: float | None = None, suffix: str = "", since: float | None = None
) -> str | None:
    """A stamp, and in brackets how long from it (or from `since`) `until`."""
    if at is None:
        return None
    if not word or until is None or (word == "runtime" and since is None):
        return stamp(at)
    return f"{stamp(at)} ({word} {format_duration(until - (at if since is None else since))}{suffix})"


COMMAND = Command(
    "show",
    "Show the details of jobs.",
    run,
    options=(TEXT,),
    arguments=(MANY,),
    examples=(
        ("gjob show 7", "one job"),
        ("gjob show @,@~1", "your latest two"),
        ("gjob show 7 -o json", "as data"),
    ),
)
