"""In a recovery: notices when the state can be read again, so that nobody has to restart the daemon.

Only files that have changed, and then stayed as they are for a while, are worth reading again: somebody may be in the
middle of putting them back. A read that failed for the disk's sake is tried again now and then, as nothing of that
shows in the files.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import trio

from gflow.store.errors import Unreadable
from gflow.store.load import load
from gflow.store.recovery.opening import Recovery, has_room, state_files

log = logging.getLogger(__name__)

PAUSE_SECS = 2.0
"""Between two looks; files must look the same at two of them in a row."""

ANYWAY = 15
"""How many looks at unchanged files go by before they are read all the same."""


class StateWatch:
    """Calls `readable` once the state in `data_dir` can be read, and `may_leave` says that the daemon can act on it."""

    def __init__(
        self, data_dir: Path, recovery: Recovery, readable: Callable[[], None], may_leave: Callable[[], bool]
    ) -> None:
        self._data_dir = data_dir
        self._recovery = recovery
        self._readable = readable
        self._may_leave = may_leave

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until the state can be read, or until cancelled."""
        tried = seen = self._recovery.files
        task_status.started()
        looks = 0
        while True:
            await trio.sleep(PAUSE_SECS)
            looks += 1
            before, seen = seen, await trio.to_thread.run_sync(self._files)
            worth_it = seen != tried or (self._recovery.passing and looks >= ANYWAY)
            if seen != before or not worth_it or not self._may_leave():
                continue
            tried, looks = seen, 0
            if await trio.to_thread.run_sync(self._is_readable):
                log.warning("the state in %s can be read again; taking it up", self._data_dir)
                self._readable()
                return

    def _files(self) -> Mapping[str, tuple[int, ...]] | None:
        try:
            return state_files(self._data_dir)
        except OSError:
            return None

    def _is_readable(self) -> bool:
        try:
            load(self._data_dir)
        except (Unreadable, OSError) as error:
            log.info("the state cannot be read yet: %s", error)
            return False
        return self._recovery.unwritten is None or has_room(self._data_dir, self._recovery.unwritten)
