"""Moments in the cells of the queue as local times of this process: in TZ, else in the zone of the machine."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_BEFORE = ("", "~", "Not before ")
"""What the daemon has before the `@` of a moment; cells may have other texts, also such with an `@`."""

_MOST_DIGITS = 12
"""Of seconds since 1970 that any calendar has a year for."""


def localise(rows: list[list[str]], columns: Sequence[int]) -> None:
    """Write the moments in these columns of all rows as `2026-02-04T13:30:45`."""
    for row in rows:
        for at in columns:
            if at < len(row) and "@" in row[at]:
                row[at] = _local(row[at])


def _local(cell: str) -> str:
    before, _, moment = cell.rpartition("@")
    if before not in _BEFORE or len(moment) > _MOST_DIGITS or not (moment.isascii() and moment.isdecimal()):
        return cell
    return before + time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(int(moment)))
