"""What callers may send. Strict: unknown fields and wrong types are refused, not ignored.

gflow's clients send their whole job record, so the fields only the server may set are accepted, and not looked at.
"""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gflow.core.errors import Malformed, TooLarge
from gflow.core.model import NO_PARAMETERS, DependencyMode, EarlySignal, JobId, JobSpec
from gflow.core.notices import ENDINGS

MAX_BATCH = 1000
MAX_REPEATED = 32 << 20

MOST = 2**53 - 1
"""Numbers beyond this are not the same in every JSON reader, and the log could not hold them all."""

Int = Annotated[int, Meta(ge=-MOST, le=MOST)]

_T = TypeVar("_T")


class Duration(Struct, forbid_unknown_fields=True):
    """gflow's duration."""

    secs: Int
    nanos: Int = 0


class Moment(Struct, forbid_unknown_fields=True):
    """gflow's moment."""

    secs_since_epoch: Int
    nanos_since_epoch: Int = 0


class SignalBefore(Struct, forbid_unknown_fields=True):
    """A signal number, and how many seconds before the time limit it is sent."""

    signal: Int
    secs_before: float


class Notifications(Struct, forbid_unknown_fields=True):
    """Who is sent mail about a job, and about which events: without any named, about its end."""

    emails: list[str] = []
    events: list[str] = []


class JobRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A job as a caller asks for it; see docs/api.md for each field."""

    command: str | None = None
    argv: list[str] | None = None
    script: str | None = None
    script_text: str | None = None
    script_args: list[str] = []
    run_dir: str | None = None
    environment: Any = None  # checked where it is used: as Any, the jobs of a batch share one object
    umask: Int | None = None
    run_name: str | None = None
    project: str | None = None
    conda_env: str | None = None
    gpus: Int = 0
    gpu_indices: list[Int] | None = None
    gpu_sharing_mode: str = "Exclusive"
    gpu_memory_limit_mb: Int | None = None
    retry_on_oom: bool = False
    memory_limit_mb: Int | None = None
    cpus: Int | None = None
    priority: Int = 10
    depends_on: Int | None = None
    depends_on_ids: list[Int] | None = None
    dependency_mode: DependencyMode | None = None
    auto_cancel_on_dependency_failure: bool = True
    task_id: Int | None = None
    after_end: bool = False
    group_id: str | None = None
    group: str | None = None
    key: str | None = None
    max_concurrent: Int | None = None
    hold_after_failures: Int | None = None
    parameters: dict[str, str] = {}
    time_limit: Duration | float | None = None
    early_signal: SignalBefore | None = None
    max_retries: Int = 0
    auto_close_tmux: bool = False
    keep_session: bool = False
    scheduled_at: Moment | float | None = None
    redone_from: Int | None = None
    submit_key: str | None = None
    hold: bool = False
    notifications: Notifications | None = None
    # Only the server sets these; gflow's clients send them all the same.
    id: Any = None
    submitted_by: Any = None
    retried_from: Any = None
    state: Any = None
    gpu_ids: Any = None
    submitted_at: Any = None
    started_at: Any = None
    finished_at: Any = None
    reason: Any = None
    alive: Any = None


class JobUpdate(Struct, forbid_unknown_fields=True, kw_only=True):
    """Changes to a job: what is absent stays, null clears, that is, it brings back the default."""

    command: str | UnsetType = UNSET
    argv: list[str] | UnsetType = UNSET
    script: str | UnsetType = UNSET
    script_text: str | UnsetType = UNSET
    script_args: list[str] | UnsetType | None = UNSET
    run_dir: str | UnsetType = UNSET
    gpus: Int | UnsetType | None = UNSET
    gpu_indices: list[Int] | UnsetType | None = UNSET
    gpu_sharing_mode: str | UnsetType | None = UNSET
    retry_on_oom: bool | UnsetType | None = UNSET
    conda_env: str | UnsetType | None = UNSET
    priority: Int | UnsetType | None = UNSET
    parameters: dict[str, str] | UnsetType | None = UNSET
    parameter_changes: dict[str, str | None] | UnsetType = UNSET
    time_limit: Duration | float | UnsetType | None = UNSET
    time_limit_delta: float | UnsetType = UNSET
    early_signal: SignalBefore | UnsetType | None = UNSET
    memory_limit_mb: Int | UnsetType | None = UNSET
    cpus: Int | UnsetType | None = UNSET
    gpu_memory_limit_mb: Int | UnsetType | None = UNSET
    depends_on: Int | UnsetType | None = UNSET
    depends_on_ids: list[Int] | UnsetType | None = UNSET
    dependency_mode: DependencyMode | UnsetType | None = UNSET
    auto_cancel_on_dependency_failure: bool | UnsetType | None = UNSET
    max_concurrent: Int | UnsetType | None = UNSET
    max_retries: Int | UnsetType | None = UNSET
    run_name: str | UnsetType | None = UNSET
    project: str | UnsetType | None = UNSET
    scheduled_at: Moment | float | UnsetType | None = UNSET
    auto_close_tmux: bool | UnsetType | None = UNSET
    keep_session: bool | UnsetType | None = UNSET
    notifications: Notifications | UnsetType | None = UNSET


class RedoRequest(JobUpdate, forbid_unknown_fields=True, kw_only=True):
    """An ended job once more, with changes; `cascade`: and the jobs that were cancelled because it failed.

    `environment`: for those that had one. `alike`: jobs that are changed in the same way if they go along.
    """

    cascade: bool = False
    alike: list[Int] = []
    hold: bool = False
    environment: Any = None


class CancelRequest(Struct, forbid_unknown_fields=True):
    """Cancel jobs, and say why; `dry_run`: only tell which."""

    ids: list[Int]
    reason: str | None = None
    dry_run: bool = False


class SignalRequest(Struct, forbid_unknown_fields=True):
    """Send a signal to the processes of a job."""

    signal: Int


class PruneRequest(Struct, forbid_unknown_fields=True):
    """Remove the jobs that ended before a moment, in seconds since the epoch; `logs`: their output, too."""

    before: float
    dry_run: bool = False
    logs: bool = False


class NotificationTest(Struct, forbid_unknown_fields=True):
    """Try a target, by name or key; null: all."""

    target: str | None = None


class Redelivery(Struct, forbid_unknown_fields=True):
    """Make a delivery that was given up, after all."""

    id: str


class GroupLimit(Struct, forbid_unknown_fields=True):
    """How many jobs of a group may run at once; null lifts the limit."""

    max_concurrent: Int | None


def read(kind: type[_T], data: object) -> _T:
    """`data` (decoded JSON) as a request of `kind`. Raises Malformed, naming the field."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise Malformed(f"Invalid request: {error}") from None
    except UnicodeEncodeError:  # msgspec looks at what it does not want to have, and cannot tell what it is
        raise Malformed("Invalid request: bytes that are no text, where something else is expected") from None


