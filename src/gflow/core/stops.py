"""The ladder a running job is stopped by: Ctrl-C, then SIGTERM, then SIGKILL until nothing is left.

Pure: given a stop and the time, the next stop and what to do now. Times are CLOCK_BOOTTIME, so suspends count and
steps of the wall clock do not.
"""

import signal
from dataclasses import replace

from gflow.core.effects import Effect, Interrupt, SendSignal
from gflow.core.model import Job, Now, Stop, StopCause, StopStep

DEFAULT_GRACE_SECS = 10.0
"""From Ctrl-C to SIGTERM."""

TERM_GRACE_SECS = 5.0
"""From SIGTERM to SIGKILL."""

KILL_REPEAT_SECS = 1.0
"""Processes born while others were being killed get the next one."""


def begin(cause: StopCause, now_boot: float, grace_secs: float, by: str | None = None, text: str | None = None) -> Stop:
    """The first rung. What outlives its main process is not asked politely twice: it starts at SIGTERM. What eats up
    the machine's memory is not asked at all: while it tidied up it would go on."""
    if cause is StopCause.MEMORY:
        return Stop(cause, StopStep.KILL, now_boot + KILL_REPEAT_SECS, by, text)
    if cause in (StopCause.LEFTOVERS, StopCause.LOST):
        return Stop(cause, StopStep.TERMINATE, now_boot + TERM_GRACE_SECS, by, text)
    return Stop(cause, StopStep.INTERRUPT, now_boot + grace_secs, by, text)


def climb(stop: Stop, now_boot: float) -> Stop:
    """The next rung, when the present one is due."""
    if stop.step is StopStep.INTERRUPT:
        return replace(stop, step=StopStep.TERMINATE, next_at_boot=now_boot + TERM_GRACE_SECS)
    return replace(stop, step=StopStep.KILL, next_at_boot=now_boot + KILL_REPEAT_SECS)


def action(job: Job, stop: Stop) -> Effect:
    """What a rung asks the launcher to do."""
    match stop.step:
        case StopStep.INTERRUPT:
            return Interrupt(job)
        case StopStep.TERMINATE:
            return SendSignal(job, signal.SIGTERM)
        case StopStep.KILL:
            return SendSignal(job, signal.SIGKILL)


def due_boot(job: Job) -> float | None:
    """When something must be done about a running job: a rung, the early signal, or the limit itself."""
    if job.stop is not None:
        return job.stop.next_at_boot
    limit, started = job.spec.time_limit_secs, job.started_boot
    if limit is None or started is None:
        return None
    early = job.spec.early_signal
    if early is not None and not job.signalled:
        return started + max(0.0, limit - early.secs_before)
    return started + limit


def killed_boot(stop: Stop) -> float:
    """When the last rung of a stop is reached, in CLOCK_BOOTTIME."""
    return stop.next_at_boot + (TERM_GRACE_SECS if stop.step is StopStep.INTERRUPT else 0.0)


def elapsed_secs(job: Job, now: Now) -> float | None:
    """How long the job has run, or ran; None if it never started.

    A running job is measured by CLOCK_BOOTTIME, so a step of the wall clock does not show.
    """
    if job.started_at is None:
        return None
    if job.finished_at is not None:
        return max(0.0, job.finished_at - job.started_at)
    if job.started_boot is not None:
        return max(0.0, now.boot - job.started_boot)
    return max(0.0, now.wall - job.started_at)


def signal_name(number: int) -> str:
    """`SIGINT` for 2; a number without a name as `SIG64`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
