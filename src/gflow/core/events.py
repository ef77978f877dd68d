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
    UPDATED = "job_updated"
    STARTED = "job_started"
    COMPLETED = "job_completed"
    FAILED = "job_failed"
    CANCELLED = "job_cancelled"
    TIMEOUT = "job_timeout"
    HELD = "job_held"
    RELEASED = "job_released"
    GPU_MEMORY_EXCEEDED = "gpu_memory_exceeded"
    GPU_IDLE = "gpu_idle"
    GPU_AVAILABLE = "gpu_available"
    RESERVATION_CREATED = "reservation_created"
    RESERVATION_CANCELLED = "reservation_cancelled"
    GROUP_COMPLETED = "group_completed"
    GROUP_HELD = "group_held"
    SCHEDULER_ONLINE = "scheduler_online"
    SCHEDULER_DRAINED = "scheduler_drained"
    SCHEDULER_RESUMED = "scheduler_resumed"


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
