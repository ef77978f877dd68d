"""What the outside is told of an event: one JSON-like shape for webhooks, programs and mail alike.

Pure. A payload is made at the transition and says what was true then. Fields that have nothing to say are left out, and
the names are those of gflow where gflow has the field. The samples in docs/notifications.md are made from here.

`mail_to` is for ourselves: addresses the job's owner asked to be written to about this event. `public` is the rest.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from gflow.core.events import Event, EventKind
from gflow.core.limits import format_duration
from gflow.core.measuring import verdict
from gflow.core.model import DependencyMode, Job, Reason, ReasonKind, State
from gflow.core.notices import ALL
from gflow.core.stops import signal_name

Json = dict[str, Any]

MAIL_TO = "mail_to"

MAX_TEXT = 4096
"""Longer texts of users (commands, details) are cut: a payload is news, not an archive."""


def payload(event: Event, *, host: str, version: str, max_concurrent: int | None = None) -> Json:
    """The payload of an event. `max_concurrent` is the limit of the job's group, if it has one."""
    kind, job = event.kind, event.job
    about: Json = {}
    if kind is EventKind.GROUP_COMPLETED:
        about["group"] = _group_completed(event)
    elif kind is EventKind.GROUP_HELD:
        about["group"] = _group_held(event)
    elif job is not None:
        about["job"] = _job(job)
        about["group"] = _group(job, max_concurrent)
    if kind is EventKind.SCHEDULER_ONLINE:
        about["text"] = f"gflow {version} is online on {host}"
    elif kind in (EventKind.SCHEDULER_DRAINED, EventKind.SCHEDULER_RESUMED):
        about["text"] = _steered(event, host)
    elif kind in (EventKind.RESERVATION_CREATED, EventKind.RESERVATION_CANCELLED):
        about["reservation"] = _reservation(event)
    about["gpu"] = _gpu(event)
    about[MAIL_TO] = _mail_to(event)
    return {
        "event": kind.value,
        "timestamp": moment(event.at),
        **_said(about),
        "scheduler": {"host": _text(host), "version": version},
    }


def _steered(event: Event, host: str) -> str:
    """Who has it that jobs are started no more, or again, and why."""
    what = "drained" if event.kind is EventKind.SCHEDULER_DRAINED else "resumed"
    because = f": {event.about['reason']}" if event.about.get("reason") else ""
    return f"gflow on {host} was {what} by {event.about.get('by')}{because}"


def public(told: Mapping[str, Any]) -> Json:
    """A payload without what concerns nobody else."""
    return {key: value for key, value in told.items() if key != MAIL_TO}


def user_of(told: Mapping[str, Any]) -> str | None:
    """Whose event this is: the job's owner, or whom the reservation is for."""
    for what in ("job", "group", "reservation"):
        user = (told.get(what) or {}).get("user")
        if user is not None:
            return str(user)
    return None


def moment(at: float | None) -> str | None:
    """A moment as `2026-02-04T12:30:45Z`."""
    if at is None:
        return None
    try:
        return _second(int(at))
    except (OverflowError, ValueError, OSError):
        return None  # beyond the year 9999


@lru_cache(maxsize=256)  # many events are of the same few seconds
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _said(fields: Mapping[str, Any]) -> Json:
    return {key: value for key, value in fields.items() if value is not None}


def _text(text: str | None) -> str | None:
    """A text that any JSON reader takes: no half characters, and not too long."""
    if text is None:
        return None
    whole = text.encode(errors="replace").decode()
    return whole if len(whole) <= MAX_TEXT else f"{whole[: MAX_TEXT - 1]}…"


def _job(job: Job) -> Json:
    spec = job.spec
    return _said(
        {
            "id": job.id,
            "name": _text(job.run_name),
            "user": _text(spec.owner),
            "project": _text(spec.project),
            "state": job.state.value,
            "reason": _reason(job.reason) if job.state is not State.QUEUED else None,
            "exit_code": job.exit_code,
            "signal": signal_name(job.signal) if job.signal is not None else None,
            "detail": _text(job.detail),
            **_times(job),
            **_machine(job),
            "command": _text(_command(job)),
            "run_dir": _text(spec.run_dir),
            "priority": spec.priority,
            **_others(job),
        }
    )


