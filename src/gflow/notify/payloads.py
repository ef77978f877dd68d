"""What is told of an event, as plain data: gflow's payload, with more about the job. Pure."""

from datetime import UTC, datetime
from typing import Any

from gflow.core.events import Event
from gflow.core.model import Job


def payload(event: Event, *, host: str, version: str, max_concurrent: int | None = None) -> dict[str, Any]:
    """The body of a notification; what there is nothing to say of is left out.

    `host` and `version` are those of this daemon, `max_concurrent` is the limit of the job's group.
    """
    told: dict[str, Any] = {"event": str(event.kind), "timestamp": _moment(event.at)}
    if event.job is not None:
        told["job"] = _job(event.job)
        if event.job.spec.group_id is not None:
            told["group"] = _without_none({"id": event.job.spec.group_id, "max_concurrent": max_concurrent})
    about = dict(event.about)
    if event.job is None and "gpu" in about:
        told["gpu"] = {"index": about.pop("gpu"), **about}
    elif event.job is None and about:
        told["reservation"] = about
    return {**told, "scheduler": {"host": host, "version": version}}


def _job(job: Job) -> dict[str, Any]:
    spec = job.spec
    return _without_none(
        {
            "id": int(job.id),
            "name": job.run_name,
            "user": spec.owner,
            "state": str(job.state),
            "gpus": list(job.gpu_ids) if job.gpu_ids is not None else None,
            "submitted_at": _moment(job.submitted_at),
            "started_at": _moment(job.started_at),
            "finished_at": _moment(job.finished_at),
            "exit_code": job.exit_code,
            "time_limit_secs": spec.time_limit_secs,
        }
    )


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _moment(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