def read_batch(data: object) -> list[JobRequest]:
    """A list of jobs, or `{"defaults": job, "jobs": [job, …]}`. Raises Malformed, TooLarge."""
    defaults: Mapping[str, object] = {}
    if isinstance(data, dict):
        if set(data) != {"defaults", "jobs"} or not isinstance(data["defaults"], dict):
            raise Malformed('Invalid request: a batch is a list of jobs, or {"defaults": {…}, "jobs": […]}')
        defaults, data = data["defaults"], data["jobs"]
    if not isinstance(data, list):
        raise Malformed("Invalid request: a batch is a list of jobs")
    if not data:
        raise Malformed("Batch must contain at least one job")
    if len(data) > MAX_BATCH:
        raise TooLarge(f"Batch size exceeds maximum of {MAX_BATCH} jobs")
    _check_repeated(defaults, len(data))
    if not all(isinstance(job, dict) for job in data):
        raise Malformed("Invalid request: every job of a batch is an object")
    return [read(JobRequest, {**defaults, **job}) for job in data]


def _check_repeated(defaults: Mapping[str, object], count: int) -> None:
    """Refuse what a short request would blow up to. Environments and scripts are kept once, however many share them."""
    repeated = {name: value for name, value in defaults.items() if name not in ("environment", "script_text")}
    if len(json.dumps(repeated, ensure_ascii=False)) * count > MAX_REPEATED:
        raise TooLarge(
            f"The defaults of the batch, written out for each of its {count} jobs, are longer than"
            f" {MAX_REPEATED >> 20} MiB; put long texts into a script"
        )


def seconds(value: Duration | float | None) -> float | None:
    """A duration in seconds."""
    return value.secs + value.nanos / 1e9 if isinstance(value, Duration) else value


def epoch(value: Moment | float | None) -> float | None:
    """A moment in seconds since the epoch."""
    return value.secs_since_epoch + value.nanos_since_epoch / 1e9 if isinstance(value, Moment) else value


def _dependencies(
    single: int | None, several: list[int] | None, mode: DependencyMode | None
) -> tuple[tuple[JobId, ...], DependencyMode | None]:
    ids = tuple(dict.fromkeys(JobId(job_id) for job_id in (several or ([single] if single is not None else []))))
    if single is not None and single not in ids:
        raise Malformed("depends_on and depends_on_ids disagree; give depends_on_ids")
    return ids, (mode or DependencyMode.ALL) if ids else None


