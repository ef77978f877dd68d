"""Keeps the outbox: writes what became of deliveries, and feeds the lanes from it. All of it in a thread.

What changes while one batch is written is the next batch. While the outbox cannot be written, or the disk does not
answer, deliveries go on from memory: lanes are fed from what is still to be written, and it is tried again now and
then.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from heapq import nsmallest
from typing import TypeVar, TypeVarTuple

import trio

from gflow.daemon.lane import Lane
from gflow.daemon.wake import Wake
from gflow.notify.changes import Changes, Fresh, Row
from gflow.notify.outbox import START, GivenUp, Outbox, OutboxDamaged, OutboxError, Stock, Stored

log = logging.getLogger(__name__)

GATHER_SECS = 0.1
"""Between two batches: most deliveries have come and gone by then, and are nothing to write."""

MOST_GATHERED = 250
"""So many events do not wait any longer to be written."""

SURE_EVERY = 500
"""After so many events what was written is synced, too: until then the state keeps them, for the power may fail."""

ANSWER_SECS = 10.0
"""A disk that does not answer in this time counts as one that fails."""

FIRST_PAUSE_SECS = 1.0
LONGEST_PAUSE_SECS = 60.0

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Keeper:
    """Between the lanes and the outbox. `wall` tells seconds since the epoch.

    `stocked` is called with what the outbox holds, as soon as it can be read: at the start, if all is well.
    `sure` is the last event that is in the outbox for certain, with all before it.
    """

    def __init__(self, outbox: Outbox, wall: Callable[[], float], stocked: Callable[[Stock], None]) -> None:
        self.outbox = outbox
        self.lanes: Sequence[Lane] = ()
        self.trouble: str | None = None
        self._wall = wall
        self._stocked = stocked
        self._changes = Changes()
        self._taken = 0
        self.sure = 0
        self._open = False
        self._wake, self._many = Wake(), Wake()
        self._turn = trio.Lock()
        self._threads = trio.CapacityLimiter(1)
        self._pause_secs = FIRST_PAUSE_SECS
        self._not_before = -math.inf

    # -- for the pool and its lanes --------------------------------------------------------------------------------

    def add(self, number: int, name: str, payload: bytes, places: Mapping[str, int], owner: str) -> None:
        """An event that was taken over, and the targets it goes to, at these places."""
        self._changes.add(number, name, payload, places, owner)
        self.took(number)
        if len(self._changes.events) >= MOST_GATHERED:
            self._many.set()

    def took(self, number: int) -> None:
        """All events up to this one were taken over."""
        self._changes.taken = self._taken = max(number, self._taken)
        self._wake.set()

    def note(self, name: str, value: str) -> None:
        """A fact to keep."""
        self._changes.facts[name] = value
        self._wake.set()

    @property
    def origin(self) -> str:
        """What tells the deliveries of this outbox from those of others."""
        return self.outbox.origin

    def put(self, key: str, number: int, row: Row | None) -> None:
        """How a delivery stands; None: there is nothing more to do about it."""
        self._changes.put(key, number, row)
        self._wake.set()

    def stir(self, *, hungry: bool = False) -> None:
        """There is something to write; `hungry`: and a lane is to be fed, which does not wait."""
        self._wake.set()
        if hungry and self.trouble is None:
            self._many.set()

    async def given_up(self, most: int) -> list[GivenUp]:
        """The last deliveries that were given up. Raises OutboxError."""
        async with self._turn:
            await self._flush_or_raise()
            return await self._in_thread(self.outbox.given_up, most)

    async def take_back(self, lane: Lane, number: int) -> bool | None:
        """As `Outbox.take_back`; the lane is told. Raises OutboxError."""
        with trio.CancelScope(shield=True):  # each wait for the disk has an end
            async with self._turn:
                await self._flush_or_raise()
                taken_back = await self._in_thread(self.outbox.take_back, lane.key, number)
                if taken_back:
                    lane.forgive(number)
                    lane.found(1)
                    self._wake.set()
        return taken_back

    async def _flush_or_raise(self) -> None:
        if not await self._flush(at_once=True):
            raise OutboxError(self.trouble or f"{self.outbox.path}: it cannot be written now")

    # -- life ------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Look at the outbox; what is wrong with it is said, and keeps nobody from going on."""
        async with self._turn:
            await self._flush(at_once=True)

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            self._wake.clear()
            self._many.clear()
            async with self._turn:
                await self._step()
            with trio.move_on_at(self._not_before if self.trouble is not None else math.inf):
                await self._wake.wait()
            with trio.move_on_after(GATHER_SECS):
                await self._many.wait()

    async def close(self) -> None:
        """Write what is left, and give the file back."""
        async with self._turn:
            await self._flush(at_once=True)
            try:
                await self._in_thread(self.outbox.close)
            except OutboxError as error:
                log.warning("%s", error)

    async def _step(self) -> None:
        written = await self._flush()
        for lane in self.lanes:
            if written:
                lane.trim()
                await self._relieve(lane)
            while lane.room:
                if not await self._feed(lane, written):
                    break

    # -- writing ---------------------------------------------------------------------------------------------------

    async def _flush(self, *, at_once: bool = False) -> bool:
        """Whether everything until now is in the outbox."""
        if trio.current_time() < self._not_before and not at_once:
            return False
        try:
            await self._look()
            await self._write()
        except OutboxDamaged as error:
            return await self._start_anew(error)
        except OutboxError as error:
            self._failed(error)
            return False
        self._recovered()
        return True

    async def _look(self) -> None:
        if not self._open:
            keys = frozenset(lane.key for lane in self.lanes)
            stock = await self._in_thread(self.outbox.stock, keys, self._wall())
            self._open = True
            self._stocked(stock)

    async def _write(self) -> None:
        for lane in self.lanes:
            if lane.unsaved:
                lane.unsaved = False
                self._changes.standings[lane.key] = lane.standing.record()
        if not self._changes:
            return
        batch, self._changes = self._changes, Changes()
        batch.attempt()
        sure = batch.taken if (batch.taken or 0) - self.sure >= SURE_EVERY else None
        written = False
        try:
            await self._in_thread(self.outbox.save, batch, sure is not None)
            written = True
            self.sure = sure or self.sure
        finally:
            if not written:
                self._changes = batch.with_later(self._changes)

    async def _start_anew(self, error: OutboxDamaged) -> bool:
        """With a new outbox, and all that is in memory."""
        try:
            aside = await self._in_thread(self.outbox.set_aside, self._wall())
        except OutboxError as worse:
            self._failed(worse)
            return False
        lost = sum(self._save_again(lane) for lane in self.lanes) if self._open else 0
        if self._open:
            self.took(self._taken)
        count = f"{lost} deliveries" if self._open else "the deliveries"
        log.error("%s; it was set aside as %s, and %s that were only in it are lost", error, aside, count)
        try:
            await self._look()
            await self._write()
        except OutboxError as worse:
            self._failed(worse)
            return False
        return True

    def _save_again(self, lane: Lane) -> int:
        """Let all of a lane be written that is in memory; how many were not."""
        changes = self._changes
        known = sum(lane.key in fresh.targets for fresh in changes.events.values())
        for entry in lane.window:
            fresh = changes.events.setdefault(entry.number, Fresh(entry.event, entry.payload, set(), entry.owner))
            known += lane.key not in fresh.targets
            fresh.targets.add(lane.key)
            changes.rows[lane.key, entry.number] = Row(entry.attempts, entry.next_try, place=entry.place)
        lost = lane.waiting - known
        lane.unsaved = True
        lane.beyond = known - len(lane.window)
        return max(0, lost)

    def _failed(self, error: OutboxError) -> None:
        if self.trouble is None:
            log.error("%s; deliveries go on from memory, and would not outlive the daemon", error)
        self.trouble = str(error)
        self._not_before = trio.current_time() + self._pause_secs
        self._pause_secs = min(2 * self._pause_secs, LONGEST_PAUSE_SECS)

    def _recovered(self) -> None:
        if self.trouble is not None:
            log.warning("%s: it can be written again", self.outbox.path)
        self.trouble = None
        self._pause_secs = FIRST_PAUSE_SECS
        self._not_before = -math.inf

    async def _in_thread(self, work: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        with trio.move_on_after(ANSWER_SECS):
            return await trio.to_thread.run_sync(work, *args, abandon_on_cancel=True, limiter=self._threads)
        raise OutboxError(f"{self.outbox.path}: the disk does not answer")

    # -- feeding ---------------------------------------------------------------------------------------------------

    async def _feed(self, lane: Lane, written: bool) -> bool:
        """Whether the lane was brought anything."""
        most, before = lane.room, lane.beyond
        if written:
            try:
                rows = await self._in_thread(self.outbox.waiting, lane.key, lane.cursor, self._in_memory(lane), most)
            except OutboxDamaged as error:
                return await self._start_anew(error)
            except OutboxError as error:
                self._failed(error)
                return False
            if rows:  # and those that have come meanwhile, and whose turn is among theirs
                late = [one for one in self._pending(lane, len(self._changes.events)) if one.turn < rows[-1].turn]
                lane.feed([*rows, *late], rows[-1].turn)
            elif lane.cursor > START:
                lane.found(0)  # some lie before others that are done already: look from the beginning
            elif lane.beyond == before and not self._pending(lane, 1):
                log.warning("%s: %d deliveries are not in the outbox any more", lane.target.name, lane.beyond)
                lane.beyond = 0
            else:
                return False
            return True
        rows = self._pending(lane, most)
        lane.feed(rows, START)
        return bool(rows)

    def _in_memory(self, lane: Lane) -> list[int]:
        """What is not to be brought: the lane has it, or is done with it."""
        changed = [number for key, number in self._changes.rows if key == lane.key]
        return [*changed, *(entry.number for entry in lane.window)]

    def _pending(self, lane: Lane, most: int) -> list[Stored]:
        """What waits beyond the window and is still to be written, in order."""
        window = {entry.number for entry in lane.window}
        found = []
        for number, fresh in self._changes.events.items():
            row = self._changes.rows.get((lane.key, number))
            if lane.key in fresh.targets and number not in window and row is not None and row.given_up_at is None:
                attempts, next_try = row.attempts, row.next_try
                found.append(Stored(number, fresh.name, fresh.payload, attempts, next_try, row.place, fresh.owner))
        return nsmallest(most, found, key=lambda one: one.turn)

    async def _relieve(self, lane: Lane) -> None:
        """Drop what is too much, of whom most waits."""
        while most := lane.excess:
            user = lane.turns.most()
            try:
                work = self.outbox.oldest_of
                numbers = await self._in_thread(work, lane.key, user, self._in_memory(lane), min(most, MOST_GATHERED))
            except OutboxError as error:
                self._failed(error)
                return
            lane.drop_beyond(user, numbers)
            if not numbers:
                return
