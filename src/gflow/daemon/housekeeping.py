"""Removes captured environments and scripts that no job needs any more, some seconds after jobs have ended."""

import logging

import trio

from gflow.daemon.runtime import Runtime
from gflow.store.spool import KINDS, Kind, Spool

log = logging.getLogger(__name__)

PAUSE_SECS = 5.0
"""Between two sweeps; ends of jobs come in bursts."""

AT_LEAST_SECS = 60.0
"""After this long there is a sweep in any case: what was refused leaves files, and nobody tells of it."""


class Housekeeping:
    """Sweeps the spool."""

    def __init__(self, runtime: Runtime, spool: Spool) -> None:
        self._runtime = runtime
        self._spool = spool

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; the first sweep is at once."""
        task_status.started()
        while True:
            seen = self._runtime.bus.last_id
            await self._sweep()
            await trio.sleep(PAUSE_SECS)
            with trio.move_on_after(AT_LEAST_SECS):
                await self._runtime.bus.wait_for_more(seen)

    async def _sweep(self) -> None:
        environments, scripts = self._runtime.engine.live_digests()
        live: dict[Kind, set[str]] = {"env": environments, "script": scripts}
        # all condemned in the step that asked what is needed: a job submitted later cannot lose its files
        condemned = {kind: self._spool.condemn(kind, live[kind]) for kind in KINDS}
        for kind in KINDS:
            try:
                await trio.to_thread.run_sync(self._spool.remove, kind, condemned[kind])
            except OSError as error:
                log.warning("cannot remove what no job needs any more: %s", error)
