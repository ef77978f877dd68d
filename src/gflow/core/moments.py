"""Moments as people write them: begin times (`now+2h`, `18:30`, `2026-02-01 08:00`) and `--since` (`2d`, `today`).

Pure: the present and the two conversions between seconds and local time are parameters. Local times that a clock
change skips or repeats are handled by trying both readings and keeping those that read back as they were written.
Imported by one-shot commands, so it loads nothing of its own beyond `time`.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    ToLocal = Callable[[float], Sequence[int]]
    FromLocal = Callable[[tuple[int, int, int, int, int, int, int, int, int]], float]
    Fields = tuple[int, int, int, int, int, int]

_BEGIN_FORMS = "use now+2h, +30 (minutes), HH:MM, tomorrow, YYYY-MM-DD or YYYY-MM-DDTHH:MM"
_SINCE_FORMS = "use 2h, 3d, 1w, today, yesterday, YYYY-MM-DD, YYYY-MM-DDTHH:MM or seconds since 1970"
_UNIT_SECS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_UNITS = {"second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w"}
_CLOCKS = {"midnight": "00:00", "elevenses": "11:00", "noon": "12:00", "fika": "15:00", "teatime": "16:00"}
_FAR_SECS = 10 * 366 * 86400


def parse_begin(
    text: str, now: float, to_local: ToLocal = time.localtime, from_local: FromLocal = time.mktime
) -> float:
    """Seconds since the epoch of a begin time at or after `now`.

    A bare `HH:MM[:SS]` is its next occurrence, and so are Slurm's words for some; `today` is now, `tomorrow` the
    coming midnight. Dates and times are local. Raises ValueError for anything else, for what is past, and for times a
    clock change skips.
    """
    body = text.strip()
    word = body.lower()
    if word.startswith(("now", "+")):
        return now + _offset(word.removeprefix("now"), text)
    if word == "today":
        return now
    if word == "tomorrow":
        year, month, day = to_local(now)[:3]
        return from_local((year, month, day + 1, 0, 0, 0, 0, 1, -1))
    body = _CLOCKS.get(word, body)
    moments = _local_moments(body, now, to_local, from_local)
    if moments is None:
        raise ValueError(f"invalid begin time '{text}': {_BEGIN_FORMS}")
    if not moments:
        raise ValueError(f"invalid begin time '{text}': there is no such local time")
    ahead = [moment for moment in moments if moment >= now]
    if not ahead:
        raise ValueError(f"begin time '{text}' is past")
    if ahead[0] - now > _FAR_SECS:
        raise ValueError(f"begin time '{text}' is more than ten years away")
    return ahead[0]


def parse_since(
    text: str, now: float, to_local: ToLocal = time.localtime, from_local: FromLocal = time.mktime
) -> float:
    """Seconds since the epoch of the start of a period up to now. Raises ValueError for what it cannot read."""
    body = text.strip().lower()
    if body in ("today", "yesterday"):
        year, month, day = to_local(now)[:3]
        return from_local((year, month, day - (body == "yesterday"), 0, 0, 0, 0, 1, -1))
    if body[-1:] in ("h", "d", "w") and _is_number(body[:-1]):
        return now - int(body[:-1]) * _UNIT_SECS[body[-1]]
    if body.isascii() and body.isdigit() and len(body) <= 12:
        return float(body)
    moments = _local_moments(body, now, to_local, from_local) if "-" in body else None
    if moments:
        return moments[0]
    zoned = _zoned(text.strip())
    if zoned is None:
        raise ValueError(f"invalid time '{text}': {_SINCE_FORMS}")
    return zoned


def _zoned(text: str) -> float | None:
    """An ISO 8601 time that names its zone."""
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()


def _offset(body: str, text: str) -> float:
    """Seconds of `+N` (minutes), `+Ns`, `+Nm`, `+Nh`, `+Nd`, `+Nw`, and of units written out; nothing is none."""
    if not body:
        return 0.0
    number = body[1:].rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = body[1 + len(number) :] or "m"
    unit = _UNITS.get(unit.removesuffix("s"), unit)
    if body[0] != "+" or not _is_number(number) or unit not in _UNIT_SECS:
        raise ValueError(f"invalid begin time '{text}': {_BEGIN_FORMS}")
    secs = int(number) * _UNIT_SECS[unit]
    if secs > _FAR_SECS:
        raise ValueError(f"begin time '{text}' is more than ten years away")
    return float(secs)


def _local_moments(body: str, now: float, to_local: ToLocal, from_local: FromLocal) -> list[float] | None:
    """The moments that local time `body` may mean, ascending; None if it is not written like one."""
    date, gap, clock = body.replace("T", " ").replace("t", " ").partition(" ")
    if "-" not in date:
        return None if gap else _next_occurrence(date, now, to_local, from_local)
    day, moment = _numbers(date, "-", (4, 2, 2)), _clock(clock) if gap else (0, 0, 0)
    if day is None or moment is None:
        return None
    return _readings((day[0], day[1], day[2], *moment), to_local, from_local)


def _next_occurrence(clock: str, now: float, to_local: ToLocal, from_local: FromLocal) -> list[float] | None:
    moment = _clock(clock)
    if moment is None:
        return None
    year, month, day = to_local(now)[:3]
    tomorrow = to_local(from_local((year, month, day + 1, 12, 0, 0, 0, 1, -1)))
    today = _readings((year, month, day, *moment), to_local, from_local)
    return today + _readings((tomorrow[0], tomorrow[1], tomorrow[2], *moment), to_local, from_local)


def _readings(fields: Fields, to_local: ToLocal, from_local: FromLocal) -> list[float]:
    """The moments whose local time is exactly `fields`: none, one, or two where clocks go back."""
    found = set()
    for daylight_saving in (-1, 0, 1):
        try:
            moment = from_local((*fields, 0, 1, daylight_saving))
        except (OverflowError, ValueError):
            continue
        if tuple(to_local(moment)[:6]) == fields:
            found.add(moment)
    return sorted(found)


def _clock(text: str) -> tuple[int, int, int] | None:
    numbers = _numbers(text, ":", (2, 2)) or _numbers(text, ":", (2, 2, 2))
    if numbers is None or numbers[0] > 23 or any(number > 59 for number in numbers[1:]):
        return None
    return numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else 0


def _numbers(text: str, separator: str, digits: tuple[int, ...]) -> list[int] | None:
    """The numbers of `text` if it has as many as `digits`, each of at most that many digits."""
    items = text.split(separator)
    if len(items) != len(digits):
        return None
    if not all(_is_number(item) and len(item) <= most for item, most in zip(items, digits, strict=True)):
        return None
    return [int(item) for item in items]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
