"""The daemon's log: for a terminal, for the journal, or as JSON for programs; and, where asked for, in a file, too.

The journal has its own clock and knows levels by a prefix (sd-daemon(3)), so lines for it have that in place of a time.
"""

import json
import logging
import os
import stat
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

FILE_BYTES = 10 << 20
"""Size at which the file begins anew; one earlier file is kept."""

FORMATS = ("text", "json")
_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_LEVELS = {-1: logging.ERROR, 0: logging.INFO}
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
_JOB = "Job %d"
"""How messages about a job begin; its id is their first argument."""


def set_up(
    verbosity: int, form: str, file: Path | None, environ: Mapping[str, str], stream: TextIO | None = None
) -> None:
    """Log to `stream` (standard error) and `file`. `verbosity`: how many -v less how many -q; `form`: see FORMATS."""
    stream = stream if stream is not None else sys.stderr
    plain = Json() if form == "json" else logging.Formatter(_TEXT)
    handlers: list[logging.Handler] = []
    if file is None or not _goes_to(stream, file):
        handlers.append(logging.StreamHandler(stream))
        handlers[0].setFormatter(Journal() if form == "text" and is_journal(stream, environ) else plain)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=1))
        handlers[-1].setFormatter(plain)
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(level(verbosity))


def _goes_to(stream: TextIO, file: Path) -> bool:
    """Whether what is written goes to this very file, where each line is to be once, and only as long as others."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), file.stat())
    except (OSError, ValueError):
        return False


def level(verbosity: int) -> int:
    """What is logged: with -v everything, by itself what happens, with -q errors only."""
    return logging.DEBUG if verbosity > 0 else _LEVELS.get(verbosity, logging.ERROR)


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether what is written goes to the journal: JOURNAL_STREAM is its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return stat.S_ISSOCK(found.st_mode) and environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def mark(level: int, stream: TextIO, environ: Mapping[str, str]) -> str:
    """What is before a line of this level on `stream`: its priority if that is the journal, else nothing."""
    return _prefix(level) if is_journal(stream, environ) else ""


def _prefix(level: int) -> str:
    return f"<{next(number for least, number in _PRIORITIES if level >= least)}>"


class Journal(logging.Formatter):
    """Lines for the journal, each with its priority; those of a traceback, too."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        return "\n".join(f"{_prefix(record.levelno)}{line}" for line in super().format(record).splitlines())


class Json(logging.Formatter):
    """An object a line: `time` (ISO 8601, UTC), `level`, `logger`, `message`; `job` if it is about one; `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"time": at, "level": record.levelname.lower(), "logger": record.name}
        line["message"] = record.getMessage()
        if isinstance(record.msg, str) and record.msg.startswith(_JOB) and isinstance(record.args, tuple):
            line["job"] = record.args[0]
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
