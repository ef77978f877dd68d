"""The scheduler service: a pass of the engine whenever something changed, and at the next begin time. No polling."""

import time
from collections.abc import Callable

import trio

from gflow.daemon.alarm import Alarm
from gflow.daemon.runtime import Runtime
from gflow.daemon.wake import Bell


class Scheduler:
    """Starts jobs. Decides only; the launching is done by others once the decision is on disk.

    `beat` is called after each pass.
    """

    def __init__(self, runtime: Runtime, beat: Callable[[], None] = lambda: None) -> None:
        self._runtime = runtime
        self._beat = beat
        self._alarm = Alarm(time.CLOCK_REALTIME)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        runtime, wake = self._runtime, self._runtime.schedule_wake
        bell = Bell(self._alarm, wake)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bell.run)
                task_status.started()
                while True:
                    self._decide()
                    self._beat()
                    bell.set(runtime.engine.next_moment(runtime.clock()))
                    await wake.wait()
        finally:
            self._alarm.close()

    def _decide(self) -> None:
        runtime, wake = self._runtime, self._runtime.schedule_wake
        if runtime.fault is not None:
            raise RuntimeError("a change could not be logged; starting again from the log") from runtime.fault
        wake.clear()
        outcome = runtime.engine.schedule(runtime.clock(), runtime.run_ids)
        if outcome:
            runtime.commit(outcome)
            wake.clear()  # what this pass did frees nothing
