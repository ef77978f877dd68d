"""How often each thing has happened since this daemon started, by user: one more reader of the events, for /metrics."""

from collections import Counter
from collections.abc import Mapping

from gflow.core.events import Event, EventKind

MOST_USERS = 1000
"""Users counted by name; the rest are counted together."""

OTHERS = "(others)"


class Tally:
    """Counts of events by kind and user; of events that are nobody's, the user is empty."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[EventKind, str]] = Counter()
        self._users: set[str] = set()

    @property
    def counts(self) -> Mapping[tuple[EventKind, str], int]:
        """What was counted so far."""
        return self._counts

    def count(self, event: Event) -> None:
        """One more has happened."""
        user = event.job.spec.owner if event.job is not None else str(event.about.get("user") or "")
        if user not in self._users and len(self._users) >= MOST_USERS:
            user = OTHERS
        self._users.add(user)
        self._counts[event.kind, user] += 1
