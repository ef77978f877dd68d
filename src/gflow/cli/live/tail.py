"""The last lines of what a job printed to its terminal, as plain lines. Pure.

A terminal's log holds more than text: colours, cursor movements, progress bars that overwrite themselves. What moves
or colours is dropped, and of what carriage returns overwrite, the last is kept.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections import deque

from gflow.client.plain import CONTROLS, TURNING

MOST_LINES = 2000
MOST_CHARS = 4000
"""Of one line."""

_SEQUENCES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-Z\\^-~])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,4000}\x1b?|[PX^_][^\x1b]{0,4000}\x1b?|[ -/]*)?\Z")
_STEERING = {code: None for code in (*CONTROLS, *TURNING) if chr(code) != "\t"}


class Tail:
    """Fed with bytes as they come."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._last = ""

    def feed(self, data: bytes) -> None:
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        self._held = unfinished.group() if unfinished else ""
        text = _SEQUENCES.sub("", text[: len(text) - len(self._held)])
        *whole, last = (self._last + text).split("\n")
        self._lines.extend(map(_shown, whole))
        self._last = (last.rpartition("\r")[2] or last)[-MOST_CHARS:]

    def lines(self) -> list[str]:
        """All that is kept, the line that is being printed among them."""
        last = _shown(self._last)
        return [*self._lines, last] if last else list(self._lines)


def _shown(line: str) -> str:
    """A line as it is seen in the end."""
    line = line.rstrip("\r").rpartition("\r")[2]
    return line[:MOST_CHARS].translate(_STEERING).expandtabs(8)