def _times(job: Job) -> Json:
    """Moments, and durations both for people and for programs."""
    runtime = None
    if job.finished_at is not None and job.started_at is not None:
        runtime = max(0.0, job.finished_at - job.started_at)
    limit = job.spec.time_limit_secs
    return {
        "submitted_at": moment(job.submitted_at),
        "begin_at": moment(job.spec.begin_at),
        "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at),
        "runtime": None if runtime is None else format_duration(runtime),
        "runtime_secs": None if runtime is None else round(runtime, 3),
        "time_limit": None if limit is None else format_duration(limit),
        "time_limit_secs": limit,
    }


def _machine(job: Job) -> Json:
    """What it has, or asks for, of the machine, and what it made of that."""
    spec = job.spec
    return {
        "gpus": list(job.gpu_ids) if job.gpu_ids is not None else None,
        "gpu_count": spec.gpus,
        "shared": spec.shared or None,
        "gpu_memory_limit_mb": spec.gpu_memory_mb,
        "gpu_memory_verdict": verdict(job, job.gpu_use),
        "memory_limit_mb": spec.memory_mb,
        "cpus": spec.cpus,
    }


def _others(job: Job) -> Json:
    """The jobs it has to do with."""
    spec = job.spec
    return {
        "depends_on": list(spec.depends_on) or None,
        "dependency_mode": spec.dependency_mode.value if isinstance(spec.dependency_mode, DependencyMode) else None,
        "task_id": spec.task_id,
        "restart_count": spec.restart_count or None,
        "max_retries": spec.max_retries or None,
        "retried_from": spec.retried_from,
        "retried_as": job.retried_as,
        "redone_from": spec.redone_from,
    }


def _command(job: Job) -> str:
    """What it runs, in a line."""
    import shlex

    spec = job.spec
    if spec.script is not None or spec.script_digest is not None:
        return shlex.join([spec.script or "(script)", *spec.script_args])
    return shlex.join(spec.argv) if spec.argv is not None else spec.command or ""


def _reason(reason: Reason | None) -> str | Json | None:
    if reason is None:
        return None
    if reason.kind is ReasonKind.DEPENDENCY_FAILED:
        return {reason.kind.value: reason.job}
    return {reason.kind.value: _text(reason.text)} if reason.kind is ReasonKind.SYSTEM else reason.kind.value


def _group(job: Job, max_concurrent: int | None) -> Json | None:
    group_id, name = job.spec.group_id, _text(job.spec.group_name)
    return None if group_id is None else _said({"id": _text(group_id), "name": name, "max_concurrent": max_concurrent})


def _group_completed(event: Event) -> Json:
    counts = dict(event.about.get("counts") or {})
    return _said({**_which_group(event), "jobs": sum(counts.values()), "counts": counts})


def _group_held(event: Event) -> Json:
    about = event.about
    why = {"reason": _text(about.get("reason")), "failed": about.get("failed"), "held": about.get("held")}
    return _said({**_which_group(event), **why})


def _which_group(event: Event) -> Json:
    about, spec = event.about, event.job.spec if event.job is not None else None
    return {
        "id": _text(about.get("group_id")),
        "name": _text(spec.group_name) if spec is not None else None,
        "user": _text(about.get("user")),
        "project": _text(spec.project) if spec is not None else None,
        "first_job_id": about.get("first_job_id"),
    }


def _reservation(event: Event) -> Json:
    about = event.about
    cancelled = event.kind is EventKind.RESERVATION_CANCELLED
    return _said(
        {
            "id": about.get("reservation_id"),
            "user": _text(about.get("user")),
            "gpu_count": about.get("gpu_count"),
            "gpu_indices": about.get("gpu_indices"),
            "start_time": moment(about.get("start_at")),
            "end_time": moment(about.get("end_at")),
            "cancelled_at": moment(event.at) if cancelled else None,
        }
    )


def _gpu(event: Event) -> Json | None:
    """Of `gpu_available` the device; of the events about a job's GPUs what was measured on them."""
    about = event.about
    if event.kind is EventKind.GPU_AVAILABLE:
        return _said({"index": about.get("gpu"), "uuid": about.get("uuid"), "available": True})
    if event.kind in (EventKind.GPU_IDLE, EventKind.GPU_MEMORY_EXCEEDED):
        measured = {key: about.get(key) for key in ("idle_secs", "declared_mb", "used_mb")}
        indices = list(event.job.gpu_ids or ()) if event.job is not None else None
        return _said({"indices": indices, **measured})
    return None


def _mail_to(event: Event) -> list[str] | None:
    """Whom the owner of the job wants to be written to about this."""
    spec = event.job.spec if event.job is not None else None
    if spec is None or not {event.kind.value, ALL} & {*spec.notify_on}:
        return None
    return list(spec.notify_emails) or None
