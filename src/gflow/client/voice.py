"""What people are told on stderr: one line, with the command that says it in front. There is one scheme for all of it,
`gjob show: Job 8 does not exist`, and the way in of every command (`cli/entry.py`) says once which it is."""

from __future__ import annotations

import sys

from gflow.client.plain import harmless

_speaker = "gflow"


def speak_as(command: str) -> None:
    """From now on it is this command that speaks, e.g. `gjob show`."""
    global _speaker  # noqa: PLW0603 - a process is one command
    _speaker = command


def say(message: str) -> None:
    """Print a line on stderr, after what was printed on stdout before, if that can be written."""
    try:  # noqa: SIM105 - nothing else needs contextlib on the way of a command
        sys.stdout.flush()
    except OSError:
        pass  # the way out of every command tells of that
    sys.stderr.write(f"{_speaker}: {harmless(' '.join(message.splitlines()))}\n")
    sys.stderr.flush()
