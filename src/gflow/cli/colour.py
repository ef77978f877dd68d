"""Whether to use colours and symbols: on a terminal, unless NO_COLOR or --color says otherwise; and how wide it is."""

from __future__ import annotations

import os
import sys

from gflow.cli.command import Option
from gflow.cli.kinds import choice

STATE_COLOURS = {
    "PD": "\x1b[33m",
    "H": "\x1b[35m",
    "R": "\x1b[32m",
    "CD": "\x1b[34m",
    "F": "\x1b[31m",
    "CA": "\x1b[90m",
    "TO": "\x1b[31m",
}

_WHEN = ("always", "never", "auto")

COLOUR = Option(
    "--color",
    "--colour",
    convert=choice(*_WHEN),
    metavar="WHEN",
    default="auto",
    choices=_WHEN,
    help="Colours: always, never, or auto (on a terminal; default).",
)


def wanted(when: str) -> bool:
    """Whether output is for eyes, for the value of --color."""
    if when != "auto":
        return when == "always"
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def terminal_columns() -> int | None:
    """How wide the terminal is that output goes to; None if it goes elsewhere, or nobody knows."""
    if not sys.stdout.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except OSError:
        return None
