"""The terminal under the screen of gflow top: bytes that are no text are passed over, and signals that end a program
leave it as it was."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Any

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_UP_SECS = 0.1
_GIVE_UP_SECS = 3.0
"""A terminal that is gone may never take what would restore it."""

_BOX = "─│█…"


def draws_boxes() -> bool:
    """Whether the terminal's encoding has lines and bars."""
    try:
        _BOX.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


class Terminal(LinuxDriver):
    """Draws on standard output, and reads keys."""

    def __init__(self, app: Any, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._file = sys.__stdout__

    def run_input_thread(self) -> None:
        """Hand over what is typed, until the screen is closed or nothing can come any more."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")(errors="ignore").decode
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], _LOOK_UP_SECS)[0]:
                read = _read(self.fileno)
                if not read:
                    signal.raise_signal(signal.SIGHUP)
                    return
                text = decode(read)
                for event in parser.feed(text) if text else ():
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""  # the terminal is gone


def on_signals(leave: Callable[[int], None]) -> None:
    """Have SIGTERM and SIGHUP call `leave` with the exit status that tells of them; the process ends if that fails."""

    def heard(number: int, _frame: object) -> None:
        late = threading.Timer(_GIVE_UP_SECS, os._exit, (128 + number,))
        late.daemon = True
        late.start()
        leave(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, heard)
