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


class Bell:
    """Sets a wake at a moment. Its task stays in place as long as the moment does: mostly it is the same as before."""

    def __init__(self, alarm: Alarm, wake: Wake) -> None:
        self._alarm = alarm
        self._wake = wake
        self._when: float | None = None
        self._waiting = trio.CancelScope()

    def set(self, when: float | None) -> None:
        """Ring at `when` by the alarm's clock, or if that clock is set, and at no other moment; None: not at all."""
        if when != self._when:
            self._when = when
            self._waiting.cancel()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            with trio.CancelScope() as self._waiting:
                await self._moment()
                self._when = None  # whoever is woken says when to ring next
                self._wake.set()

    async def _moment(self) -> None:
        if self._when is None:
            await trio.sleep_forever()
        await self._alarm.wait_until(self._when)
