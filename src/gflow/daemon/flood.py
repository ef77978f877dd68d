"""Lines in the log that anybody can cause who reaches a socket, with or without a token: a few a minute, then a count.

A connection that is dropped, a bug that a request meets, a descriptor that is missing: each is worth a line, and a
hundred thousand of a kind are worth no more than their number. Lines are of a kind that differ in their arguments only.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Self

log = logging.getLogger(__name__)

MINUTE_SECS = 60.0
A_MINUTE = 20
"""Lines of one kind; the next is told when the minute is over that began with the first of them."""

FROM_CLIENTS = (
    "gflow.api.answers",
    "gflow.daemon.endpoints",
    "gflow.daemon.requests",
    "gflow.daemon.tls",
    "hypercorn.error",
    "trio.serve_listeners",
)
"""The loggers of what clients can cause. The audit log, which is for programs to read, has its own bounds."""


class Flood(logging.Filter):
    """Stands before the loggers of `FROM_CLIENTS` while it is entered."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._since = float("-inf")
        self._seen: Counter[tuple[str, int, str]] = Counter()

    def __enter__(self) -> Self:
        for name in FROM_CLIENTS:
            logging.getLogger(name).addFilter(self)
        return self

    def __exit__(self, *_exc: object) -> None:
        for name in FROM_CLIENTS:
            logging.getLogger(name).removeFilter(self)
        self._tell()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is told."""
        self.look()
        kind = record.name, record.levelno, str(record.msg)
        self._seen[kind] += 1
        return self._seen[kind] <= A_MINUTE

    def look(self) -> None:
        """Begin another minute if this one is over, and say how many lines it has left out."""
        now = self._now()
        if now - self._since >= MINUTE_SECS:
            self._since = now
            self._tell()

    def _tell(self) -> None:
        seen, self._seen = self._seen, Counter()
        for (name, level, text), count in seen.items():
            if count > A_MINUTE:
                log.log(level, "%d more lines like this one of %s: %s", count - A_MINUTE, name, text)
