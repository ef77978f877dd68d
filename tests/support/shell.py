"""A shell, or another program, on a terminal of its own, to which lines are typed."""

import os
import pty
import select
import time
from pathlib import Path

_DEADLINE_SECS = 20


class Shell:
    """`type` waits for what it is to say."""

    def __init__(self, argv: list[str], environment: dict[str, str], directory: Path | None = None) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            if directory is not None:
                os.chdir(directory)
            os.execvpe(argv[0], argv, environment)

    def type(self, text: bytes, until: bytes) -> bytes:
        """What it says from now on, up to `until`."""
        said = b""
        os.write(self._fd, text)
        end = time.monotonic() + _DEADLINE_SECS
        while until not in said:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, end - time.monotonic()))
            assert ready, said
            said += os.read(self._fd, 65536)
        return said

    def close(self) -> None:
        os.close(self._fd)
        os.waitpid(self._pid, 0)
