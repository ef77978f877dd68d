"""The delivery pool: tells the outside what happened, without ever holding up a job.

Each target has a lane of its own, so order holds per target and a dead target delays no other. A limit across all
targets is held only around an attempt, never while one waits to try again. What is undelivered is in the outbox, so
that a restart loses nothing; events that are on disk, but that the outbox does not know of, are taken over again.
"""

import json
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio

from gflow.core.errors import NotFound, Unavailable, WrongState
from gflow.core.events import Event
from gflow.daemon.keeper import Keeper
from gflow.daemon.lane import Lane
from gflow.daemon.pace import Pace
from gflow.daemon.standing import Standing, read
from gflow.notify.base import Delivery, DeliveryFailed, Target
from gflow.notify.outbox import Outbox, OutboxError, Stock, Stored, new_origin
from gflow.store.recovery.opening import EVENTS_STEP

log = logging.getLogger(__name__)

FLUSH_SECS = 3.0
"""What writing the rest to the outbox gets at the end."""

TEST_SECS = 30.0
"""What somebody who tries out a target waits for it, its turn included."""

SHOWN_GIVEN_UP = 100

LONG_QUEUE = 8_000
"""A lane in which more wait does not keep apart for the sake of launches any longer."""

MOST_UNTOLD = 200_000
"""While the outbox cannot be written so many events are kept for it in the state; earlier ones a crash would lose."""


