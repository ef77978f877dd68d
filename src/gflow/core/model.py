"""What a job is: the request (`JobSpec`), and its life so far (`Job`).

Both are immutable. A change makes a new `Job`, so whoever holds one (the log writer, the snapshot thread, an API
answer being encoded) holds a consistent view for as long as it likes, without a lock.

Units: `_at` are seconds since the Unix epoch (UTC), `_boot` are seconds of CLOCK_BOOTTIME, `_secs` are seconds,
`_mb` are MiB.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple, NewType

JobId = NewType("JobId", int)


class Now(NamedTuple):
    """One reading of both clocks.

    `wall` (seconds since the epoch) is what people see and what is compared with begin times. `boot` (seconds of
    CLOCK_BOOTTIME) is what durations are measured with: it counts suspends and ignores steps of the wall clock.
    """

    wall: float
    boot: float


class State(enum.StrEnum):
    """The states of a job; the values are gflow's JSON words."""

    QUEUED = "Queued"
    """Waits for its turn, for room, for its begin time or for other jobs."""
    HOLD = "Hold"
    """Waits until somebody releases it."""
    RUNNING = "Running"
    """Has started; also while it is being stopped, until its last process is gone."""
    FINISHED = "Finished"
    """Ended with exit code 0."""
    FAILED = "Failed"
    """Ended otherwise, or could not be started."""
    CANCELLED = "Cancelled"
    """Was cancelled, before its start or while it ran."""
    TIMEOUT = "Timeout"
    """Was stopped at its time limit."""


class DependencyMode(enum.StrEnum):
    """Whether all dependencies must have finished, or one."""

    ALL = "All"
    ANY = "Any"


class ReasonKind(enum.StrEnum):
    """Why a job waits, or ended without having finished; the values are gflow's JSON words."""

    DEPENDENCY = "WaitingForDependency"
    BEGIN_TIME = "WaitingForStartTime"
    RESOURCES = "WaitingForResources"
    GPU = "WaitingForGpu"
    MEMORY = "WaitingForMemory"
    QUOTA = "WaitingForQuota"
    HELD = "JobHeldUser"
    CANCELLED = "CancelledByUser"
    DEPENDENCY_FAILED = "DependencyFailed"
    SYSTEM = "SystemError"


@dataclass(frozen=True, slots=True)
class Reason:
    """`job` goes with DEPENDENCY_FAILED, `text` with SYSTEM."""

    kind: ReasonKind
    job: JobId | None = None
    text: str | None = None


class StopCause(enum.StrEnum):
    """Why a running job is being stopped; it decides the state the job ends in."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    FINISH = "finish"
    FAIL = "fail"
    LEFTOVERS = "leftovers"
    LOST = "lost"
    MEMORY = "memory"


class StopStep(enum.StrEnum):
    """The rungs of the ladder a job is stopped by, mildest first."""

    INTERRUPT = "interrupt"
    TERMINATE = "terminate"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop under way: the last step taken and when (CLOCK_BOOTTIME) the next one is due."""

    cause: StopCause
    step: StopStep
    next_at_boot: float
    by: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class EarlySignal:
    """Signal number to send to a job `secs_before` its time limit (`--signal USR1@120`)."""

    signal: int
    secs_before: float


@dataclass(frozen=True, slots=True)
class Exit:
    """How a job's main process ended.

    `code` is the shell's exit status (128 + n where signal n ended the process) and None if nothing recorded it;
    then `text` says why. `at` is seconds since the epoch. `gpu_memory_ran_out`: its log ends in CUDA having none left.
    `memory_ran_out`: the kernel ended it at its limit of host memory.
    """

    code: int | None
    at: float
    text: str | None = None
    gpu_memory_ran_out: bool = False
    memory_ran_out: bool = False

    @property
    def signal(self) -> int | None:
        """The signal that ended the process, by the shell's convention, else None."""
        return self.code - 128 if self.code is not None and 128 < self.code <= 192 else None


NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})
"""Shared by all jobs that have none; nobody writes to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What was asked for. Exactly one of `command`, `argv` and `script` (with `script_digest`) is set.

    - command: a line for `bash -c`; argv: an exact argument vector.
    - script: the path the user named, for display; script_digest: where the spool keeps its text.
    - script_args: arguments after the script.
    - environment: digest of the captured environment in the spool; None: a minimal one is made.
    - umask: of the submitter, None when unknown.
    - depends_on: ids this job waits for; empty when it has none. after_end: any end of theirs will do.
    - task_id: index in an array. group_id: the jobs that share a `Group`; group_name: what its owner calls it.
    - key: which cell of its group this job is; `Sweeps` keeps a cell from being submitted twice.
    - begin_at: not before this moment.
    - gpu_indices: the very GPUs asked for, ascending; `gpus` is then how many they are. Empty: any.
    - gpu_memory_mb: with `shared`, what the job uses of each GPU; else how large each GPU must be.
    - memory_mb, cpus: what it may have of the machine's memory and processors; None: it was not said.
    - retried_from: the failed attempt this job repeats; restart_count: how many attempts came before.
    - retry_on_oom: try again with more GPU memory after CUDA ran out of it; oom_restarts: how often that was done.
    - notify_emails: who is sent mail about this job; notify_on: names of the events it is about.
    - submit_key: made by the client; the same owner and key always name the same job.
    - uid: the user id the kernel named at submission, where one daemon serves several users; None elsewhere.
    """

    owner: str
    run_dir: str
    command: str | None = None
    argv: tuple[str, ...] | None = None
    script: str | None = None
    script_digest: str | None = None
    script_args: tuple[str, ...] = ()
    environment: str | None = None
    umask: int | None = None
    name: str | None = None
    project: str | None = None
    conda_env: str | None = None
    gpus: int = 0
    gpu_indices: tuple[int, ...] = ()
    shared: bool = False
    gpu_memory_mb: int | None = None
    memory_mb: int | None = None
    cpus: int | None = None
    priority: int = 10
    depends_on: tuple[JobId, ...] = ()
    dependency_mode: DependencyMode | None = None
    auto_cancel: bool = True
    after_end: bool = False
    task_id: int | None = None
    group_id: str | None = None
    group_name: str | None = None
    key: str | None = None
    parameters: Mapping[str, str] = field(default_factory=lambda: NO_PARAMETERS)
    time_limit_secs: float | None = None
    early_signal: EarlySignal | None = None
    max_retries: int = 0
    restart_count: int = 0
    retry_on_oom: bool = False
    oom_restarts: int = 0
    redone_from: JobId | None = None
    retried_from: JobId | None = None
    auto_close: bool = False
    keep_session: bool = False
    begin_at: float | None = None
    notify_emails: tuple[str, ...] = ()
    notify_on: tuple[str, ...] = ()
    submit_key: str | None = None
    uid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """What was measured on a job's GPUs while it ran.

    - samples: how many readings. mean_pct, peak_pct: utilisation, averaged over its GPUs, None if none was told.
    - peak_mb: the most its processes held on one GPU, None if none was told.
    """

    samples: int = 0
    mean_pct: float | None = None
    peak_pct: float | None = None
    peak_mb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job and its life so far.

    - run_id: names one launch, from the decision to launch on; a new launch of the same job gets a new one.
    - started_boot: None until the first instruction is known to have run; time limits count from it.
    - retried_as: the attempt that took this failed job's place; its dependents follow it.
    - redone_as: the job that was made of it last, after it had ended, because somebody asked for that.
    - detail: one sentence for a person about how it ended, None when there is nothing to add.
    - signalled: the early signal has been sent.
    - gpu_use: what was measured on its GPUs. gpu_share_mb: what it counts for on each shared GPU, once it was seen to
      use more than it had declared.
    - planned_for: the start that this waiting job was planned for first. bypassed_at: when the first job from behind
      was started on GPUs or memory that this one waits for. With either it is before others of its priority.
    """

    id: JobId
    spec: JobSpec
    run_name: str
    state: State
    submitted_at: float
    reason: Reason | None = None
    gpu_ids: tuple[int, ...] | None = None
    run_id: str | None = None
    started_at: float | None = None
    started_boot: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    detail: str | None = None
    stop: Stop | None = None
    signalled: bool = False
    retried_as: JobId | None = None
    redone_as: JobId | None = None
    gpu_use: GpuUse | None = None
    gpu_share_mb: int | None = None
    planned_for: float | None = None
    bypassed_at: float | None = None

    @property
    def signal(self) -> int | None:
        """The signal that ended the job, by the shell's convention, else None."""
        return Exit(self.exit_code, 0.0).signal

    def with_spec(self, **changes: object) -> "Job":
        """This job with fields of its specification replaced."""
        return replace(self, spec=replace(self.spec, **changes))  # type: ignore[arg-type]


class Failure(NamedTuple):
    """A job of a group that failed: its first attempt, when it ended (seconds since the epoch), how long it had run."""

    task: JobId
    at: float
    ran_secs: float


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs that belong together; at most `max_concurrent` of them run at once (None: no limit).

    - hold_after: the rest is put on hold once so many of them failed one after another. None: never.
    - failures: the latest of those that failed in a row. held: why the rest is on hold, a sentence; None if it is not.
    """

    id: str
    max_concurrent: int | None = None
    hold_after: int | None = None
    failures: tuple[Failure, ...] = ()
    held: str | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device as the probe reports it. `simulated` ones exist on paper only and are marked wherever shown."""

    index: int
    uuid: str
    name: str = ""
    memory_mb: int | None = None
    simulated: bool = False


class GpuProcessId(NamedTuple):
    """A process for good: ids are used again, an id with a start time is not.

    `start_ticks`: clock ticks since boot, 0 if the process cannot be looked at.
    """

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuStatus:
    """What the probe saw of one device.

    - used_mb, utilisation_pct: None if the driver does not tell.
    - fault: why no job can be put on it, in a few words.
    - foreign: processes that compute on it and belong to no job of ours.
    - job_mb: for each running job with processes on it what they hold there, None if that cannot be told.
    """

    used_mb: int | None = None
    utilisation_pct: int | None = None
    fault: str | None = None
    foreign: tuple[GpuProcessId, ...] = ()
    job_mb: Mapping[JobId, int | None] = field(default_factory=dict)
