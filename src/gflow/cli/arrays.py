"""Arrays as people write them: `1-10`, `1-10:2`, `1,4,7`, `0-99%4`."""

from __future__ import annotations

MAX_JOBS = 1000
"""One submission may have so many."""

MAX_INDEX = 1_000_000

_FORMS = "write 1-10, 1-10:2, 1,4,7 or 0-99%4"


def parse(text: str) -> tuple[tuple[int, ...], int | None]:
    """The indices, ascending and each once, and how many may run at once (None: no limit). Raises ValueError."""
    listed, percent, throttle = text.partition("%")
    indices: set[int] = set()
    for item in listed.split(","):
        indices.update(_range(item.strip(), text))
        if len(indices) > MAX_JOBS:
            raise ValueError(f"'{text}' has more than {MAX_JOBS} jobs; one submission may have {MAX_JOBS}")
    return tuple(sorted(indices)), _limit(throttle, text) if percent else None


def _range(item: str, text: str) -> range:
    span, colon, step = item.partition(":")
    low, dash, high = span.partition("-")
    if not dash and colon:
        raise ValueError(f"'{text}' is not an array: a step belongs to a range; {_FORMS}")
    first = _number(low, text)
    last = _number(high, text) if dash else first
    by = _number(step, text) if colon else 1
    if first > last:
        raise ValueError(f"'{text}' is empty: the first index is larger than the last")
    if by < 1:
        raise ValueError(f"'{text}' is not an array: the step must be at least 1")
    indices = range(first, last + 1, by)
    if len(indices) > MAX_JOBS:
        raise ValueError(f"'{text}' has {len(indices)} jobs; one submission may have {MAX_JOBS}")
    return indices


def _limit(throttle: str, text: str) -> int:
    limit = _number(throttle, text)
    if limit < 1:
        raise ValueError(f"'{text}' would run no job at a time; write %1 or more")
    return limit


def _number(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ValueError(f"'{text}' is not an array: {_FORMS}")
    number = int(digits)
    if number > MAX_INDEX:
        raise ValueError(f"'{text}' has an index larger than {MAX_INDEX}")
    return number
