"""Waiting for "something changed, or it is time": the one shape of wake-up the scheduler and the enforcer share."""

import trio

from gflow.daemon.alarm import Alarm


class Wake:
    """A flag that remembers being set until somebody waits for it.

    The waiter calls `clear` before it looks at the state, so a change made while it looks is not missed.
    """

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Something changed."""
        self._event.set()

    def clear(self) -> None:
        """Forget changes so far; the caller is about to look."""
        if self._event.is_set():
            self._event = trio.Event()

    async def wait(self) -> None:
        """Return once `set` was called after the last `clear`."""
        await self._event.wait()

    async def wait_or(self, alarm: Alarm, when: float | None) -> None:
        """Return at a change, or at `when` by the alarm's clock, or if that clock is set."""
        if when is None:
            await self.wait()
            return
        async with trio.open_nursery() as nursery:

            async def ring() -> None:
                await alarm.wait_until(when)
                nursery.cancel_scope.cancel()

            nursery.start_soon(ring)
            await self.wait()
            nursery.cancel_scope.cancel()
