"""Which events a target is told of: those it names, and of those the ones of the users it names."""

from collections.abc import Iterable, Mapping
from typing import Any

from gflow.core.events import EventKind
from gflow.notify.payloads import user_of

ALL = "*"
TEST = "test"
"""What is sent to see whether a target can be reached: everybody gets it who is asked to be tried."""

EVENTS = tuple(kind.value for kind in EventKind)


class Subscription:
    """`events` are names or "*"; `users`, in any case, are whose events count; empty: everybody's.

    What is nobody's, as a GPU's, is not for targets that name users. Raises ValueError for an unknown event.
    """

    def __init__(self, events: Iterable[str], users: Iterable[str] = ()) -> None:
        named = frozenset(name.strip().lower() for name in events)
        unknown = sorted(named.difference(EVENTS, {ALL}))
        if unknown:
            raise ValueError(f"unknown event {unknown[0]!r}: use {', '.join(EVENTS)} or {ALL}")
        self._events = frozenset(EVENTS) if ALL in named else named
        self._users = frozenset(user.strip().casefold() for user in users)

    def wants(self, payload: Mapping[str, Any]) -> bool:
        """Whether a payload is of interest."""
        if payload["event"] == TEST:
            return True
        if payload["event"] not in self._events:
            return False
        user = user_of(payload)
        return not self._users or (user is not None and user.casefold() in self._users)
