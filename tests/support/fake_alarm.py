"""An alarm that rings when the test says so, and remembers what it was set to."""

import trio


class FakeAlarm:
    """Stands in for `gflow.daemon.alarm.Alarm`; `latest` is the one made last."""

    latest: "FakeAlarm"

    def __init__(self, clock: int) -> None:
        self.clock = clock
        self.set_to: list[float] = []
        self.closed = False
        self._ringing = trio.Event()
        FakeAlarm.latest = self

    def close(self) -> None:
        self.closed = True

    async def wait_until(self, when: float) -> None:
        self.set_to.append(when)
        self._ringing = trio.Event()
        await self._ringing.wait()

    def ring(self) -> None:
        """It is time, or the clock was set."""
        self._ringing.set()
