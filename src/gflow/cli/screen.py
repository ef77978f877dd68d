"""A picture on a terminal that is drawn over and over, without flicker, and keys that are pressed meanwhile.

Nothing is ever cleared before it is drawn: each line is overwritten and the rest of it erased, all in one write,
between the marks by which newer terminals show a picture only when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_BEGIN, _END = "\x1b[?2026h\x1b[H", "\x1b[J\x1b[?2026l"
_CONTROL_C, _CONTROL_D = "\x03", "\x04"
QUIT = frozenset(("q", "Q", _CONTROL_C, _CONTROL_D, ""))


class Screen:
    """The terminal of standard output, as a second page of it, from `with` to its end; then all is as it was.

    `changed` is a file descriptor that can be read once the size may be another.
    """

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        os.set_blocking(self._read, False)
        self.changed = self._read
        self._signals: dict[int, Any] = {
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, self._resized),
            signal.SIGTERM: signal.signal(signal.SIGTERM, _leave),
            signal.SIGHUP: signal.signal(signal.SIGHUP, _leave),
        }
        self._keys = _read_keys_at_once()
        sys.stdout.write(_ENTER)
        sys.stdout.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._signals.items():
            signal.signal(number, handler)
        if self._keys is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._keys)
        os.close(self._read)
        os.close(self._write)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()

    def _resized(self, _number: int, _frame: object) -> None:
        with contextlib.suppress(BlockingIOError):  # it is known already
            os.write(self._write, b"w")

    def settle(self) -> None:
        """Take note that the size may be another."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    @property
    def reads_keys(self) -> bool:
        """Whether keys come from a terminal, one by one."""
        return self._keys is not None

    def key(self) -> str:
        """The key that was pressed; empty when no more will come."""
        return os.read(0, 1).decode("latin-1")

    def quits_within(self, secs: float) -> bool:
        """Wait that long, or until the size may be another; whether a key was pressed that ends it."""
        ready, _, _ = select.select([self.changed, *([0] if self.reads_keys else [])], [], [], secs)
        if self.changed in ready:
            self.settle()
        return 0 in ready and self.key() in QUIT

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            columns, lines = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return 80, 24
        return columns or 80, lines or 24

    def draw(self, lines: list[str]) -> None:
        """Show these lines, and nothing else. There must not be more than the terminal has."""
        sys.stdout.write(_BEGIN + "\r\n".join(f"{line}\x1b[0m\x1b[K" for line in lines) + _END)
        sys.stdout.flush()


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _read_keys_at_once() -> list[Any] | None:
    """Have keys delivered one by one and not shown; how the terminal was before, None if there is none."""
    import termios

    try:
        before = termios.tcgetattr(0)
    except termios.error:
        return None
    now = list(before)
    now[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
    termios.tcsetattr(0, termios.TCSADRAIN, now)
    return before
