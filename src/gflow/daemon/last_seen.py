"""When the running jobs were last in sight.

What ended while no daemon was there, and left no word of its own, ended after the last one had it in sight. That
moment is the modification time of the file `seen` in the data directory.
"""

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

import trio

NOTE = "seen"
_EVERY_SECS = 2.0


class LastSeen:
    """`before` is when an earlier daemon last had running jobs in sight, in seconds since the epoch; 0.0 if never."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NOTE
        self.before = 0.0
        with contextlib.suppress(OSError):
            self.before = self._path.stat().st_mtime

    async def run(self, running: Collection[object]) -> None:
        """Note it for the next daemon, while there are `running` jobs, until cancelled."""
        while True:
            if running:
                with contextlib.suppress(OSError):  # the next daemon goes by other signs of life
                    await trio.to_thread.run_sync(self._note, abandon_on_cancel=True)
            await trio.sleep(_EVERY_SECS)

    def _note(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)
