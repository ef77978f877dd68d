"""What has happened to deliveries since the outbox was last written: gathered here, and written at one go.

A delivery that came and went in between is nothing to write, and that is what most of them do. If writing fails, what
came before and what came after become one again.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """How a delivery stands.

    - attempts: so many have failed. next_try: not before this moment, in seconds since the epoch.
    - given_up_at, why: when it was given up, and what the last attempt met; None while it waits.
    """

    attempts: int = 0
    next_try: float = 0.0
    given_up_at: float | None = None
    why: str | None = None


WAITING = Row()
"""A delivery that was not tried yet."""


@dataclass(slots=True)
class Fresh:
    """An event that is in no outbox yet. `payload` is JSON, `targets` are the keys of those it still goes to."""

    name: str
    payload: bytes
    targets: set[str]


@dataclass(slots=True)
class Changes:
    """What is to be written.

    - taken: the number of the last event that was taken over, None if none was.
    - rows: by target and number; None: it was delivered or dropped. standings: by target, see `daemon/standing.py`.
    """

    taken: int | None = None
    events: dict[int, Fresh] = field(default_factory=dict)
    rows: dict[tuple[str, int], Row | None] = field(default_factory=dict)
    standings: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.taken is not None or bool(self.rows) or bool(self.standings)

    def add(self, number: int, name: str, payload: bytes, keys: set[str]) -> None:
        """An event, on its way to the targets with these keys."""
        if keys:
            self.events[number] = Fresh(name, payload, set(keys))
            self.rows |= {(key, number): WAITING for key in keys}

    def put(self, key: str, number: int, row: Row | None) -> None:
        """How a delivery stands now."""
        fresh = self.events.get(number)
        if row is not None or fresh is None or key not in fresh.targets:
            self.rows[key, number] = row
            return
        self.rows.pop((key, number), None)
        fresh.targets.remove(key)
        if not fresh.targets:
            del self.events[number]

    def absorb(self, later: "Changes") -> None:
        """Add what happened after this."""
        self.taken = later.taken if later.taken is not None else self.taken
        self.events |= later.events
        self.standings |= later.standings
        for (key, number), row in later.rows.items():
            self.put(key, number, row)
