"""The half-hour grid of reservations: how long they last, and what a timeline shows, as people write it.

Imported by one-shot commands, so it needs nothing but built-ins. All parsers raise ValueError with one line.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.core.zones import Zone

SLOT_SECS = 1800
"""Reservations begin and end on the half hour."""

LONGEST_SECS = 366 * 86400

_FORMS = "use e.g. 2h, 30m or 1h30m, in steps of 30 minutes"
_RANGE_FORMS = "use e.g. 48h, -24h or -24h:+24h, in steps of 30 minutes"


def parse_duration(text: str) -> int:
    """Seconds of `Nh`, `Nm` or `NhNm`: a multiple of half an hour, at most 366 days."""
    secs = _span(text.strip().lower())
    if secs is None or secs % SLOT_SECS:
        raise ValueError(f"invalid duration {text!r}: {_FORMS}")
    if secs == 0:
        raise ValueError(f"invalid duration {text!r}: it must be longer than 0")
    if secs > LONGEST_SECS:
        raise ValueError(f"invalid duration {text!r}: a reservation lasts at most 366 days")
    return secs


def parse_range(text: str) -> tuple[int, int]:
    """(from, to) in seconds from now of `48h` (from now on), `-24h` (up to now) or `-24h:+24h`."""
    first, colon, second = text.strip().lower().partition(":")
    start, end = (_signed(first), _signed(second)) if colon else (0, _signed(first))
    if start is None or end is None:
        raise ValueError(f"invalid range {text!r}: {_RANGE_FORMS}")
    if not colon:
        start, end = min(start, end), max(start, end)
    if end <= start:
        raise ValueError(f"invalid range {text!r}: it ends before it begins")
    if end - start > LONGEST_SECS:
        raise ValueError(f"invalid range {text!r}: at most 366 days can be shown")
    return start, end


def on_grid(at: float, zone: Zone) -> bool:
    """Whether the clocks of a zone show a full or a half hour at a moment."""
    return _past(at, zone) == 0


def next_slot(at: float, zone: Zone) -> float:
    """The first moment from `at` on at which they do."""
    while past := _past(at, zone):
        at += SLOT_SECS - past
    return at


def _past(at: float, zone: Zone) -> float:
    """Seconds since the clocks last showed a full or a half hour."""
    shown = zone.clock(at)
    return (shown.minute * 60 + shown.second + shown.microsecond / 1e6) % SLOT_SECS


def _signed(text: str) -> int | None:
    secs = _span(text[1:] if text[:1] in ("+", "-") else text)
    if secs is None or secs % SLOT_SECS:
        return None
    return -secs if text.startswith("-") else secs


def _span(text: str) -> int | None:
    """Seconds of `Nh`, `Nm`, `NhNm`; None for anything else."""
    hours, unit, rest = text.partition("h")
    if not unit:
        hours, rest = "0", text
    elif not rest:
        rest = "0m"
    minutes = rest.removesuffix("m")
    if minutes == rest or not _is_number(hours) or not _is_number(minutes):
        return None
    return int(hours) * 3600 + int(minutes) * 60


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6
