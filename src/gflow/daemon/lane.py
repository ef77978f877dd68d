"""The deliveries to one target: one at a time, in turns of users, and again until it works or is given up.

Of the deliveries that wait only the first are in memory, the window; those beyond it are in the outbox, from where the
keeper feeds the lane. There is a bound to both together, and then the oldest goes of whom most waits.

A target that fails several deliveries in a row is paused: its deliveries stay where they are, and one is tried after
pauses that grow, the oldest first and each time the next one, for it may be that the target chokes on some only. Those
that led to the pause are taken back, for it may not have been their fault; not so programs, and targets that are to
be tried once: there, being told twice may be worse than not at all.
"""

import json
import logging
import math
import random
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Protocol

import trio

from gflow.daemon.pace import Pace
from gflow.daemon.standing import FAILURES_TO_PAUSE, Standing
from gflow.daemon.turns import Turns
from gflow.daemon.wake import Wake
from gflow.notify.base import Delivery, DeliveryFailed, Target
from gflow.notify.changes import Row
from gflow.notify.outbox import START, Stored, Turn

log = logging.getLogger(__name__)

MOST_WAITING = 100_000
"""Deliveries that wait for one target, at most; about 1 kB each, in the outbox."""

WINDOW = 256
"""Deliveries of a lane that are in memory, about; 1 to 2 kB each."""

FIRST_PAUSE_SECS = 1.0
LONGEST_PAUSE_SECS = 30.0
MOST_RETRY_AFTER_SECS = 86400.0
"""A target that asks for a longer pause is tried again all the same."""

PROBES = 10
"""So often a delivery is tried that meets a paused target: it might be its own fault."""


_by_turn = attrgetter("turn")


class Book(Protocol):
    """Where a lane writes down what becomes of its deliveries. `origin` is a part of their ids."""

    @property
    def origin(self) -> str: ...

    def put(self, key: str, number: int, row: Row | None) -> None:
        """How a delivery stands; None: there is nothing more to do about it."""

    def stir(self, *, hungry: bool = False) -> None:
        """There is something to write; `hungry`: and a lane is to be fed."""


