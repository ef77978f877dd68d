"""Jobs, groups and events as plain maps, and back without loss.

The keys and the defaults below are the format. They are written out here, and not taken from the model, so that
renaming a field or changing a default there cannot change what an old file means. A value at its default is left out;
a key nobody knows is ignored.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from sys import intern
from typing import Any

import msgpack  # type: ignore[import-untyped]

from gflow.core.events import NOTHING, Event, EventKind
from gflow.core.model import (
    NO_PARAMETERS,
    DependencyMode,
    EarlySignal,
    Failure,
    GpuUse,
    Group,
    Job,
    JobId,
    JobSpec,
    Reason,
    ReasonKind,
    State,
    Stop,
    StopCause,
    StopStep,
)

Map = dict[str, Any]

_SPEC: Map = {
    "command": None,
    "argv": None,
    "script": None,
    "script_digest": None,
    "script_args": (),
    "environment": None,
    "umask": None,
    "name": None,
    "project": None,
    "conda_env": None,
    "gpus": 0,
    "gpu_indices": (),
    "shared": False,
    "gpu_memory_mb": None,
    "memory_mb": None,
    "cpus": None,
    "priority": 10,
    "depends_on": (),
    "dependency_mode": None,
    "auto_cancel": True,
    "after_end": False,
    "task_id": None,
    "group_id": None,
    "group_name": None,
    "key": None,
    "parameters": NO_PARAMETERS,
    "time_limit_secs": None,
    "early_signal": None,
    "max_retries": 0,
    "restart_count": 0,
    "retry_on_oom": False,
    "oom_restarts": 0,
    "redone_from": None,
    "retried_from": None,
    "auto_close": False,
    "keep_session": False,
    "begin_at": None,
    "notify_emails": (),
    "notify_on": (),
    "submit_key": None,
    "uid": None,
}
"""Optional keys of a specification and what their absence means; `owner` and `run_dir` are always there."""

_LIFE: Map = {
    "reason": None,
    "gpu_ids": None,
    "run_id": None,
    "started_at": None,
    "started_boot": None,
    "finished_at": None,
    "exit_code": None,
    "detail": None,
    "stop": None,
    "signalled": False,
    "retried_as": None,
    "redone_as": None,
    "gpu_use": None,
    "gpu_share_mb": None,
    "planned_for": None,
    "bypassed_at": None,
}
"""Optional keys of a job and what their absence means."""

_STATES = {state.value: state for state in State}
_KINDS = {kind.value: kind for kind in EventKind}
_MODES = {mode.value: mode for mode in DependencyMode}

_spec_values = attrgetter(*_SPEC)
_life_values = attrgetter(*_LIFE)
_spec_defaults = tuple(_SPEC.values())
_life_defaults = tuple(_LIFE.values())


def pack(value: object) -> bytes:
    """msgpack that takes every Python string, lone surrogates of undecodable paths included.

    Raises TypeError or OverflowError for what msgpack cannot hold.
    """
    packed: bytes = msgpack.packb(value, unicode_errors="surrogatepass")
    return packed


def packing() -> Callable[[object], bytes]:
    """The same for many values, by one caller at a time."""
    pack_next: Callable[[object], bytes] = msgpack.Packer(unicode_errors="surrogatepass").pack
    return pack_next


def unpack(data: bytes | memoryview) -> Any:
    """The value `pack` was given, tuples as lists. Raises ValueError (or a subclass) for anything else."""
    return msgpack.unpackb(data, unicode_errors="surrogatepass", strict_map_key=False)


def _reason_to_map(reason: Reason) -> Map:
    plain: Map = {"kind": reason.kind.value}
    if reason.job is not None:
        plain["job"] = reason.job
    if reason.text is not None:
        plain["text"] = reason.text
    return plain


def _reason(plain: Map) -> Reason:
    return Reason(ReasonKind(plain["kind"]), plain.get("job"), plain.get("text"))


def _stop_to_map(stop: Stop) -> Map:
    plain: Map = {"cause": stop.cause.value, "step": stop.step.value, "next_at_boot": stop.next_at_boot}
    if stop.by is not None:
        plain["by"] = stop.by
    if stop.text is not None:
        plain["text"] = stop.text
    return plain


def _stop(plain: Map) -> Stop:
    return Stop(
        StopCause(plain["cause"]), StopStep(plain["step"]), plain["next_at_boot"], plain.get("by"), plain.get("text")
    )


_GPU_USE = ("samples", "mean_pct", "peak_pct", "peak_mb")


def _gpu_use_to_map(use: GpuUse) -> Map:
    return {key: value for key in _GPU_USE if (value := getattr(use, key)) is not None}


def _gpu_use(plain: Map) -> GpuUse:
    return GpuUse(
        samples=plain["samples"],
        mean_pct=plain.get("mean_pct"),
        peak_pct=plain.get("peak_pct"),
        peak_mb=plain.get("peak_mb"),
    )


def _early_signal(plain: Map) -> EarlySignal:
    return EarlySignal(plain["signal"], plain["secs_before"])


def _same(value: Any) -> Any:
    return value


_READ_SPEC: dict[str, Callable[[Any], Any]] = dict.fromkeys(("owner", "run_dir", *_SPEC), _same) | {
    # A few distinct values are shared by very many jobs: one copy of each in memory.
    "owner": intern,
    "run_dir": intern,
    "environment": intern,
    "script_digest": intern,
    "project": intern,
    "conda_env": intern,
    "group_id": intern,
    "group_name": intern,
    "argv": tuple,
    "script_args": tuple,
    "depends_on": tuple,
    "gpu_indices": tuple,
    "notify_emails": tuple,
    "notify_on": tuple,
    "dependency_mode": _MODES.__getitem__,
    "early_signal": _early_signal,
}


def _spec_to_map(spec: JobSpec) -> Map:
    plain: Map = {"owner": spec.owner, "run_dir": spec.run_dir}
    plain |= {
        key: value
        for key, value, default in zip(_SPEC, _spec_values(spec), _spec_defaults, strict=True)
        if value != default
    }
    if spec.parameters:
        plain["parameters"] = dict(spec.parameters)
    if spec.dependency_mode is not None:
        plain["dependency_mode"] = spec.dependency_mode.value
    if spec.early_signal is not None:
        signal = spec.early_signal
        plain["early_signal"] = {"signal": signal.signal, "secs_before": signal.secs_before}
    return plain


def _spec(plain: Map) -> JobSpec:
    values = _SPEC.copy()
    for key, value in plain.items():
        read = _READ_SPEC.get(key)
        if read is not None:
            values[key] = value if read is _same else read(value)
    if "parameters" not in plain:
        values["parameters"] = NO_PARAMETERS
    return JobSpec(**values)


_READ_JOB: dict[str, Callable[[Any], Any]] = dict.fromkeys(("id", "run_name", "submitted_at", *_LIFE), _same) | {
    "spec": _spec,
    "state": _STATES.__getitem__,
    "reason": _reason,
    "gpu_ids": tuple,
    "stop": _stop,
    "gpu_use": _gpu_use,
}


def job_to_map(job: Job) -> Map:
    """`job` as a map of what msgpack can hold; nothing at its default is in it, except the times a job always has."""
    plain: Map = {
        "id": job.id,
        "spec": _spec_to_map(job.spec),
        "run_name": job.run_name,
        "state": job.state.value,
        "submitted_at": job.submitted_at,
    }
    plain |= {
        key: value
        for key, value, default in zip(_LIFE, _life_values(job), _life_defaults, strict=True)
        if value != default
    }
    if job.reason is not None:
        plain["reason"] = _reason_to_map(job.reason)
    if job.stop is not None:
        plain["stop"] = _stop_to_map(job.stop)
    if job.gpu_use is not None:
        plain["gpu_use"] = _gpu_use_to_map(job.gpu_use)
    return plain


def job_from_map(plain: Map) -> Job:
    """The job `job_to_map` was given. Raises KeyError, TypeError or ValueError if it cannot be one."""
    values = _LIFE.copy()
    for key, value in plain.items():
        read = _READ_JOB.get(key)
        if read is not None:
            values[key] = value if read is _same else read(value)
    return Job(**values)


_GROUP = ("max_concurrent", "hold_after", "held")
"""Keys of a group that are None where they are missing."""


def group_to_map(group: Group) -> Map:
    """`group` as a map of what msgpack can hold."""
    plain: Map = {"id": group.id}
    plain |= {key: value for key in _GROUP if (value := getattr(group, key)) is not None}
    if group.failures:
        plain["failures"] = [list(failure) for failure in group.failures]
    return plain


def group_from_map(plain: Map) -> Group:
    """The group `group_to_map` was given. Raises KeyError if it cannot be one."""
    failures = tuple(Failure(*failure) for failure in plain.get("failures", ()))
    return Group(intern(plain["id"]), failures=failures, **{key: plain.get(key) for key in _GROUP})


_NO_JOBS: Mapping[JobId, Job] = {}


def event_to_map(event: Event, known: Mapping[JobId, Job] = _NO_JOBS) -> Map:
    """`event` as a map. Its job is only named if the very same object is in `known`, else it is put in whole."""
    plain: Map = {"kind": event.kind.value, "at": event.at}
    if event.about:
        plain["about"] = dict(event.about)
    if event.job is None:
        return plain
    if known.get(event.job.id) is event.job:
        plain["id"] = event.job.id
    else:
        plain["job"] = job_to_map(event.job)
    return plain


def event_from_map(plain: Map, known: Mapping[JobId, Job] = _NO_JOBS) -> Event:
    """The event `event_to_map` was given, with the same `known`. Raises KeyError, TypeError or ValueError."""
    job = job_from_map(plain["job"]) if "job" in plain else known[plain["id"]] if "id" in plain else None
    return Event(_KINDS[plain["kind"]], plain["at"], job, plain.get("about", NOTHING))
