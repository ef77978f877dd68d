"""What there was to be seen at one moment, and what of it to show. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gflow.cli.columns import COLUMNS
from gflow.cli.states import FINAL, STATES
from gflow.core.limits import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

_WANTED = ("JOBID", "NAME", "ST", "TIME", "REMAINING", "NODELIST(REASON)", "USER", "PROJECT", "PRIORITY", "PROGRESS")
ASKED = tuple(name for name in _WANTED if name in COLUMNS)
"""The columns that are asked for; what is shown of them is a question of room."""

ENDED = frozenset(STATES[state] for state in FINAL)
_STATE_NAMES = {code: name.lower() for name, code in STATES.items()}


@dataclass(frozen=True)
class Row:
    """One job, as the texts of its cells by column."""

    cells: dict[str, str]

    @property
    def job_id(self) -> int:
        return int(self.cells["JOBID"])

    @property
    def state(self) -> str:
        """The short code."""
        return self.cells["ST"]

    def has(self, words: Iterable[str]) -> bool:
        """Whether each of the words, in lower case, is in one of the cells or begins the name of the state."""
        texts = [text.lower() for text in self.cells.values()]
        state = _STATE_NAMES.get(self.state, "")
        return all(state.startswith(word) or any(word in text for text in texts) for word in words)


@dataclass(frozen=True)
class Picture:
    """The jobs to show, in order; how many there are in all, and are not shown; the GPUs; when it was.

    `seen_at` is by the monotonic clock; at first it is None, and there is nothing else.
    """

    rows: tuple[Row, ...] = ()
    running: int = 0
    waiting: int = 0
    gpus: tuple[dict[str, Any], ...] = ()
    seen_at: float | None = None
    hidden: int = 0

    def chosen(self, text: str, now: float) -> list[Row]:
        """The rows in which all words of `text` are, with their times counted on to `now`."""
        words = text.lower().split()
        secs = 0.0 if self.seen_at is None else max(0.0, now - self.seen_at)
        return [counted_on(row, secs) for row in self.rows if not words or row.has(words)]

    @property
    def has_ended(self) -> bool:
        """Whether one of the jobs has ended."""
        return any(row.state in ENDED for row in self.rows)

    @property
    def measured(self) -> bool:
        """Whether there is anything about GPUs that changes without an event."""
        return any(gpu.get("utilisation_pct") is not None or gpu.get("used_mb") is not None for gpu in self.gpus)


def rows_of(lines: Iterable[list[str]]) -> tuple[Row, ...]:
    """The rows of what the daemon answered for `ASKED`."""
    return tuple(Row(dict(zip(ASKED, line, strict=True))) for line in lines)


def counted_on(row: Row, secs: float) -> Row:
    """The row so many seconds later: a running job has run for longer, and has less time left."""
    if row.state != "R" or secs < 1:
        return row
    cells = dict(row.cells)
    for name, step in (("TIME", secs), ("REMAINING", -secs)):
        known = _seconds(cells.get(name, ""))
        if known is not None:
            cells[name] = format_duration(max(0.0, known + step))
    return Row(cells)


def _seconds(text: str) -> int | None:
    """The seconds of `1-02:03:04` or `02:03:04`; None for what is no duration."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if len(parts) != 3 or not all(part.isdigit() for part in (*parts, days or "0")):
        return None
    hours, minutes, seconds = map(int, parts)
    return (int(days or 0) * 24 + hours) * 3600 + minutes * 60 + seconds
