"""How a job's end reads: its final state, its reason, and one sentence about it. Pure functions of job and exit."""

from gflow.core.limits import format_duration
from gflow.core.model import Exit, Job, Now, Reason, ReasonKind, State, StopCause

_ENDINGS: dict[StopCause, State] = {
    StopCause.CANCEL: State.CANCELLED,
    StopCause.TIMEOUT: State.TIMEOUT,
    StopCause.FINISH: State.FINISHED,
    StopCause.FAIL: State.FAILED,
    StopCause.LOST: State.FAILED,
    StopCause.MEMORY: State.FAILED,
}
UNASKED = frozenset({StopCause.LEFTOVERS, StopCause.LOST})
"""Stops that follow from the job's own end: they rule out neither a retry nor a cancel."""

_OF_THE_JOB = UNASKED | {StopCause.MEMORY}
"""Stops that nobody has asked for."""


_UNSURE_SECS = 0.1
"""What the moments of starts and ends may be off by: file systems and the process table have coarse clocks."""


def ended_in_time(job: Job, how: Exit, now: Now) -> bool:
    """Whether it was over before its time limit, if the wall clock has had no step since."""
    limit, started = job.spec.time_limit_secs, job.started_boot
    if limit is None or started is None:
        return False
    return now.boot - max(0.0, now.wall - how.at) < started + limit - _UNSURE_SECS


def final_state(job: Job, how: Exit) -> State:
    """What the stop under way says, else what the exit code says."""
    if job.stop is not None and job.stop.cause in _ENDINGS:
        return _ENDINGS[job.stop.cause]
    return State.FINISHED if how.code == 0 else State.FAILED


def final_reason(job: Job, state: State, how: Exit) -> Reason | None:
    """In gflow's words; None where the state says it all."""
    if state is State.CANCELLED:
        return Reason(ReasonKind.CANCELLED)
    stopped = job.stop.text if job.stop is not None and job.stop.cause in (StopCause.LOST, StopCause.MEMORY) else None
    if state is State.FAILED and (text := stopped or how.text) is not None:
        return Reason(ReasonKind.SYSTEM, text=text)
    return None


def detail(job: Job, state: State, how: Exit) -> str | None:
    """What a person is told beyond state and exit code."""
    stop = job.stop
    if state is State.CANCELLED:
        return cancelled(stop.by if stop else None, stop.text if stop else None)
    if stop is not None and stop.text is not None:
        return stop.text
    if state is State.TIMEOUT:
        return f"time limit of {format_duration(job.spec.time_limit_secs or 0)} reached"
    if stop is not None and stop.cause in (StopCause.FINISH, StopCause.FAIL) and stop.by:
        return f"ended as {state.value} by {stop.by}"
    return how.text


def cancelled(by: str | None, why: str | None) -> str:
    """`cancelled by ana: wrong data`, as far as it is known."""
    return (f"cancelled by {by}" if by else "cancelled") + (f": {why}" if why else "")


def retries(job: Job) -> bool:
    """Whether a failure of this job is followed by another attempt."""
    stopped = job.stop is not None and job.stop.cause not in _OF_THE_JOB
    return not stopped and job.spec.restart_count - job.spec.oom_restarts < job.spec.max_retries
