"""Waiting in tests: for a condition, with a deadline, never for a time."""

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

_PAUSE_SECS = 0.01


def until(look: Callable[[], _T | None], what: str, deadline_secs: float = 20.0) -> _T:
    """The first thing `look` returns that counts as true. Fails the test, saying `what` did not come, after that."""
    end = time.monotonic() + deadline_secs
    pause = threading.Event()
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {deadline_secs:g} s, at last {found!r}")
        pause.wait(_PAUSE_SECS)


def file(path: os.PathLike[str], deadline_secs: float = 20.0) -> str:
    """The text of a file that somebody is about to write, once it ends in a newline."""

    def read() -> str | None:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as opened:
                text = opened.read()
        except FileNotFoundError:
            return None
        return text if text.endswith("\n") else None

    return until(read, f"a line in {os.fspath(path)}", deadline_secs)
