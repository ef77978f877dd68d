"""The lines of a job's output that match a pattern."""

from __future__ import annotations

import re
from collections import deque
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ENDS = re.compile(rb"[\r\n]")
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


def matching(
    chunks: Iterable[bytes], pattern: re.Pattern[str], first: int | None = None, last: int | None = None
) -> Iterator[bytes]:
    """The lines in which `pattern` is found, each with a newline; the first or the last so many of them.

    What steers the terminal is not looked at, but stays in the lines.
    """
    found = (
        line + b"\n" for line in lines(chunks) if pattern.search(_ESCAPES.sub("", line.decode("utf-8", "replace")))
    )
    if last is not None:
        yield from deque(found, maxlen=last)
    else:
        yield from islice(found, first)


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines that are not empty; each redrawing of a progress bar is one."""
    rest = b""
    for chunk in chunks:
        *whole, rest = _ENDS.split(rest + chunk)
        yield from filter(None, whole)
    if rest:
        yield rest
