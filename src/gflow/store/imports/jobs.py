"""One job of gflow as one of ours.

Everything a job waits to do, or did, is kept as it was. Three things change it: what gflow allowed and ours does not
(brought into range), work that is no longer there (the job fails, saying so), and a launch of a daemon that is gone:
such a job goes on if its session lives and fails if it does not.
"""

import hashlib
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from gflow.core import limits, notices, submission
from gflow.core.errors import Refused
from gflow.core.lifecycle import FINAL
from gflow.core.limits import format_duration
from gflow.core.model import NO_PARAMETERS, DependencyMode, Job, JobId, JobSpec, Now, Reason, ReasonKind, State
from gflow.core.names import generated_name
from gflow.store.imports.values import MAX_U64, Odd, Record, shown, string, whole

_STATES = {state.value: state for state in State}
_MODES = {mode.value: mode for mode in DependencyMode}
_SHARING = {"Exclusive": False, "Shared": True}
_ENDINGS = {
    ReasonKind.CANCELLED: "cancelled",
    ReasonKind.DEPENDENCY_FAILED: "dependency {job} did not finish",
    ReasonKind.SYSTEM: "{text}",
}
_REASONS = {kind.value: kind for kind in ReasonKind if kind is ReasonKind.CANCELLED or kind not in _ENDINGS}
_WAITING = (State.QUEUED, State.HOLD)
_MAX_RETRIES = 1000

LOST = (
    "It was running when gflow was replaced, and its tmux session is gone; whether it finished is not known, nor "
    "when it ended: no run time is counted"
)


class NoWork(Exception):
    """There is nothing to run, or its text cannot be had; the message says which."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the conversion needs to know besides the file.

    - written_at: when the file was last written, seconds since the epoch. home: for relative directories.
    - session: the run id of the live session a running job of this name was started in at this time, None if it is
      gone. read_script: the text at a path; raises NoWork.
    """

    now: Now
    written_at: float
    home: str
    session: Callable[[str, float], str | None]
    read_script: Callable[[str], bytes]


@dataclass(slots=True)
class Notes:
    """What an import changes and leaves out: lines about the whole (None), and about single jobs."""

    lines: list[tuple[JobId | None, str]] = field(default_factory=list)

    def add(self, job_id: JobId | None, text: str) -> None:
        """Note one thing."""
        self.lines.append((job_id, text))


@dataclass(slots=True)
class Converter:
    """Converts jobs one by one; `scripts` collects the texts that the spool must have."""

    around: Surroundings
    notes: Notes
    scripts: dict[str, bytes] = field(default_factory=dict)

    def convert(self, job_id: JobId, record: Record) -> Job:
        """The job in a record. Its dependencies and attempts are still what the record says. Raises Odd."""
        spec = _spec(job_id, record, self.around, self.notes)
        job = _life(job_id, record, spec, self.around, self.notes)
        if job.state in FINAL:
            return job
        session = self._session(job, record)
        if job.state is State.RUNNING and session is None:
            self.notes.add(job_id, "was running and its tmux session is gone: Failed")
            return self._failed(job, LOST, job.started_at)
        try:
            spec = self._with_work(job)
            submission.check(spec)
        except (Refused, NoWork) as why:
            self.notes.add(job_id, f"{why}: Failed")
            return self._failed(job, str(why), max(self.around.now.wall, job.started_at or 0.0))
        return replace(job, spec=spec, run_id=session)

    def _session(self, job: Job, record: Record) -> str | None:
        if job.state is not State.RUNNING or job.started_at is None:
            return None
        name = record.text("run_name")
        return self.around.session(name, job.started_at) if name else None

    def _with_work(self, job: Job) -> JobSpec:
        """The specification with exactly one thing to run. gflow took the script where there was a command, too, and
        ran it with bash; a running job whose script is gone since is one that runs just that."""
        spec = job.spec
        if spec.script is None:
            if not (spec.command or "").strip():
                raise NoWork("It has neither a command nor a script")
            return spec
        path = os.path.normpath(os.path.join(spec.run_dir, spec.script))
        try:
            text = self.around.read_script(path)
        except NoWork:
            if job.state is not State.RUNNING:
                raise
            return replace(spec, script=None, command=f"bash {shlex.quote(path)}")
        digest = hashlib.sha256(text).hexdigest()
        self.scripts[digest] = text
        return replace(spec, script=path, script_digest=digest, command=None)

    def _failed(self, job: Job, why: str, at: float | None) -> Job:
        return replace(
            job,
            state=State.FAILED,
            finished_at=at,
            reason=Reason(ReasonKind.SYSTEM, text=why),
            detail=why,
            run_id=None,
        )


# -- the specification -------------------------------------------------------------------------------------------------


