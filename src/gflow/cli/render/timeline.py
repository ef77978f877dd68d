"""Reservations as bars over time, a line each, in as many columns as fit. Pure.

All columns are the same length of time, a reservation is drawn in every column it touches, and the last line says how
many GPUs are reserved at the most in each. Times are those of one zone; where its clocks change, the labels jump.
"""

from __future__ import annotations

from gflow.cli.render.table import RESET, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
    from datetime import datetime

    from gflow.core.zones import Zone

    Symbols = Mapping[str, str]

_HOUR, _DAY = 3600, 86400
_UNITS = (
    *(_HOUR // 2, _HOUR, 2 * _HOUR, 3 * _HOUR, 4 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY),
)
"""What a column may stand for, in seconds."""

_FEWEST_COLUMNS = 24
_LABEL_EVERY_HOURS = (1, 2, 3, 4, 6, 12)
_LABEL_COLUMNS = 4
_MOST_WIDE = 12
_HEADER = ("ID", "USER", "GPUS")
_TOTAL = "GPUs reserved"

SYMBOLS = {"Active": "█", "Pending": "▒", "Completed": "░", "Cancelled": "x", "none": "·", "now": "▼", "line": "│"}
ASCII_SYMBOLS = SYMBOLS | {"Active": "#", "Pending": "=", "Completed": "-", "none": ".", "now": "v", "line": "|"}
COLOURS = {"Active": "\x1b[32m", "Pending": "\x1b[33m", "Completed": "\x1b[34m", "Cancelled": "\x1b[90m"}


class Bar:
    """A reservation: the cells before its bar (id, user, GPUs), when it begins and ends in seconds since the epoch, its
    status, and how many GPUs it is of."""

    __slots__ = ("cells", "end_at", "size", "start_at", "status")

    def __init__(self, cells: tuple[str, str, str], start_at: float, end_at: float, status: str, size: int) -> None:
        self.cells = cells
        self.start_at = start_at
        self.end_at = end_at
        self.status = status
        self.size = size


class Axis:
    """`count` columns of `unit` seconds from `start_at` on; they begin at round times of the zone."""

    __slots__ = ("count", "start_at", "unit", "zone")

    def __init__(self, start_at: float, end_at: float, room: int, zone: Zone) -> None:
        self.zone = zone
        for unit in _UNITS:
            self.unit = unit
            self.start_at = _rounded_down(start_at, min(unit, _DAY), zone)
            self.count = self.after(end_at)
            if self.count <= room:
                break

    def moment(self, column: int) -> float:
        """When a column begins."""
        return self.start_at + column * self.unit

    def column(self, at: float) -> int:
        """The column in which a moment lies; there may be no such column."""
        return int((at - self.start_at) // self.unit)

    def after(self, at: float) -> int:
        """The first column that begins at a moment or after it."""
        return -int((self.start_at - at) // self.unit)

    def changes(self, aspect: Callable[[datetime], Hashable]) -> list[int]:
        """The columns that begin with another value of something on the clock than the one before."""
        seen = [aspect(self.zone.clock(self.moment(column))) for column in range(-1, self.count)]
        return [column for column in range(self.count) if seen[column + 1] != seen[column]]


def _rounded_down(at: float, unit: int, zone: Zone) -> int:
    whole = int(at // 1)  # or the edges of reservations would be next to those of columns, not on them
    shown = zone.clock(whole)
    return whole - (shown.hour * _HOUR + shown.minute * 60 + shown.second) % unit


def timeline(
    bars: Sequence[Bar],
    period: tuple[float, float],
    now: float,
    zone: Zone,
    *,
    columns: int,
    symbols: Symbols,
    colours: Mapping[str, str],
) -> str:
    """The lines of a picture of a period, `columns` wide, each with its newline.

    `symbols` is one of the tables above; `colours` maps statuses to escape sequences, and may be empty.
    """
    blank, header, total, *labels = _labels([("", "", ""), _HEADER, (_TOTAL, "", ""), *(bar.cells for bar in bars)])
    axis = Axis(*period, max(_FEWEST_COLUMNS, columns - width(blank) - 3), zone)
    here = axis.column(now)
    lines = [(blank, _days(axis)), (header, _hours(axis))]
    if 0 <= here < axis.count:
        lines.append((blank, _marked(here, axis.count, symbols)))
    empty = "".join(symbols["line" if column == here else "none"] for column in range(axis.count))
    lines += [(label, _drawn(bar, axis, empty, symbols, colours)) for label, bar in zip(labels, bars, strict=True)]
    lines.append((total, _totals(bars, axis, symbols)))
    body = [f"{label}  {cells}" for label, cells in lines]
    text = (_title(axis), "", *body, "", _legend(bars, symbols, colours))
    return "".join(f" {line}".rstrip() + "\n" for line in text)


def _labels(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """What stands before the bars, all of the same width. A row with but one cell may use the room of all three."""
    cut = [tuple(map(_cut, row)) if row[1] else row for row in rows]
    sizes = [max(width(row[at]) for row in cut if row[1]) for at in range(3)]
    joined = ["  ".join(map(_padded, row, sizes)) if row[1] else row[0] for row in cut]
    widest = max(map(width, joined))
    return [_padded(line, widest) for line in joined]


def _cut(text: str) -> str:
    if width(text) <= _MOST_WIDE:
        return text
    while width(text) >= _MOST_WIDE:
        text = text[:-1]
    return f"{text}~"


def _padded(text: str, size: int) -> str:
    return text + " " * (size - width(text))


def _title(axis: Axis) -> str:
    amount, what = (axis.unit // 60, "minute") if axis.unit < _HOUR else (axis.unit // _HOUR, "hour")
    if axis.unit >= _DAY:
        amount, what = axis.unit // _DAY, "day"
    first, last = (axis.zone.stamp(axis.moment(column)) for column in (0, axis.count))
    return f"{first} to {last}, {amount} {what}{'s' * (amount > 1)} a column"


def _days(axis: Axis) -> str:
    starts = sorted({0, *axis.changes(lambda shown: shown.date())})
    days = [axis.zone.clock(axis.moment(column)) for column in starts]
    labels = [(column, f"{day:%a} {day.day} {day:%b}") for column, day in zip(starts, days, strict=True)]
    if len(labels) > 1 and labels[1][0] <= len(labels[0][1]) < _DAY // axis.unit:
        del labels[0]  # the rest of a day, too short to be named
    return _placed(labels, axis.count)


def _hours(axis: Axis) -> str:
    every = next((hours for hours in _LABEL_EVERY_HOURS if hours * _HOUR >= _LABEL_COLUMNS * axis.unit), None)
    if every is None:
        return ""
    starts = axis.changes(lambda shown: (shown.date(), shown.hour // every))
    return _placed([(column, f"{axis.zone.clock(axis.moment(column)):%H}") for column in starts], axis.count)


def _placed(labels: Iterable[tuple[int, str]], count: int) -> str:
    """Those of the labels, each at its column, that fit."""
    line = ""
    for column, text in labels:
        if column >= len(line) + bool(line) and column + len(text) <= count:
            line = line.ljust(column) + text
    return line


def _marked(here: int, count: int, symbols: Symbols) -> str:
    if len("now ") <= here > count - len("v now"):
        return f"{'now':>{here - 1}} {symbols['now']}"
    return f"{' ' * here}{symbols['now']} now"


def _drawn(bar: Bar, axis: Axis, empty: str, symbols: Symbols, colours: Mapping[str, str]) -> str:
    first, after = max(0, axis.column(bar.start_at)), min(axis.count, axis.after(bar.end_at))
    body = _painted(symbols[bar.status] * (after - first), bar.status, colours)
    return f"{empty[:first]}{body}{empty[after:]}"


def _painted(text: str, status: str, colours: Mapping[str, str]) -> str:
    return f"{colours[status]}{text}{RESET}" if status in colours else text


def _totals(bars: Sequence[Bar], axis: Axis, symbols: Symbols) -> str:
    counts = [_most(bars, axis.moment(column), axis.moment(column + 1)) for column in range(axis.count)]
    return "".join(symbols["none"] if not count else str(count) if count < 10 else "+" for count in counts)


def _most(bars: Sequence[Bar], start_at: float, end_at: float) -> int:
    """How many GPUs are reserved at once at the most between two moments."""
    held = [bar for bar in bars if bar.status != "Cancelled" and bar.start_at < end_at and bar.end_at > start_at]
    moments = {max(start_at, bar.start_at) for bar in held}
    return max((sum(bar.size for bar in held if bar.start_at <= at < bar.end_at) for at in moments), default=0)


def _legend(bars: Sequence[Bar], symbols: Symbols, colours: Mapping[str, str]) -> str:
    shown = [status for status in COLOURS if any(bar.status == status for bar in bars)]
    return "   ".join(f"{_painted(symbols[status], status, colours)} {status.lower()}" for status in shown)
