"""How a job looks in the API: gflow's own record, field for field, plus ours.

Clients of gflow refuse unknown values of `state` and `reason`, so those two keep its words exactly; everything gflow
cannot say (exit code, detail, …) is in fields of its own.
"""

from typing import Any

from gflow.core.measuring import verdict
from gflow.core.model import DependencyMode, GpuUse, Group, Job, JobSpec, Reason, ReasonKind, State
from gflow.core.stops import signal_name

Json = dict[str, Any]


def duration(secs: float | None) -> Json | None:
    """Seconds as gflow's `{"secs", "nanos"}`."""
    if secs is None:
        return None
    whole, nanos = _split(secs)
    return {"secs": whole, "nanos": nanos}


def moment(at: float | None) -> Json | None:
    """Seconds since the epoch as gflow's `{"secs_since_epoch", "nanos_since_epoch"}`."""
    if at is None:
        return None
    whole, nanos = _split(at)
    return {"secs_since_epoch": whole, "nanos_since_epoch": nanos}


def _split(secs: float) -> tuple[int, int]:
    """Whole seconds, and the rest in nanoseconds: always less than a second of them."""
    whole = int(secs)
    over, nanos = divmod(round((secs - whole) * 1e9), 1_000_000_000)
    return whole + over, nanos


def reason_json(reason: Reason | None) -> str | Json | None:
    """A reason as gflow writes it: a word, or a one-key object."""
    if reason is None:
        return None
    if reason.kind is ReasonKind.DEPENDENCY_FAILED:
        return {reason.kind.value: reason.job}
    if reason.kind is ReasonKind.SYSTEM:
        return {reason.kind.value: reason.text}
    return reason.kind.value


def gpu_use_json(use: GpuUse | None) -> Json | None:
    """What was measured on a job's GPUs, None if nothing was."""
    if use is None:
        return None
    return {"samples": use.samples, "mean_pct": use.mean_pct, "peak_pct": use.peak_pct, "peak_mb": use.peak_mb}


def job_json(
    job: Job, reason: Reason | None, group: Group | None, gpu_use: GpuUse | None, *, session: str, log_path: str
) -> Json:
    """The job record. `gpu_use` is what was measured until now, `session` the name of its terminal session, `log_path`
    where its output goes."""
    spec = job.spec
    depends_on = list(spec.depends_on)
    single = depends_on[0] if len(depends_on) == 1 and spec.dependency_mode is not DependencyMode.ANY else None
    early = spec.early_signal
    return {
        "id": job.id,
        "script": spec.script,
        "command": spec.command if spec.argv is None else _shell_line(spec.argv),
        "gpus": spec.gpus,
        "conda_env": spec.conda_env,
        "run_dir": spec.run_dir,
        "priority": spec.priority,
        "depends_on": single,
        "depends_on_ids": depends_on,
        "dependency_mode": spec.dependency_mode,
        "auto_cancel_on_dependency_failure": spec.auto_cancel,
        "task_id": spec.task_id,
        "gpu_sharing_mode": "Shared" if spec.shared else "Exclusive",
        "gpu_memory_limit_mb": spec.gpu_memory_mb,
        "time_limit": duration(spec.time_limit_secs),
        "memory_limit_mb": spec.memory_mb,
        "submitted_by": spec.owner,
        "redone_from": spec.redone_from,
        "retried_from": spec.retried_from,
        "max_retries": spec.max_retries,
        "auto_close_tmux": spec.auto_close,
        "parameters": dict(spec.parameters),
        "group_id": spec.group_id,
        "max_concurrent": group.max_concurrent if group is not None else None,
        "run_name": job.run_name,
        "project": spec.project,
        "state": job.state,
        "gpu_ids": list(job.gpu_ids) if job.gpu_ids is not None else None,
        "submitted_at": moment(job.submitted_at),
        "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at),
        "reason": reason_json(reason),
        **({"alive": True} if job.state is State.RUNNING else {}),
        **_notifications(spec),
        "scheduled_at": moment(spec.begin_at),
        "argv": list(spec.argv) if spec.argv is not None else None,
        "script_args": list(spec.script_args),
        "exit_code": job.exit_code,
        "signal": signal_name(job.signal) if job.signal is not None else None,
        "status_detail": job.detail,
        "stopping": job.stop.cause if job.stop is not None else None,
        "early_signal": {"signal": early.signal, "secs_before": early.secs_before} if early else None,
        "keep_session": spec.keep_session,
        "session": session,
        "log_path": log_path,
        "restart_count": spec.restart_count,
        "retried_as": job.retried_as,
        "redone_as": job.redone_as,
        "gpu_indices": list(spec.gpu_indices),
        "retry_on_oom": spec.retry_on_oom,
        "oom_restarts": spec.oom_restarts,
        "gpu_use": gpu_use_json(gpu_use),
        "gpu_memory_verdict": verdict(job, gpu_use),
        "gpu_share_mb": job.gpu_share_mb,
        "after_end": spec.after_end,
        "group": spec.group_name,
        "key": spec.key,
        "hold_after_failures": group.hold_after if group is not None else None,
        "cpus": spec.cpus,
    }


def _notifications(spec: JobSpec) -> Json:
    """Who is sent mail about the job; as with gflow, there is no such field where nobody is."""
    if not spec.notify_emails:
        return {}
    return {"notifications": {"emails": list(spec.notify_emails), "events": list(spec.notify_on)}}


def _shell_line(argv: tuple[str, ...]) -> str:
    """An argument vector as a person would type it; gflow's record has no other place for it."""
    import shlex

    return shlex.join(argv)


_PRIVATE: Json = {
    "script": None,
    "command": None,
    "argv": None,
    "script_args": [],
    "parameters": {},
    "conda_env": None,
    "run_dir": "",
    "log_path": "",
    "key": None,
    "status_detail": None,
}
"""What tells of a job what it runs and prints, and where; with what stands there instead, of a type clients expect."""


def cut_down(record: Json) -> Json:
    """A job's record as those see it who may know that it is there, and no more. `hidden` says that it is not whole."""
    reason = record["reason"]
    seen = {**record, **_PRIVATE, "hidden": True}
    if isinstance(reason, dict) and ReasonKind.SYSTEM.value in reason:
        seen["reason"] = {ReasonKind.SYSTEM.value: ""}
    seen.pop("notifications", None)
    return seen
