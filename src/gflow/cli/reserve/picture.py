"""The timeline of `gctl reserve list`: which period, which reservations, and how much room there is."""

from __future__ import annotations

import os
import sys

from gflow.cli.colour import wanted
from gflow.cli.command import UsageError
from gflow.cli.render.table import harmless
from gflow.cli.render.timeline import ASCII_SYMBOLS, COLOURS, SYMBOLS, Bar, timeline
from gflow.cli.reserve.words import gpus, size, span
from gflow.core.slots import LONGEST_SECS, parse_range
from gflow.core.zones import parse_moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.core.zones import Zone

    Record = dict[str, Any]

_DEFAULT_RANGE = "-6h:+42h"
_PIPE_COLUMNS = 80


def period(values: Values, now: float, zone: Zone) -> tuple[float, float]:
    """What to show, in seconds since the epoch. Raises UsageError."""
    if values["from"] is None:
        before, after = values["range"] or parse_range(_DEFAULT_RANGE)
        return now + before, now + after
    start_at, end_at = (_moment(name, values[name], zone) for name in ("from", "to"))
    if end_at <= start_at:
        raise UsageError("--to must be after --from")
    if end_at - start_at > LONGEST_SECS:
        raise UsageError("--from and --to: at most 366 days can be shown")
    return start_at, end_at


def _moment(name: str, text: str, zone: Zone) -> float:
    try:
        return parse_moment(text, zone)
    except ValueError as error:
        raise UsageError(f"--{name}: {error}") from None


def draw(found: list[Record], values: Values, period: tuple[float, float], now: float, zone: Zone) -> str:
    """The timeline, or a line that says why there is none."""
    bars = [_bar(one) for one in found if values["status"] or one["status"] != "Cancelled"]
    shown = [bar for bar in bars if bar.start_at < period[1] and bar.end_at > period[0]]
    if not bars:
        return "No reservations found.\n"
    others = len(bars) - len(shown)
    if not shown:
        first, last = (zone.stamp(at // 60 * 60) for at in period)
        return f"No reservations found from {first} to {last}; {_amount(others)} before or after.\n"
    for_eyes = wanted(values["color"])
    picture = timeline(
        sorted(shown, key=lambda bar: bar.start_at),
        period,
        now,
        zone,
        columns=_columns(),
        symbols=SYMBOLS if for_eyes and (sys.stdout.encoding or "").lower() == "utf-8" else ASCII_SYMBOLS,
        colours=COLOURS if for_eyes else {},
    )
    return picture + (f" {_amount(others)} before or after; see --range\n" if others else "")


def _bar(reservation: Record) -> Bar:
    cells = (str(reservation["id"]), harmless(reservation["user"]), gpus(reservation))
    return Bar(cells, *span(reservation), str(reservation["status"]), size(reservation))


def _amount(others: int) -> str:
    return "1 reservation is" if others == 1 else f"{others} reservations are"


def _columns() -> int:
    """The width of the terminal, 80 if there is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _PIPE_COLUMNS
    except (OSError, ValueError):
        return _PIPE_COLUMNS
