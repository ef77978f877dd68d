"""Moves ended jobs out of the state and into the history, so that memory and start-up follow what is active.

First the history has them, on disk; then they leave the state, in one step that looks again whether somebody has come
to need them. A history that cannot be written costs memory, not jobs: they stay where they are.
"""

import logging

import trio

from gflow.core.model import Job
from gflow.core.table import Heavy
from gflow.daemon.runtime import Runtime
from gflow.store.history import KEPT, History, HistoryError

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Jobs that move together: a few milliseconds of work between which others get their turn."""

PAUSE_SECS = 5.0
"""Between two looks; ends of jobs come in bursts."""

LOOK_AGAIN_SECS = 600.0
"""How long nothing may happen before the ages are looked at, and a failed history is tried again."""

FRESH_SECS = 300.0
"""A job stays at least this long after its end: a client that lost the answer to its submission still finds the job
under the same key."""

HEAVY_BYTES = 32 << 20
HEAVY_SECS = 30.0
"""Of a user whose jobs keep more memory than this no ended job stays longer than so."""


class Historian:
    """Keeps the last `keep_jobs` ended jobs, and none that ended `keep_secs` ago, in the state.

    Whoever else moves or removes ended jobs takes `turn`, too: what one has just added another must not miss.
    """

    def __init__(
        self, runtime: Runtime, history: History, *, keep_jobs: int, keep_secs: float, turn: trio.Lock
    ) -> None:
        self._runtime = runtime
        self._history = history
        self._turn = turn
        self._keep_jobs = keep_jobs
        self._keep_secs = keep_secs
        self._trouble: str | None = None

    def configure(self, *, keep_jobs: int, keep_secs: float) -> None:
        """Keep so much from the next look on."""
        self._keep_jobs = keep_jobs
        self._keep_secs = keep_secs

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        task_status.started()
        while True:
            seen = self._runtime.bus.last_id
            while await self._take_turn():
                pass
            await trio.sleep(PAUSE_SECS)
            with trio.move_on_after(HEAVY_SECS if self._runtime.engine.kept.above(HEAVY_BYTES) else LOOK_AGAIN_SECS):
                await self._runtime.bus.wait_for_more(seen)

    async def _take_turn(self) -> bool:
        async with self._turn:
            return await self._move_some()

    async def _move_some(self) -> bool:
        """Whether jobs have moved, and there may be more."""
        engine, wall = self._runtime.engine, self._runtime.clock().wall
        heavy = Heavy(HEAVY_BYTES, wall - HEAVY_SECS)
        jobs = engine.retirable(self._keep_jobs, wall - self._keep_secs, wall - FRESH_SECS, AT_ONCE, heavy)
        if not jobs:
            return False
        try:
            kept = await trio.to_thread.run_sync(self._add, jobs)
        except HistoryError as error:
            self._report(str(error))
            return False
        self._report(None)
        outcome = engine.retire([job.id for job in jobs])
        outcome.settings[KEPT] = kept
        await self._runtime.on_disk(self._runtime.commit(outcome))
        return bool(outcome.retired)

    def _add(self, jobs: list[Job]) -> int:
        self._history.add(jobs)
        return self._history.count()

    def _report(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._trouble:
            log.error("ended jobs stay in the state, because the history cannot be written: %s", trouble)
        elif trouble is None and self._trouble is not None:
            log.warning("the history can be written again")
        self._trouble = trouble
