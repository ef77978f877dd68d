"""Local days: which one a moment is in, and how much of a span falls on each. A day may have 23 or 25 hours.

Pure but for the zone of the machine, which the two conversions know.
"""

import time
from collections.abc import Iterator


def day_of(at: float) -> str:
    """The local day of a moment (seconds since the epoch), as `2026-02-04`."""
    return time.strftime("%Y-%m-%d", time.localtime(at))


def day_start(at: float, *, days_before: int = 0) -> float:
    """When the local day of a moment began, or one so many days before."""
    year, month, day = time.localtime(at)[:3]
    return time.mktime((year, month, day - days_before, 0, 0, 0, 0, 1, -1))


def days_between(start: float, end: float) -> Iterator[tuple[str, float]]:
    """The local days that a span touches, each with the seconds of it that fall on that day."""
    at = start
    while at < end:
        until = min(end, day_start(at, days_before=-1))
        if until <= at:  # a zone that skips a whole day
            until = end
        yield day_of(at), until - at
        at = until
