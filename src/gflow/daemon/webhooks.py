"""The delivery pool: tells the outside what happened, without ever holding up a job.

Each target has a bounded queue and one worker, so order holds per target and a dead target delays no other. A limit
across all targets is held only around an attempt, never while one waits to try again.
"""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from gflow.core.events import Event

log = logging.getLogger(__name__)

QUEUE_LENGTH = 1000
FIRST_PAUSE_SECS = 1.0
LONGEST_PAUSE_SECS = 30.0


class DeliveryFailed(Exception):
    """An attempt failed. `final`: trying again cannot help."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


class Target(Protocol):
    """Something that is told of events."""

    @property
    def name(self) -> str:
        """For the log."""

    @property
    def max_retries(self) -> int:
        """Attempts after the first."""

    def wants(self, event: Event) -> bool:
        """Whether this event is of interest."""

    async def deliver(self, number: int, event: Event) -> None:
        """Try once. Raises DeliveryFailed."""


@dataclass(slots=True)
class _Lane:
    target: Target
    send: trio.MemorySendChannel[tuple[int, Event]]
    receive: trio.MemoryReceiveChannel[tuple[int, Event]]
    dropped: int = field(default=0)


class WebhookPool:
    """Delivers to all targets, at most `max_concurrent` attempts at once."""

    def __init__(self, targets: Sequence[Target], max_concurrent: int) -> None:
        self._limiter = trio.CapacityLimiter(max_concurrent)
        self.drained = trio.Event()
        self._closing = trio.Event()
        self._lanes = [_Lane(target, *trio.open_memory_channel[tuple[int, Event]](QUEUE_LENGTH)) for target in targets]

    def offer(self, number: int, event: Event) -> None:
        """Queue an event for every target that wants it; never waits. A full queue drops the event, and says so.

        After `drain` nothing is taken.
        """
        for lane in self._lanes if not self._closing.is_set() else ():
            if lane.target.wants(event):
                try:
                    lane.send.send_nowait((number, event))
                except trio.WouldBlock:
                    lane.dropped += 1
                    log.warning("%s: queue full, event %d dropped (%d so far)", lane.target.name, number, lane.dropped)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `drain` has let the queues run empty, or cancelled."""
        async with trio.open_nursery() as nursery:
            for lane in self._lanes:
                nursery.start_soon(self._serve, lane)
            nursery.start_soon(self._closing.wait)
            task_status.started()
        self.drained.set()

    def drain(self) -> None:
        """Take no more; `run` returns, and `drained` is set, when everything queued was delivered or given up."""
        self._closing.set()
        for lane in self._lanes:
            lane.send.close()

    async def _serve(self, lane: _Lane) -> None:
        async for number, event in lane.receive:
            await self._deliver(lane.target, number, event)

    async def _deliver(self, target: Target, number: int, event: Event) -> None:
        for attempt in range(1 + target.max_retries):
            if attempt:
                pause = min(FIRST_PAUSE_SECS * 2 ** (attempt - 1), LONGEST_PAUSE_SECS)
                await trio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
            try:
                async with self._limiter:
                    await target.deliver(number, event)
            except DeliveryFailed as failure:
                log.warning("%s: event %d: %s", target.name, number, failure)
                if failure.final:
                    return
            else:
                return
        log.error("%s: event %d given up after %d attempts", target.name, number, 1 + target.max_retries)
