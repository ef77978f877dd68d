"""What has happened, in the past tense. Every transition makes exactly one event, with the job as it then was; where
the rest of a group is put on hold, one speaks for all its jobs. GPUs and reservations have events of their own.

Webhooks, `/events` and metrics are readers of this stream. The words are those of the notification settings.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gflow.core.model import Job, State


class EventKind(enum.StrEnum):
    """Names of events, as users subscribe to them."""

    SUBMITTED = "job_submitted"
    """A job was queued, or is born on hold."""
    UPDATED = "job_updated"
    """What a job asks for was changed."""
    STARTED = "job_started"
    """A job has its GPUs and is launched."""
    COMPLETED = "job_completed"
    """A job ended with exit code 0."""
    FAILED = "job_failed"
    """A job ended otherwise, or could not be started."""
    CANCELLED = "job_cancelled"
    """A job was cancelled, by somebody or with a job that it waited for."""
    TIMEOUT = "job_timeout"
    """A job was stopped at its time limit."""
    HELD = "job_held"
    """A job was put on hold."""
    RELEASED = "job_released"
    """A job waits again."""
    GPU_MEMORY_EXCEEDED = "gpu_memory_exceeded"
    """A job that shares GPUs uses more memory than it declared."""
    GPU_IDLE = "gpu_idle"
    """A job leaves its GPUs unused for `daemon.idle_gpu_warn_mins`."""
    GPU_AVAILABLE = "gpu_available"
    """A GPU that could not be given out can be now."""
    RESERVATION_CREATED = "reservation_created"
    """GPUs were reserved."""
    RESERVATION_CANCELLED = "reservation_cancelled"
    """A reservation was taken back."""
    GROUP_COMPLETED = "group_completed"
    """The last job of an array or group ended, retries included."""
    GROUP_HELD = "group_held"
    """So many jobs of a group failed in a row that the rest was put on hold."""
    SCHEDULER_ONLINE = "scheduler_online"
    """The daemon has started."""
    SCHEDULER_DRAINED = "scheduler_drained"
    """No more jobs are started, by `gctl drain`."""
    SCHEDULER_RESUMED = "scheduler_resumed"
    """Jobs are started again, by `gctl resume`."""


OUTCOMES: dict[State, EventKind] = {
    State.FINISHED: EventKind.COMPLETED,
    State.FAILED: EventKind.FAILED,
    State.CANCELLED: EventKind.CANCELLED,
    State.TIMEOUT: EventKind.TIMEOUT,
}
"""The event that tells of each final state."""


NOTHING: Mapping[str, Any] = MappingProxyType({})
"""Shared by all events that say all by their job."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, and when, in seconds since the epoch.

    `job` is the job right after the transition, None where it is no matter of one. `about` has what else there is to
    say, as plain values by name: of a GPU `gpu` (its index) and `uuid`, of a reservation its record, of a group
    `group_id`, `user`, `first_job_id` and `counts` (jobs by state); its `job` is the one that ended last. Of a group
    that is held also `group_name`, `reason`, `failed` (ids) and `held` (how many jobs that are). Of a drain who asked
    for it (`by`) and why (`reason`).
    """

    kind: EventKind
    at: float
    job: Job | None = None
    about: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
