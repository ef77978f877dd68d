"""What has happened to deliveries since the outbox was last written: gathered here, and written at one go.

A delivery that came and went in between is nothing to write, and that is what most of them do. If writing fails, what
came before and what came after become one again; and as nobody knows whether a write that was given up gets done in the
end, what was to be written once is not taken for unwritten any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Row:
    """How a delivery stands.

    - attempts: so many have failed. next_try: not before this moment, in seconds since the epoch.
    - given_up_at, why: when it was given up, and what the last attempt met; None while it waits.
    - place: when its turn is, see `daemon/turns.py`.
    """

    attempts: int = 0
    next_try: float = 0.0
    given_up_at: float | None = None
    why: str | None = None
    place: int = 0


@dataclass(slots=True)
class Fresh:
    """An event that is not in the outbox for certain. `payload` is JSON, `targets` are the keys of those it goes to.

    `owner` is the user it is about, "" if that is nobody. `attempted`: it may be there all the same.
    """

    name: str
    payload: bytes
    targets: set[str]
    owner: str = ""
    attempted: bool = False


@dataclass(slots=True)
class Changes:
    """What is to be written.

    - taken: the number of the last event that was taken over, None if none was.
    - rows: by target and number; None: it was delivered or dropped. standings: by target, see `daemon/standing.py`.
    - facts: by name, see `outbox.py`.
    """

    taken: int | None = None
    events: dict[int, Fresh] = field(default_factory=dict)
    rows: dict[tuple[str, int], Row | None] = field(default_factory=dict)
    standings: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.taken is not None or bool(self.rows) or bool(self.standings) or bool(self.facts)

    def add(self, number: int, name: str, payload: bytes, places: Mapping[str, int], owner: str = "") -> None:
        """An event, on its way to the targets with these keys, at these places."""
        if places:
            self.events[number] = Fresh(name, payload, set(places), owner)
            self.rows |= {(key, number): Row(place=place) for key, place in places.items()}

    def put(self, key: str, number: int, row: Row | None) -> None:
        """How a delivery stands now."""
        self.rows[key, number] = row
        fresh = self.events.get(number)
        if row is not None or fresh is None or key not in fresh.targets:
            return
        if not fresh.attempted:
            del self.rows[key, number]
        fresh.targets.remove(key)
        if not fresh.targets:
            del self.events[number]

    def attempt(self) -> None:
        """All of it is about to be written."""
        for fresh in self.events.values():
            fresh.attempted = True

    def with_later(self, later: "Changes") -> "Changes":
        """This, and what happened after it. A thread may still be reading this, so it stays as it is."""
        taken = later.taken if later.taken is not None else self.taken
        events = {number: replace(fresh, targets=set(fresh.targets)) for number, fresh in self.events.items()}
        standings, facts = self.standings | later.standings, self.facts | later.facts
        joined = Changes(taken, events | later.events, dict(self.rows), standings, facts)
        for (key, number), row in later.rows.items():
            joined.put(key, number, row)
        return joined