def _spec(job_id: JobId, record: Record, around: Surroundings, notes: Notes) -> JobSpec:
    shared, gpu_memory_mb = _sharing(job_id, record, notes)
    depends_on = _depends_on(job_id, record, notes)
    mode = record.word("dependency_mode", _MODES) or DependencyMode.ALL
    retried_from = record.integer("retried_from")
    redone_from = record.integer("redone_from")
    notify_emails, notify_on = _mail(job_id, record, notes)
    return JobSpec(
        owner=_owner(record),
        run_dir=_run_dir(job_id, record, around.home, notes),
        command=record.text("command"),
        script=record.text("script") or None,
        name=_name(job_id, record, notes),
        project=_project(job_id, record, notes),
        conda_env=record.text("conda_env") or None,
        gpus=record.integer("gpus") or 0,
        shared=shared,
        gpu_memory_mb=gpu_memory_mb,
        memory_mb=_memory(job_id, record, "memory_limit_mb", notes),
        priority=_default(record.integer("priority", submission.MAX_PRIORITY), 10),
        depends_on=depends_on,
        dependency_mode=mode if depends_on else None,
        auto_cancel=record.flag("auto_cancel_on_dependency_failure", default=True),
        task_id=record.integer("task_id"),
        group_id=record.identifier("group_id"),
        parameters=_parameters(job_id, record, notes),
        time_limit_secs=_time_limit(job_id, record, notes),
        max_retries=_capped(job_id, "max_retries", record.integer("max_retries") or 0, _MAX_RETRIES, notes),
        redone_from=JobId(redone_from) if redone_from else None,
        retried_from=JobId(retried_from) if retried_from else None,
        auto_close=record.flag("auto_close_tmux", default=False),
        begin_at=_begin_at(job_id, record, around.now.wall, notes),
        notify_emails=notify_emails,
        notify_on=notify_on,
    )


