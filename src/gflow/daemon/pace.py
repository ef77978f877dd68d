"""Jobs first: while jobs are being launched, deliveries keep apart and leave the time to the launches.

A delivery costs this process about as much as a good part of a launch does, and whoever is told can wait. So they
catch up when all is launched, or when a queue gets long.
"""

import math
from collections.abc import Callable

import trio

APART_SECS = 0.05
"""Between the beginnings of two deliveries, to whichever target, while jobs are being launched."""


class Pace:
    """What all lanes keep. `busy`: whether jobs are being launched.

    `most_waiting`: a lane in which more wait goes as fast as it can.
    """

    def __init__(self, busy: Callable[[], bool], most_waiting: int) -> None:
        self._busy = busy
        self._most_waiting = most_waiting
        self._next = -math.inf

    async def turn(self, waiting: int) -> None:
        """Return when a delivery may begin, of a lane in which so many wait."""
        if self._busy() and waiting <= self._most_waiting:
            self._next = max(self._next + APART_SECS, trio.current_time())
            await trio.sleep_until(self._next)