class Lane:
    """One target and what waits for it. `limiter` and `pace` are those of all; `wall` tells seconds since the epoch."""

    def __init__(
        self, target: Target, limiter: trio.CapacityLimiter, pace: Pace, book: Book, wall: Callable[[], float]
    ) -> None:
        self.target = target
        self.key = target.key
        self.standing = Standing()
        self.unsaved = False
        self.beyond = 0
        self.cursor: Turn = START
        self.turns = Turns()
        self._limiter = limiter
        self._pace = pace
        self._book = book
        self._wall = wall
        self._window: deque[Stored] = deque()
        self._suspects: list[Stored] = []
        self._unlucky: set[int] = set()
        self._probed: Turn = START
        self._under_way: int | None = None
        self._full = False
        self._closing = False
        self._not_before = -math.inf
        self._wake = Wake()

    # -- what waits ------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Deliveries that wait, the one under way among them."""
        return len(self._window) + self.beyond

    @property
    def window(self) -> list[Stored]:
        """Those in memory, in order."""
        return list(self._window)

    @property
    def room(self) -> int:
        """How many the keeper is to bring, 0 while there are enough."""
        return min(self.beyond, WINDOW - len(self._window)) if len(self._window) <= WINDOW // 2 else 0

    @property
    def excess(self) -> int:
        """How many wait in the outbox that are too many: the keeper looks for the oldest of whom most waits."""
        return min(self.beyond, max(0, self.waiting - MOST_WAITING))

    def add(self, entry: Stored) -> None:
        """The newest event; never waits."""
        while self.waiting >= MOST_WAITING and self._drop_oldest():
            pass
        self.turns.came(entry.owner)
        if entry.turn > self.cursor and (self.beyond or len(self._window) >= WINDOW):
            self.beyond += 1
        else:
            insort(self._window, entry, key=_by_turn)
            self.cursor = max(self.cursor, entry.turn)
        self._wake.set()

    def trim(self) -> None:
        """Leave to the outbox what has become too much, by those whose turn came before."""
        while len(self._window) > 2 * WINDOW and self._window[-1].number != self._under_way:
            self._window.pop()
            self.beyond += 1
            self.cursor = self._window[-1].turn

    def _drop_oldest(self) -> bool:
        """Whether there was one in memory that is not under way; else it has to wait until the keeper looks for it."""
        if not self._full:
            self._full = True
            log.error("%s: %d deliveries wait; from now on the oldest are dropped", self.target.name, self.waiting)
        user = self.turns.most()
        oldest = next((one for one in self._window if one.owner == user and one.number != self._under_way), None)
        if oldest is None:
            return False
        self._window.remove(oldest)
        self._drop(user, oldest.number)
        return True

    def _drop(self, user: str, number: int) -> None:
        self._book.put(self.key, number, None)
        self.turns.left(user)
        self.standing.dropped += 1
        self.unsaved = True

    def drop_beyond(self, user: str, numbers: Iterable[int]) -> None:
        """Those of a user that the keeper has found in the outbox, for there are too many."""
        found = list(numbers)
        for number in found:
            self.beyond -= 1
            self._drop(user, number)
        if not found:
            self.turns.forget(user)

    def feed(self, rows: Iterable[Stored], cursor: Turn) -> None:
        """What was beyond the window, up to `cursor`."""
        brought = list(rows)
        if brought and not self._window:
            rest = min(brought[0].next_try - self._wall(), MOST_RETRY_AFTER_SECS)
            self._not_before = max(self._not_before, trio.current_time() + rest)
        self._window = deque(sorted([*self._window, *brought], key=_by_turn))
        self.beyond = max(0, self.beyond - len(brought))
        self.cursor = max(self.cursor, cursor)
        self._wake.set()

    def found(self, count: int, shares: Mapping[str, tuple[int, int]] = MappingProxyType({})) -> None:
        """So many more wait in the outbox, somewhere among the others. `shares`: of whom, see `Turns.found`."""
        self.turns.found(shares)
        self.beyond += count
        self.cursor = START
        self._wake.set()

    def hurry(self) -> None:
        """Try the next one now."""
        self._not_before = -math.inf
        self._wake.set()

    def forgive(self, number: int) -> None:
        """A delivery that was given up is to be made again, whatever becomes of the target."""
        self._suspects = [suspect for suspect in self._suspects if suspect.number != number]

    def close(self) -> None:
        """Make what can be made at once; `serve` returns when there is only waiting left."""
        self._closing = True
        self._wake.set()

    @property
    def next_try(self) -> float | None:
        """When the next attempt is due, in seconds since the epoch; None if nothing waits."""
        if not self.waiting:
            return None
        return self._wall() + max(0.0, self._not_before - trio.current_time())

    # -- deliveries ------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Deliver until `close`, or cancelled."""
        while (entry := await self._next()) is not None:
            await self._attempt(entry)

    async def _next(self) -> Stored | None:
        """The delivery whose turn it is, once it is; None at the end."""
        while True:
            self._wake.clear()
            due = self._not_before if self._window else math.inf
            if due <= trio.current_time():
                return self._choose()
            if self._closing and (self._window or not self.beyond):
                return None
            with trio.move_on_at(due):
                await self._wake.wait()

    def _choose(self) -> Stored:
        """The first; while the target is paused, the one after the last that was tried."""
        entry = self._window[0]
        if self.standing.paused:
            entry = next((entry for entry in self._window if entry.turn > self._probed), entry)
            self._probed = entry.turn
        self.turns.reached(entry.place)
        return entry

    async def _attempt(self, entry: Stored) -> None:
        self._under_way = entry.number
        try:
            if not self._closing:
                await self._pace.turn(self.waiting)
            async with self._limiter:
                await self.target.deliver(self._delivery(entry))
        except DeliveryFailed as failure:
            self._failed(entry, failure)
        except Exception as error:
            log.exception("%s: a delivery met a bug", self.target.name)
            self._failed(entry, DeliveryFailed(f"{type(error).__name__}: {error}"))
        else:
            self._succeeded(entry)
        finally:
            self._under_way = None
        self.unsaved = True
        self._book.stir(hungry=self.room > 0)

    def _delivery(self, entry: Stored) -> Delivery:
        try:
            payload = json.loads(entry.payload)
        except ValueError:
            raise DeliveryFailed("what was to be sent cannot be read any more", final=True) from None
        delivery_id = f"{entry.number}-{self.key}-{self._book.origin}"
        return Delivery(delivery_id, entry.number, entry.event, payload, entry.attempts + 1)

    def _succeeded(self, entry: Stored) -> None:
        self._lives()
        self.standing.succeeded(self._wall())
        self._not_before = -math.inf
        self._leave(entry, None)

    def _lives(self) -> None:
        """The target answers. Those that failed before go on being tried, but are no sign of its end any more."""
        if self.standing.paused:
            log.warning("%s: it answers again; %d deliveries wait", self.target.name, self.waiting - 1)
            self._unlucky = {entry.number for entry in self._window if entry.attempts}
        self.standing.lives()
        self._suspects.clear()
        self._probed = START

    def _leave(self, entry: Stored, row: Row | None) -> None:
        """One is done with; `row`: what is kept of it."""
        number = entry.number
        self.turns.left(entry.owner)
        self._book.put(self.key, number, row)
        if self._window[0].number == number:
            self._window.popleft()
        else:
            self._window = deque(entry for entry in self._window if entry.number != number)
        self._unlucky.discard(number)
        if self.waiting < MOST_WAITING // 2:
            self._full = False

    def _failed(self, entry: Stored, failure: DeliveryFailed) -> None:
        tried = entry._replace(attempts=entry.attempts + 1)
        self.standing.failed(str(failure), self._wall())
        if failure.target_is_fine:
            self._lives()
        if failure.final or tried.attempts >= self._most_attempts:
            self._give_up(tried, failure)
        else:
            self.standing.retried += 1
            said = logging.DEBUG if self.standing.paused else logging.WARNING
            log.log(said, "%s: event %d, attempt %d: %s", self.target.name, tried.number, tried.attempts, failure)
        place = next((at for at, entry in enumerate(self._window) if entry.number == tried.number), None)
        self._pause(tried.attempts if place is not None else 0, failure.retry_after_secs)
        if place is not None:
            self._again(place, tried)

    @property
    def _patient(self) -> bool:
        """Whether it may be tried more often than was asked for, while the target seems to be dead."""
        return self.target.max_retries > 0 and self.target.kind != "command"

    @property
    def _most_attempts(self) -> int:
        most = 1 + self.target.max_retries
        return max(most, PROBES) if self.standing.paused and self._patient else most

    def _again(self, place: int, tried: Stored) -> None:
        next_try = 0.0 if self.standing.paused else self._wall() + self._not_before - trio.current_time()
        self._window[place] = tried._replace(next_try=next_try)
        self._book.put(self.key, tried.number, Row(tried.attempts, next_try, place=tried.place))

    def _pause(self, attempts: int, asked_secs: float | None) -> None:
        """Before the next attempt, which is of a delivery that was tried so often."""
        if self.standing.paused:
            pause = _jittered(self.standing.pause_secs)
            self.standing.pauses += 1
        else:
            pause = _jittered(min(FIRST_PAUSE_SECS * 2 ** (attempts - 1), LONGEST_PAUSE_SECS)) if attempts else 0.0
        self._not_before = trio.current_time() + max(pause, min(asked_secs or 0.0, MOST_RETRY_AFTER_SECS))

    def _give_up(self, tried: Stored, failure: DeliveryFailed) -> None:
        name, number = self.target.name, tried.number
        log.error("%s: event %d given up after %d attempts: %s", name, number, tried.attempts, failure)
        counts = not failure.target_is_fine and number not in self._unlucky
        self._leave(tried, Row(tried.attempts, 0.0, self._wall(), str(failure), tried.place))
        self.standing.given_up += 1
        self.standing.failed_in_a_row += counts
        if self._patient and not failure.final and not self.standing.paused:
            self._suspects.append(tried)
        if self.standing.failed_in_a_row >= FAILURES_TO_PAUSE and not self.standing.paused:
            self._begin_pauses()

    def _begin_pauses(self) -> None:
        self.standing.pauses = 1
        self.standing.given_up -= len(self._suspects)
        for suspect in self._suspects:
            self._book.put(self.key, suspect.number, Row(suspect.attempts, place=suspect.place))
            self.turns.came(suspect.owner)
        self._window = deque(sorted([*self._suspects, *self._window], key=_by_turn))
        self._suspects.clear()
        log.error(
            "%s: %d deliveries in a row have failed, the last with: %s; it is paused, %d deliveries wait",
            self.target.name,
            self.standing.failed_in_a_row,
            self.standing.last_failure,
            self.waiting,
        )


def _jittered(secs: float) -> float:
    """About so long: not everybody at the same moment."""
    return secs * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
