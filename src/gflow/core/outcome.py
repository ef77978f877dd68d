"""What one step of the engine changed, said and wants done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gflow.core.effects import Effect
from gflow.core.events import NOTHING, Event, EventKind
from gflow.core.model import Group, Job, JobId


@dataclass(slots=True)
class Outcome:
    """All of it belongs together: it is written to the log as one record, or not at all.

    `jobs` and `groups` hold the newest version of everything that changed; `events` and `effects` are in order.
    `retired` has the jobs that are no longer among those at hand. `settings` are values by key; None removes the key.
    """

    jobs: dict[JobId, Job] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    retired: list[JobId] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.jobs or self.groups or self.events or self.effects or self.retired or self.settings)

    def tell(self, kind: EventKind, job: Job | None, at: float, about: Mapping[str, Any] = NOTHING) -> None:
        """Add an event."""
        self.events.append(Event(kind, at, job, about))
