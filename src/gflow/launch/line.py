"""Launches begin in the order in which they were decided: trio starts the tasks of one moment in any order."""

from collections.abc import Awaitable, Callable

import trio

Turn = Callable[[], Awaitable[None]]


class Line:
    """Whoever joins waits until those who joined before have had their turn."""

    def __init__(self) -> None:
        self._last: trio.Event | None = None

    def join(self) -> Turn:
        """Called when it is decided; what it returns is awaited, in a task, before what is to be in order."""
        before, self._last = self._last, trio.Event()
        mine = self._last

        async def turn() -> None:
            try:
                if before is not None and not before.is_set():
                    await before.wait()
            finally:
                mine.set()

        return turn
