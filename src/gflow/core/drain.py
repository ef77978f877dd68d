"""Draining: nothing new is started, and what runs goes on. It is a setting, so it outlives the daemon."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gflow.core.errors import Malformed
from gflow.core.limits import MAX_DRAIN_REASON

MAX_REASON = MAX_DRAIN_REASON


@dataclass(frozen=True, slots=True)
class Drain:
    """Since when (seconds since the epoch) nothing is started, who wanted that, and why, if it was said."""

    since: float
    by: str
    reason: str | None = None

    @property
    def words(self) -> str:
        """What a job waits for, in a few words."""
        return f"Drained: {self.reason}" if self.reason else "Drained"

    def to_map(self) -> dict[str, Any]:
        """As the state keeps it."""
        return {"since": self.since, "by": self.by, "reason": self.reason}


def drain_from_map(plain: Mapping[str, Any] | None) -> Drain | None:
    """What `to_map` made, None of nothing."""
    return None if plain is None else Drain(plain["since"], plain["by"], plain.get("reason"))


def check_reason(reason: str | None) -> str | None:
    """`reason` without blanks around it, None if it says nothing. Raises Malformed."""
    said = (reason or "").strip()
    if len(said) > MAX_REASON or not said.isprintable():
        raise Malformed(f"A reason to drain is one line of at most {MAX_REASON} characters")
    return said or None
