"""What the daemon is to do, in the imperative. The core asks; only the daemon acts, and only once the state that led
to the request is on disk."""

from dataclasses import dataclass

from gflow.core.model import Job


@dataclass(frozen=True, slots=True)
class Launch:
    """Start the job's session under its `run_id`."""

    job: Job


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Type Ctrl-C at the job's terminal."""

    job: Job


@dataclass(frozen=True, slots=True)
class SendSignal:
    """Send `signal` to every process of the job."""

    job: Job
    signal: int


Effect = Launch | Interrupt | SendSignal