class WebhookPool:
    """Delivers to all targets, at most `max_concurrent` attempts at once.

    - payload: makes what is told of an event. test_payload: what is told when nothing has happened.
    - past: events before this life that the outbox may not have, with their ids, oldest first.
      next_event_id: what comes after them.
    - wall: seconds since the epoch. launching: whether jobs are being launched.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        max_concurrent: int,
        outbox: Outbox,
        *,
        payload: Callable[[Event], Mapping[str, Any]],
        test_payload: Callable[[], Mapping[str, Any]],
        past: Sequence[tuple[int, Event]],
        next_event_id: int,
        wall: Callable[[], float],
        launching: Callable[[], bool],
    ) -> None:
        self.drained = trio.Event()
        self.lost = 0
        self._limiter = trio.CapacityLimiter(max_concurrent)
        self._outbox = outbox
        self._payload = payload
        self._test_payload = test_payload
        self._past = past
        self._next_event_id = next_event_id
        self._wall = wall
        self._closing = trio.Event()
        self._keeper = Keeper(outbox, wall, self._take_stock)
        self._pace = Pace(launching, LONG_QUEUE)
        self._lanes = {target.key: Lane(target, self._limiter, self._pace, self._keeper, wall) for target in targets}
        self._keeper.lanes = tuple(self._lanes.values())
        self._early: list[tuple[int, Event]] | None = []
        self._untold: deque[tuple[int, Event]] = deque(past if targets else (), maxlen=MOST_UNTOLD)

    # -- events ----------------------------------------------------------------------------------------------------

    def offer(self, number: int, event: Event) -> None:
        """Queue an event for every target that wants it; never waits, never raises.

        After `drain` nothing is taken: the next daemon takes it over.
        """
        if not self._lanes:
            return
        self._untold.append((number, event))
        self._trim()
        if self._closing.is_set():
            return
        if self._early is not None:
            self._early.append((number, event))
        else:
            self._take(number, event)

    def untold(self) -> list[tuple[int, Event]]:
        """The events that may not be in the outbox, with their ids: a snapshot has to keep them."""
        self._trim()
        return list(self._untold)

    def _trim(self) -> None:
        while self._untold and self._untold[0][0] <= self._keeper.sure:
            self._untold.popleft()

    def _take(self, number: int, event: Event) -> None:
        try:
            payload = self._payload(event)
            keys = [key for key, lane in self._lanes.items() if lane.target.wants(payload)]
            content = json.dumps(payload).encode()
        except Exception:
            log.exception("event %d cannot be told", number)
            self._keeper.took(number)
            return
        name, owner = str(event.kind), _owner(event)
        places = {key: self._lanes[key].turns.place(owner) for key in keys}
        self._keeper.add(number, name, content, places, owner)
        for key, place in places.items():
            self._lanes[key].add(Stored(number, name, content, 0, 0.0, place, owner))

    def _take_stock(self, stock: Stock) -> None:
        """The outbox says where it is: what waits in it goes first, then what it has missed."""
        for key, lane in self._lanes.items():
            if lane.standing == Standing():  # else the outbox is late, and has older news than we
                lane.standing = read(stock.standings.get(key))
            if count := stock.waiting.get(key, 0):
                lane.found(count, stock.shares.get(key, {}))
        if stock.set_aside:
            what = "%d deliveries to targets that are not configured any more are given up; 'gctl webhooks' lists them"
            log.warning(what, stock.set_aside)
        self.lost = stock.lost
        newest = self._next_event_id - 1
        if stock.taken is None:
            self._keeper.took(newest)
        elif stock.taken > newest:
            log.warning("%s is ahead of the state: numbers of events are used again", self._outbox.path)
            self._outbox.origin = new_origin()
            self._keeper.note("origin", self._outbox.origin)
            self._keeper.sure = 0
            self._keeper.took(newest)
        else:
            self._take_over(stock.taken, newest)

    def _take_over(self, taken: int, newest: int) -> None:
        missed = [(number, event) for number, event in self._past if taken < number <= newest]
        self._count_lost(newest - taken - len(missed), taken + 1)
        if missed:
            log.warning("%d events are taken over that the outbox has not got from the daemon before", len(missed))
        for number, event in missed:
            self._take(number, event)

    def _count_lost(self, lost: int, first: int) -> None:
        if lost >= EVENTS_STEP // 2:
            log.warning("the state was put back or mended: whether events before that were told is not known")
        elif lost:
            log.error("%d events, from %d on, were not told to anybody: nothing is known of them any more", lost, first)
            self.lost += lost
            self._keeper.note("lost", str(self.lost))

    # -- life ------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `drain` has let everything be delivered that could be at once, or cancelled."""
        try:
            if self._lanes:
                await self._serve(task_status)
            else:
                await self._stay_away()
                task_status.started()
                await self._closing.wait()
        finally:
            self.drained.set()

    async def _stay_away(self) -> None:
        """Nobody is told of anything, and nobody will be told later of what happens meanwhile."""
        if await trio.Path(self._outbox.path).exists():
            try:
                await trio.to_thread.run_sync(self._outbox.forget_taken, abandon_on_cancel=True)
                await trio.to_thread.run_sync(self._outbox.close, abandon_on_cancel=True)
            except OutboxError as error:
                log.warning("%s", error)

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        await self._keeper.open()
        early, self._early = self._early or [], None
        for number, event in early:
            self._take(number, event)
        try:
            async with trio.open_nursery() as keeping:
                keeping.start_soon(self._keeper.run)
                async with trio.open_nursery() as nursery:
                    for lane in self._lanes.values():
                        nursery.start_soon(lane.serve)
                    task_status.started()
                    await self._closing.wait()
                keeping.cancel_scope.cancel()
        finally:
            await self._end()

    async def _end(self) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + FLUSH_SECS):
            await self._keeper.close()
            for lane in self._lanes.values():
                await lane.target.aclose()

    def drain(self) -> None:
        """Take no more; `run` returns, and `drained` is set, once nothing is left that can be delivered at once."""
        self._closing.set()
        for lane in self._lanes.values():
            lane.close()

    # -- for the API -----------------------------------------------------------------------------------------------

    @property
    def sends_mail(self) -> bool:
        """Whether jobs can have somebody mailed: the first that sends mail does that."""
        return any(lane.target.kind == "email" for lane in self._lanes.values())

    def unmailed(self, addresses: Sequence[str]) -> list[str]:
        """Those that jobs may not have written to; that is for the administrator to say."""
        targets = [lane.target for lane in self._lanes.values() if lane.target.kind == "email"]
        return [address for address in addresses if not any(target.may_write_to(address) for target in targets)]

    def status(self) -> dict[str, Any]:
        """How it goes with every target; moments in seconds since the epoch."""
        return {
            "enabled": bool(self._lanes),
            "max_concurrent_deliveries": int(self._limiter.total_tokens),
            "outbox": str(self._outbox.path),
            "outbox_trouble": self._keeper.trouble,
            "events_lost": self.lost,
            "targets": [_status(lane) for lane in self._lanes.values()],
        }

    async def given_up(self) -> list[dict[str, Any]]:
        """The last deliveries that were given up, the latest first; none while the outbox cannot be read."""
        if not self._lanes:
            return []
        try:
            found = await self._keeper.given_up(SHOWN_GIVEN_UP)
        except OutboxError:
            return []
        return [
            {
                "id": f"{one.number}-{one.target}-{self._keeper.origin}",
                "target": self._lanes[one.target].target.name if one.target in self._lanes else one.target,
                "event": one.event,
                "attempts": one.attempts,
                "at": one.at,
                "why": one.why,
            }
            for one in found
        ]

    async def redeliver(self, delivery_id: str) -> dict[str, Any]:
        """Let a delivery that was given up be made after all. Raises NotFound, WrongState, Unavailable."""
        number, _, rest = delivery_id.partition("-")
        key, _, origin = rest.rpartition("-")
        digits = number.isascii() and number.isdigit() and len(number) < 19
        if not (digits and key and origin == self._keeper.origin):
            raise NotFound(f"There is no delivery '{delivery_id}'; 'gctl webhooks' lists those that were given up")
        lane = self._lanes.get(key)
        if lane is None:
            raise NotFound(f"Delivery {delivery_id} is for a target that is not configured any more")
        try:
            was_given_up = await self._keeper.take_back(lane, int(number))
        except OutboxError as error:
            raise Unavailable(f"The outbox cannot be read: {error}") from error
        if was_given_up is None:
            raise NotFound(f"Delivery {delivery_id} was made, or was given up too long ago, or never was")
        if not was_given_up:
            raise WrongState(f"Delivery {delivery_id} has not been given up: it waits for its turn")
        return {"id": delivery_id, "target": lane.target.name}

    async def test(self, name: str | None) -> list[dict[str, Any]]:
        """Try each target, or those called so, once and now; how that went. Raises NotFound."""
        lanes = [lane for lane in self._lanes.values() if name is None or _is_called(lane.target, name)]
        if not lanes:
            known = ", ".join(lane.target.name for lane in self._lanes.values())
            what = f"There is no target '{name}'" if name is not None else "There is no target to test"
            raise NotFound(f"{what}; " + (f"targets: {known}" if known else "notifications are off, or none is set"))
        results: dict[str, dict[str, Any]] = {}
        async with trio.open_nursery() as nursery:
            for lane in lanes:
                nursery.start_soon(self._test_in_time, lane, results)
        return [results[lane.key] for lane in lanes]

    async def _test_in_time(self, lane: Lane, results: dict[str, dict[str, Any]]) -> None:
        why = f"not done within {TEST_SECS:g} s"
        results[lane.key] = {"target": lane.target.name, "kind": lane.target.kind, "error": why, "secs": TEST_SECS}
        with trio.move_on_after(TEST_SECS):
            await self._test(lane, results)

    async def _test(self, lane: Lane, results: dict[str, dict[str, Any]]) -> None:
        delivery = Delivery(f"test-{secrets.token_hex(4)}-{lane.key}", 0, "test", self._test_payload(), 1)
        why = note = None
        began = trio.current_time()
        try:
            async with self._limiter:
                began = trio.current_time()
                note = await lane.target.deliver(delivery)
        except DeliveryFailed as failure:
            why = str(failure)
        except Exception as error:
            log.exception("%s: a test met a bug", lane.target.name)
            why = f"{type(error).__name__}: {error}"
        else:
            lane.hurry()
        went = {"error": why, "note": note, "secs": round(trio.current_time() - began, 3)}
        results[lane.key] = {"target": lane.target.name, "kind": lane.target.kind, **went}


def _owner(event: Event) -> str:
    """The user it is about, "" if that is nobody."""
    return event.job.spec.owner if event.job is not None else str(event.about.get("user") or "")


def _is_called(target: Target, name: str) -> bool:
    """By its name as it is shown, its key, or what is between kind and key in the name: a host, or a program."""
    host = target.name.removeprefix(f"{target.kind} ").rpartition(" (")[0]
    return name in (target.name, target.key) or (host != "" and name.casefold() == host.casefold())


def _status(lane: Lane) -> dict[str, Any]:
    standing = lane.standing
    return {
        "kind": lane.target.kind,
        "name": lane.target.name,
        "key": lane.key,
        "queued": lane.waiting,
        "delivered": standing.delivered,
        "retried": standing.retried,
        "dropped": standing.dropped,
        "mail_withheld": dict(lane.target.withheld()),
        "given_up": standing.given_up,
        "last_result": standing.last_result,
        "last_result_at": standing.last_result_at,
        "last_failure": standing.last_failure,
        "last_failure_at": standing.last_failure_at,
        "paused": standing.paused,
        "paused_until": lane.next_try if standing.paused else None,
        "next_try": lane.next_try,
    }
