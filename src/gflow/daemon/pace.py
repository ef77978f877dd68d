"""Jobs first: while many jobs are being started, deliveries keep apart and leave the time to the starts.

A delivery costs this process about as much as a good part of the start of a job does, and whoever is told can wait. So
they catch up when the burst is over, or before a queue is so long that something would be dropped.
"""

import math
from collections import deque

import trio

STARTS = 10
START_SECS = 0.5
"""So many starts in so short a time are a burst, which lasts for that long after the last of them."""

APART_SECS = 0.02
"""Between the beginnings of two deliveries, to whichever target, during a burst."""


class Pace:
    """What all lanes keep. `most_waiting`: a lane in which more wait goes as fast as it can."""

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._starts: deque[float] = deque([-math.inf], maxlen=STARTS)
        self._burst_until = -math.inf
        self._next = -math.inf

    def started(self) -> None:
        """A job was started."""
        now = trio.current_time()
        self._starts.append(now)
        if now - self._starts[0] < START_SECS:
            self._burst_until = now + START_SECS

    async def turn(self, waiting: int) -> None:
        """Return when a delivery may begin, of a lane in which so many wait."""
        now = trio.current_time()
        if now < self._burst_until and waiting <= self._most_waiting:
            self._next = max(self._next + APART_SECS, now)
            await trio.sleep_until(self._next)
