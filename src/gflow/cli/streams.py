"""The standard streams as a command finds them: closed by whoever started it, or of an encoding of few characters."""

from __future__ import annotations

import os
import sys

_BAD_DESCRIPTOR = 9  # EBADF; the module errno is no part of a bare interpreter


class Closed(Exception):
    """The command was started without a standard output."""

    def __str__(self) -> str:
        return "nothing can be written to standard output: it is closed"


def closed_or(error: OSError) -> Exception:
    """What to say of an error of writing."""
    return Closed() if error.errno == _BAD_DESCRIPTOR else error


def open_what_is_closed(stdout_as: int = os.O_RDONLY) -> None:
    """Where a stream is closed, the next file that is opened would take its place.

    On standard output every write fails then, as on a full disk, so that what was done is told on stderr; with
    `stdout_as` O_WRONLY it is lost. What is said on a closed stderr is lost, but the exit status tells of it.
    """
    if sys.stdin is None:
        _occupy(0, os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = open(_occupy(1, stdout_as), "w", closefd=False)  # noqa: SIM115 - for as long as the process
    if sys.stderr is None:
        sys.stderr = open(_occupy(2, os.O_WRONLY), "w", closefd=False)  # noqa: SIM115


def _occupy(number: int, how: int) -> int:
    nowhere = os.open(os.devnull, how)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    return number


def take_any_text() -> None:
    """A name that the terminal's encoding has no characters for is shown as well as can be, not a reason to end."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