def _shared(mode: str) -> bool:
    if mode not in ("Exclusive", "Shared"):
        raise Malformed(f"Invalid gpu_sharing_mode '{mode}': use Exclusive or Shared")
    return mode == "Shared"


def _gpus(number: int, indices: list[int] | None) -> tuple[int, tuple[int, ...]]:
    """How many GPUs, and which: those that are named say how many they are."""
    named = tuple(sorted(set(indices or ())))
    if named and number not in (0, len(named)):
        raise Malformed(f"gpus is {number}, but gpu_indices names {len(named)}; give gpu_indices alone")
    return (len(named) or number), named


def _early(value: SignalBefore | None) -> EarlySignal | None:
    return EarlySignal(value.signal, value.secs_before) if value is not None else None


def _notices(wanted: Notifications | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who is sent mail, and about which events."""
    if wanted is None or not wanted.emails:
        if wanted is not None and wanted.events:
            raise Malformed("notifications names events, but no address: give emails, too")
        return (), ()
    emails = dict.fromkeys(address.strip() for address in wanted.emails)
    events = dict.fromkeys(name.strip().lower() for name in wanted.events)
    return tuple(emails), tuple(events or ENDINGS)


def _blank_is_none(text: str | None) -> str | None:
    return (text.strip() or None) if text is not None else None


def spec_from(
    request: JobRequest,
    *,
    owner: str,
    run_dir: str,
    script_digest: str | None,
    environment: str | None,
    uid: int | None = None,
) -> JobSpec:
    """The specification a request asks for. Digests name what the caller put into the spool. Raises Malformed."""
    depends_on, mode = _dependencies(request.depends_on, request.depends_on_ids, request.dependency_mode)
    gpus, gpu_indices = _gpus(request.gpus, request.gpu_indices)
    notify_emails, notify_on = _notices(request.notifications)
    if request.umask is not None and not 0 <= request.umask <= 0o777:
        raise Malformed(f"Invalid umask {request.umask}")
    return JobSpec(
        owner=owner,
        run_dir=sys.intern(run_dir),
        command=request.command,
        argv=tuple(request.argv) if request.argv is not None else None,
        script=request.script,
        script_digest=script_digest,
        script_args=tuple(request.script_args),
        environment=environment,
        umask=request.umask,
        name=_blank_is_none(request.run_name),
        project=_blank_is_none(request.project),
        conda_env=_blank_is_none(request.conda_env),
        gpus=gpus,
        gpu_indices=gpu_indices,
        shared=_shared(request.gpu_sharing_mode),
        gpu_memory_mb=request.gpu_memory_limit_mb,
        memory_mb=request.memory_limit_mb,
        cpus=request.cpus,
        priority=request.priority,
        depends_on=depends_on,
        dependency_mode=mode,
        auto_cancel=request.auto_cancel_on_dependency_failure,
        after_end=request.after_end and bool(depends_on),
        task_id=request.task_id,
        group_id=request.group_id,
        group_name=request.group,
        key=request.key,
        parameters=request.parameters or NO_PARAMETERS,
        time_limit_secs=seconds(request.time_limit),
        early_signal=_early(request.early_signal),
        max_retries=request.max_retries,
        retry_on_oom=request.retry_on_oom,
        redone_from=JobId(request.redone_from) if request.redone_from is not None else None,
        auto_close=request.auto_close_tmux,
        keep_session=request.keep_session,
        begin_at=epoch(request.scheduled_at),
        notify_emails=notify_emails,
        notify_on=notify_on,
        submit_key=request.submit_key or None,
        uid=uid,
    )


_PLAIN_UPDATES = {
    "priority": "priority",
    "parameters": "parameters",
    "memory_limit_mb": "memory_mb",
    "cpus": "cpus",
    "gpu_memory_limit_mb": "gpu_memory_mb",
    "auto_cancel_on_dependency_failure": "auto_cancel",
    "max_retries": "max_retries",
    "retry_on_oom": "retry_on_oom",
    "auto_close_tmux": "auto_close",
    "keep_session": "keep_session",
}
"""Fields of an update that go into the specification as they are, and their names there."""

_NAME_UPDATES = {"run_name": "name", "project": "project", "conda_env": "conda_env"}
"""The same, for names: blanks around them do not count, and nothing but blanks is none."""

_NOTHING_ASKED = JobRequest()


def names_script(update: JobUpdate) -> bool:
    """Whether an update has the job run a script from now on."""
    return update.script is not UNSET or update.script_text is not UNSET


def spec_changes(update: JobUpdate, old: JobSpec, script_digest: str | None = None) -> dict[str, Any]:
    """What an update changes in the specification `old`. Raises Malformed.

    `script_digest`: what the caller has put into the spool, if it `names_script`. `max_concurrent` belongs to the group
    and is left to the caller.
    """
    changes: dict[str, Any] = {}
    for field, name in _PLAIN_UPDATES.items():
        value = getattr(update, field)
        if value is not UNSET:
            changes[name] = getattr(_NOTHING_ASKED, field) if value is None else value
    for field, name in _NAME_UPDATES.items():
        value = getattr(update, field)
        if value is not UNSET:
            changes[name] = _blank_is_none(value)
    if update.run_dir is not UNSET:
        changes["run_dir"] = sys.intern(update.run_dir)
    changes |= _work_changes(update, script_digest) | _parameter_changes(update, old)
    if update.early_signal is not UNSET:
        changes["early_signal"] = _early(update.early_signal)
    if update.scheduled_at is not UNSET:
        changes["begin_at"] = epoch(update.scheduled_at)
    if update.notifications is not UNSET:
        changes["notify_emails"], changes["notify_on"] = _notices(update.notifications)
    return {**changes, **_gpu_changes(update), **_limit_changes(update, old), **_dependency_changes(update, old)}


def _work_changes(update: JobUpdate, script_digest: str | None) -> dict[str, object]:
    """Other work takes the place of whatever it was."""
    work: dict[str, object] = {}
    if update.command is not UNSET:
        work["command"] = update.command
    if update.argv is not UNSET:
        work["argv"] = tuple(update.argv)
    if names_script(update):
        work["script"], work["script_digest"] = None if update.script is UNSET else update.script, script_digest
    if len(work.keys() - {"script_digest"}) > 1:
        raise Malformed("A job needs exactly one of command, argv, script and script_text")
    if work:
        cleared = {"command": None, "argv": None, "script": None, "script_digest": None, "script_args": ()}
        work = {**cleared, **work}
    if update.script_args is not UNSET:
        work["script_args"] = tuple(update.script_args or ())
    return work


def _parameter_changes(update: JobUpdate, old: JobSpec) -> dict[str, object]:
    """Single parameters set, or with null taken away."""
    if update.parameter_changes is UNSET:
        return {}
    if update.parameters is not UNSET:
        raise Malformed("Give parameters or parameter_changes, not both")
    merged = {**old.parameters, **update.parameter_changes}
    return {"parameters": {name: value for name, value in merged.items() if value is not None}}


def _gpu_changes(update: JobUpdate) -> dict[str, object]:
    """A new number of GPUs takes back which they are; naming them says how many."""
    changes: dict[str, object] = {}
    if update.gpu_sharing_mode is not UNSET:
        changes["shared"] = _shared(update.gpu_sharing_mode or _NOTHING_ASKED.gpu_sharing_mode)
    number = 0 if update.gpus is UNSET else update.gpus or 0
    named = None if update.gpu_indices is UNSET else update.gpu_indices
    if named or update.gpus is not UNSET:
        changes["gpus"], changes["gpu_indices"] = _gpus(number, named)
    elif update.gpu_indices is not UNSET:
        changes["gpu_indices"] = ()
    return changes


def _limit_changes(update: JobUpdate, old: JobSpec) -> dict[str, object]:
    if update.time_limit is not UNSET and update.time_limit_delta is not UNSET:
        raise Malformed("Give time_limit or time_limit_delta, not both")
    if update.time_limit is not UNSET:
        return {"time_limit_secs": seconds(update.time_limit)}
    if update.time_limit_delta is not UNSET:
        if old.time_limit_secs is None:
            raise Malformed("The job has no time limit to add to; give the limit itself")
        return {"time_limit_secs": old.time_limit_secs + update.time_limit_delta}
    return {}


def _dependency_changes(update: JobUpdate, old: JobSpec) -> dict[str, object]:
    if update.depends_on is UNSET and update.depends_on_ids is UNSET:
        if update.dependency_mode is UNSET:
            return {}
        return {"dependency_mode": (update.dependency_mode or DependencyMode.ALL) if old.depends_on else None}
    single = None if update.depends_on is UNSET else update.depends_on
    several = None if update.depends_on_ids is UNSET else update.depends_on_ids
    mode = old.dependency_mode if update.dependency_mode is UNSET else update.dependency_mode
    depends_on, mode = _dependencies(single, several, mode)
    anew = {"after_end": False} if old.after_end else {}  # other jobs, and the usual kind of waiting
    return {"depends_on": depends_on, "dependency_mode": mode, **anew}
