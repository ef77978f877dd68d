"""How it goes with one target: what was counted, what was met last, and whether it is paused.

It is kept in the outbox, as JSON, so that a restart neither counts anew nor forgets that a target has been dead for
days.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

FAILURES_TO_PAUSE = 3
"""A target to which so many deliveries in a row could not be made is paused."""

FIRST_PAUSE_SECS = 30.0
LONGEST_PAUSE_SECS = 300.0
PAUSES_ALIKE = FAILURES_TO_PAUSE + 1
"""So many pauses before they get longer: those that failed have had a turn by then, and so has another one."""


@dataclass(slots=True)
class Standing:
    """Counts of deliveries, moments in seconds since the epoch.

    - delivered, given_up: how they ended. dropped: those that were too many. retried: attempts after a failed one.
    - failed_in_a_row: deliveries given up since one was made. pauses: how many there were since; 0: not paused.
    - last_result: "delivered" or "failed". last_failure: what was met.
    """

    delivered: int = 0
    retried: int = 0
    dropped: int = 0
    given_up: int = 0
    failed_in_a_row: int = 0
    pauses: int = 0
    last_result: str | None = None
    last_result_at: float | None = None
    last_failure: str | None = None
    last_failure_at: float | None = None

    @property
    def paused(self) -> bool:
        """Whether the target is tried now and then only."""
        return self.pauses > 0

    @property
    def pause_secs(self) -> float:
        """How long the present pause is, but for the jitter."""
        doublings = min((self.pauses - 1) // PAUSES_ALIKE, 16)
        return float(min(FIRST_PAUSE_SECS * 2**doublings, LONGEST_PAUSE_SECS))

    def succeeded(self, at: float) -> None:
        """A delivery was made."""
        self.delivered += 1
        self.lives()
        self.last_result, self.last_result_at = "delivered", at

    def lives(self) -> None:
        """The target has answered as it should."""
        self.failed_in_a_row = self.pauses = 0

    def failed(self, why: str, at: float) -> None:
        """An attempt failed."""
        self.last_result, self.last_result_at = "failed", at
        self.last_failure, self.last_failure_at = why, at

    def record(self) -> str:
        """As the outbox keeps it."""
        return json.dumps(asdict(self))


def read(record: str | None) -> Standing:
    """A standing from its record. One that says nothing, or makes no sense, is that of a new target."""
    standing = Standing()
    try:
        known: Any = json.loads(record or "{}")
        for field in fields(standing):
            value = known.get(field.name)
            if type(value) is type(getattr(standing, field.name)) or isinstance(value, _KINDS.get(field.name, ())):
                setattr(standing, field.name, value)
    except (ValueError, AttributeError):
        return Standing()
    return standing


_KINDS: dict[str, type] = {
    "last_result": str,
    "last_result_at": float,
    "last_failure": str,
    "last_failure_at": float,
}
"""What those that may be None are otherwise."""
