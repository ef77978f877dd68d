"""A gate jobs wait at: they all run, none of them goes on, and opening it lets all of them pass at once."""

import fcntl
import os
from pathlib import Path
from typing import Self

from support.wait import until


class Gate:
    """Shut from the start. `pass_` is the shell line that waits at it; `flock` (util-linux) does the waiting."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "gate"
        self._arrived = directory / "arrived"
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.pass_ = f"echo >>{self._arrived}; flock -s {self._path} true"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._lock)

    def open(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def wait_for(self, count: int, deadline_secs: float = 60.0) -> None:
        """Return when as many have come to the gate."""
        until(lambda: self._count() >= count, f"{count} jobs at the gate", deadline_secs)

    def _count(self) -> int:
        return self._arrived.stat().st_size if self._arrived.exists() else 0