def _mail(job_id: JobId, record: Record, notes: Notes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who is sent mail about the job, those whom ours can write to, and about which events."""
    if record.get("notifications") is None:
        return (), ()
    wanted = Record(record.get("notifications"), f"{record.what}: notifications")
    emails = _fit(job_id, wanted.texts("emails"), notices.check_address, notes)[: notices.MAX_ADDRESSES]
    events = _fit(job_id, wanted.texts("events"), notices.check_event, notes)
    return (emails, events or notices.ENDINGS) if emails else ((), ())


def _fit(job_id: JobId, texts: Iterable[str], check: Callable[[str], str], notes: Notes) -> tuple[str, ...]:
    found = []
    for text in texts:
        try:
            found.append(check(text))
        except ValueError as why:
            notes.add(job_id, f"notifications: {str(why).partition(': ')[0]}: left out")
    return tuple(dict.fromkeys(found))


def _default(value: int | None, default: int) -> int:
    return default if value is None else value


def _capped(job_id: JobId, what: str, value: int, most: int, notes: Notes) -> int:
    if value > most:
        notes.add(job_id, f"{what} {value} is more than the most allowed: {most}")
    return min(value, most)


def _owner(record: Record) -> str:
    """gflow's word for a user it did not know is "unknown"; nobody can be called what no terminal can show."""
    owner = record.text("submitted_by") or ""
    return owner if owner.strip() and owner.isprintable() else "unknown"


def _printable(text: str | None, most: int) -> str | None:
    return text if text and text.strip() and text.isprintable() and len(text) <= most else None


def _name(job_id: JobId, record: Record, notes: Notes) -> str | None:
    given = record.text("run_name")
    name = _printable(given, submission.MAX_NAME)
    if given and name is None:
        notes.add(job_id, f"its name {shown(given)} is not 1 to {submission.MAX_NAME} printable characters: renamed")
    return name


def _project(job_id: JobId, record: Record, notes: Notes) -> str | None:
    given = (record.text("project") or "").strip()
    project = _printable(given, submission.MAX_PROJECT)
    if given and project is None:
        notes.add(job_id, f"its project {shown(given)} is not {submission.MAX_PROJECT} printable characters: left out")
    return project


def _run_dir(job_id: JobId, record: Record, home: str, notes: Notes) -> str:
    given = record.text("run_dir") or "."
    if given.startswith("/"):
        return given
    below = given.removeprefix("~").lstrip("/") if given == "~" or given.startswith("~/") else given
    path = os.path.normpath(os.path.join(home, below))
    if record.word("state", _STATES) not in FINAL:
        notes.add(job_id, f"its working directory {shown(given)} is not absolute: taken for {path}")
    return path


def _sharing(job_id: JobId, record: Record, notes: Notes) -> tuple[bool, int | None]:
    shared = record.word("gpu_sharing_mode", _SHARING) or False
    memory_mb = _memory(job_id, record, "gpu_memory_limit_mb", notes)
    if shared and memory_mb is None:
        notes.add(job_id, "shares GPUs without saying how much memory it needs: it gets them for itself")
        shared = False
    return shared, memory_mb


def _memory(job_id: JobId, record: Record, name: str, notes: Notes) -> int | None:
    size = record.integer(name, MAX_U64)
    if size == 0:
        notes.add(job_id, f"{name} is 0: left out")
    return _capped(job_id, name, size, limits.MAX_MEMORY_MB, notes) if size else None


def _time_limit(job_id: JobId, record: Record, notes: Notes) -> float | None:
    limit = record.duration("time_limit")
    if limit == 0:
        notes.add(job_id, "its time limit is 0: left out")
    if limit and limit > limits.MAX_TIME_LIMIT_SECS:
        notes.add(job_id, "its time limit is longer than 366 days: made 366 days")
    return min(limit, float(limits.MAX_TIME_LIMIT_SECS)) if limit else None


def _begin_at(job_id: JobId, record: Record, now: float, notes: Notes) -> float | None:
    begin_at = record.moment("scheduled_at")
    if begin_at is not None and begin_at > now + submission.FAR_SECS:
        notes.add(job_id, "its begin time is more than ten years away: made ten years")
        return now + submission.FAR_SECS
    return begin_at


def _parameters(job_id: JobId, record: Record, notes: Notes) -> Mapping[str, str]:
    given = record.table("parameters")
    values = {name: string(value, f"{record.what}: parameter {name}") for name, value in given.items()}
    kept = {name: value for name, value in values.items() if name.isidentifier() and name.isascii()}
    for name in sorted(values.keys() - kept.keys()):
        notes.add(job_id, f"its parameter {shown(name)} has a name no placeholder can have: left out")
    return kept or NO_PARAMETERS


def _depends_on(job_id: JobId, record: Record, notes: Notes) -> tuple[JobId, ...]:
    """gflow waits for the single dependency of its first versions besides those in the list."""
    listed = record.integers("depends_on_ids") or ()
    single = record.integer("depends_on")
    if single is not None and listed and single not in listed:
        notes.add(job_id, f"waits for job {single}, too, which gflow kept from before an update")
    both = [*listed, *([single] if single is not None else [])]
    return tuple(JobId(dependency) for dependency in dict.fromkeys(both))


# -- its life ----------------------------------------------------------------------------------------------------------


def _life(job_id: JobId, record: Record, spec: JobSpec, around: Surroundings, notes: Notes) -> Job:
    """Times that are missing are those of what is known to have come next to them: no run time is made up."""
    state = record.word("state", _STATES) or State.QUEUED
    submitted_at = record.moment("submitted_at")
    started_at = record.moment("started_at")
    ended_at = record.moment("finished_at")
    if state in _WAITING:
        started_at = None
    elif state is State.RUNNING and started_at is None:
        started_at = around.written_at
    if state not in FINAL:
        ended_at = None
    known = [at for at in (started_at, ended_at, submitted_at, around.now.wall) if at is not None]
    finished_at = max(ended_at if ended_at is not None else known[0], started_at or 0.0)
    spec, gpu_ids = _gpus(job_id, record, spec, state, notes)
    reason, detail = _ending(record, spec, state)
    return Job(
        id=job_id,
        spec=spec,
        run_name=spec.name or generated_name(job_id),
        state=state,
        submitted_at=submitted_at if submitted_at is not None else known[0],
        gpu_ids=gpu_ids,
        started_at=started_at,
        finished_at=finished_at if state in FINAL else None,
        reason=reason,
        detail=detail,
    )


def _gpus(
    job_id: JobId, record: Record, spec: JobSpec, state: State, notes: Notes
) -> tuple[JobSpec, tuple[int, ...] | None]:
    """The GPUs a job has or had. What a running job holds counts, whatever it had asked for."""
    gpu_ids = record.integers("gpu_ids")
    if state in _WAITING:
        return spec, None
    if gpu_ids is not None:
        gpu_ids = tuple(dict.fromkeys(gpu_ids))
    if state is State.RUNNING and len(gpu_ids or ()) != spec.gpus:
        notes.add(job_id, f"asked for {spec.gpus} GPUs and runs on {len(gpu_ids or ())}: the latter counts")
        spec = replace(spec, gpus=len(gpu_ids or ()))
    return spec, gpu_ids


def _ending(record: Record, spec: JobSpec, state: State) -> tuple[Reason | None, str | None]:
    """Reason and detail of a job that has ended; why others wait is found out anew."""
    reason = _reason(record)
    if state is State.TIMEOUT:
        limit = f" of {format_duration(spec.time_limit_secs)}" if spec.time_limit_secs else ""
        return None, f"time limit{limit} reached"
    if state not in FINAL or reason is None or reason.kind not in _ENDINGS:
        return None, None
    return reason, _ENDINGS[reason.kind].format(job=reason.job, text=reason.text)


def _reason(record: Record) -> Reason | None:
    value = record.get("reason")
    what = f"{record.what}: reason"
    if value is None:
        return None
    if isinstance(value, str) and value in _REASONS:
        return Reason(_REASONS[value])
    if isinstance(value, dict) and len(value) == 1:
        [(kind, about)] = value.items()
        if kind == ReasonKind.DEPENDENCY_FAILED.value:
            return Reason(ReasonKind.DEPENDENCY_FAILED, JobId(whole(about, what)))
        if kind == ReasonKind.SYSTEM.value:
            return Reason(ReasonKind.SYSTEM, text=string(about, what))
    raise Odd(f"{what} is {shown(value)}, which is none of gflow's")
