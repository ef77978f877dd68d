"""A program on a terminal of a given size: what it drew last, and keys for it."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from types import TracebackType
from typing import Self

_STEERING = re.compile("\x1b\\[[0-9;?]*[A-Za-z]|\r")
_FRAME, _FRAME_END = "\x1b[?2026h\x1b[H", "\x1b[J\x1b[?2026l"


class Terminal:
    """`with Terminal(command, environment, columns, lines)` runs a program in one."""

    def __init__(self, command: list[str], environment: dict[str, str], columns: int = 80, lines: int = 24) -> None:
        self._ours, theirs = pty.openpty()
        self._printed = b""
        self._resize(theirs, columns, lines)
        surroundings = {**environment, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=surroundings, start_new_session=True
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        self._reader.join(20)
        os.close(self._ours)

    def _read(self) -> None:
        try:
            while piece := os.read(self._ours, 65536):
                self._printed += piece
        except OSError:
            pass  # the other end is closed

    @staticmethod
    def _resize(fd: int, columns: int, lines: int) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Another size, of which the program is told as by a real terminal."""
        self._resize(self._ours, columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait(20)
        self._reader.join(20)
        return status

    @property
    def printed(self) -> str:
        """All that it has printed, as it came."""
        return self._printed.decode(errors="replace")

    @property
    def pictures(self) -> list[list[str]]:
        """What it drew, picture by picture, without colours."""
        found = [part.partition(_FRAME_END)[0] for part in self.printed.split(_FRAME)[1:] if _FRAME_END in part]
        return [[_STEERING.sub("", line) for line in part.split("\n")] for part in found]

    @property
    def picture(self) -> str:
        """The last of them."""
        return "\n".join(self.pictures[-1]) if self.pictures else ""
