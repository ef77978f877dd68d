"""The stream of events: a bounded ring that any number of readers follow at their own pace.

Events enter once their transition is on disk. Ids count up without a gap, also over restarts, so a reader that comes
back says what it saw last and is given the rest, or is told that it missed some.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice

import trio

from gflow.core.events import Event

RING_LENGTH = 4096


class Bus:
    """The newest `RING_LENGTH` events."""

    def __init__(self, past: Iterable[tuple[int, Event]] = (), next_id: int = 1) -> None:
        self._ring: deque[tuple[int, Event]] = deque(past, maxlen=RING_LENGTH)
        self._next_id = next_id
        self._more = trio.Event()
        self._stirs = 0
        self.closed = False

    @property
    def last_id(self) -> int:
        """The id of the newest event, 0 if there was none."""
        return self._next_id - 1

    def latest(self, count: int) -> list[tuple[int, Event]]:
        """The newest `count` events, oldest first."""
        return list(self._ring)[-count:]

    def publish(self, events: Iterable[tuple[int, Event]]) -> None:
        """Add events, in order, and wake the readers."""
        for number, event in events:
            self._ring.append((number, event))
            self._next_id = number + 1
        self._wake()

    def stir(self) -> None:
        """Wake the readers without an event: they are to look whether they may still read."""
        self._stirs += 1
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = trio.Event()

    def close(self) -> None:
        """No more will come: readers end."""
        self.closed = True
        self._more.set()

    def since(self, last_seen: int) -> tuple[bool, list[tuple[int, Event]]]:
        """Events after `last_seen`, and whether some before those are gone already."""
        oldest = self._ring[0][0] if self._ring else self._next_id
        return last_seen + 1 < oldest, list(islice(self._ring, max(0, last_seen + 1 - oldest), None))

    async def wait_for_more(self, last_seen: int) -> None:
        """Return when there are events after `last_seen`, the bus is closed, or readers are stirred."""
        stirs = self._stirs
        while not self.closed and self.last_id <= last_seen and self._stirs == stirs:
            await self._more.wait()
