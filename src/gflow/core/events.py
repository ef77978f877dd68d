"""What has happened, in the past tense. Every transition makes exactly one event, with the job as it then was.

Webhooks, `/events` and metrics are readers of this stream. The words are those of the notification settings.
"""

import enum
from dataclasses import dataclass

from gflow.core.model import Job, State


class EventKind(enum.StrEnum):
    """Names of events, as users subscribe to them."""

    SUBMITTED = "job_submitted"
    UPDATED = "job_updated"
    STARTED = "job_started"
    COMPLETED = "job_completed"
    FAILED = "job_failed"
    CANCELLED = "job_cancelled"
    TIMEOUT = "job_timeout"
    HELD = "job_held"
    RELEASED = "job_released"


OUTCOMES: dict[State, EventKind] = {
    State.FINISHED: EventKind.COMPLETED,
    State.FAILED: EventKind.FAILED,
    State.CANCELLED: EventKind.CANCELLED,
    State.TIMEOUT: EventKind.TIMEOUT,
}
"""The event that tells of each final state."""


@dataclass(frozen=True, slots=True)
class Event:
    """`job` is the job right after the transition; `at` is seconds since the epoch."""

    kind: EventKind
    at: float
    job: Job
