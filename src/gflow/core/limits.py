"""Time limits, durations and memory sizes as people write and read them.

Imported by one-shot commands, so it needs nothing but built-ins. All parsers raise ValueError with one line that
says what is allowed.
"""

MAX_TIME_LIMIT_SECS = 366 * 86400
"""Longer limits are taken for typing errors."""

MAX_MEMORY_MB = 1 << 34
"""16 PiB."""

MAX_PROJECT = 64
"""Characters of a project's code."""

MAX_NAME = 128
"""Characters of a job's name, or a group's."""

MAX_KEY = 512
MAX_REASON = 500
"""Characters of why a job was cancelled."""

MAX_DRAIN_REASON = 200
MAX_RETRIES = 1000
MAX_SCRIPT_BYTES = 4 << 20
MAX_ENVIRONMENT_BYTES = 2 << 20

_TIME_FORMS = "use MM, MM:SS, HH:MM:SS or D-HH:MM:SS, e.g. 30 or 2:30:00"
_MEMORY_FORMS = "use a number of MB, or a number with M, G or T, e.g. 512M or 1.5G"
_MOST_DIGITS = 15
_MEMORY_UNITS = {"": 1.0, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0 * 1024.0}


def _digits(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit()


def parse_time_limit(text: str) -> int:
    """Seconds of `MM`, `MM:SS` or `HH:MM:SS`, or with days in front of `D-HH`, `D-HH:MM` or `D-HH:MM:SS`.

    A bare number is minutes, one after days is hours. Raises ValueError for anything else, for 0 and for more than
    366 days.
    """
    days, dash, clock = text.strip().rpartition("-")
    parts = clock.split(":")
    if (dash and not _digits(days)) or len(parts) > 3 or not all(map(_digits, parts)):
        raise ValueError(f"invalid time {text!r}: {_TIME_FORMS}")
    numbers = [int(part) for part in parts] + ([0] * (3 - len(parts)) if dash else [])
    if len(numbers) == 1:
        secs = numbers[0] * 60
    else:
        if any(number > 59 for number in numbers[1:]):
            raise ValueError(f"invalid time {text!r}: minutes and seconds after a colon go up to 59")
        secs = 0
        for number in numbers:
            secs = secs * 60 + number
    secs += int(days or 0) * 86400
    if secs <= 0:
        raise ValueError(f"invalid time {text!r}: a time limit must be longer than 0")
    if secs > MAX_TIME_LIMIT_SECS:
        raise ValueError(f"invalid time {text!r}: a time limit may be at most 366 days")
    return secs


_TWO_DIGITS = tuple([f"{number:02d}" for number in range(60)])
"""Looked up rather than made: long lists have very many durations."""


def format_duration(secs: float) -> str:
    """`HH:MM:SS`, or `D-HH:MM:SS` from one day on. Fractions are cut, negative values read 00:00:00."""
    whole = max(0, int(secs))
    days, rest = divmod(whole, 86400)
    clock = f"{_TWO_DIGITS[rest // 3600]}:{_TWO_DIGITS[rest // 60 % 60]}:{_TWO_DIGITS[rest % 60]}"
    return f"{days}-{clock}" if days else clock


def parse_memory_mb(text: str) -> int:
    """MiB of `512`, `512M`, `512MB`, `1.5G`, `2T`; a bare number is MiB; a trailing B or iB is allowed.

    Raises ValueError for anything else, for 0 and for absurd sizes.
    """
    body = text.strip().upper()
    for ending in ("IB", "B"):
        if body.endswith(ending) and len(body) > len(ending) and not body[-len(ending) - 1].isdigit():
            body = body[: -len(ending)]
            break
    unit = body[-1:] if body[-1:] in ("K", "M", "G", "T") else ""
    number = body[: len(body) - len(unit)]
    whole, dot, fraction = number.partition(".")
    if not _digits(whole) or (dot and not _digits(fraction)):
        raise ValueError(f"invalid memory size {text!r}: {_MEMORY_FORMS}")
    size_mb = round(float(number) * _MEMORY_UNITS[unit])
    if size_mb <= 0:
        raise ValueError(f"invalid memory size {text!r}: it must be at least 1M")
    if size_mb > MAX_MEMORY_MB:
        raise ValueError(f"invalid memory size {text!r}: that is more than any machine has")
    return size_mb


def format_memory_mb(size_mb: int) -> str:
    """`512M`, `1.5G`, `2G`: the shortest exact form."""
    if size_mb % 1024 == 0:
        return f"{size_mb // 1024}G"
    if size_mb > 1024 and size_mb * 10 % 1024 == 0:
        return f"{size_mb / 1024:.1f}G"
    return f"{size_mb}M"


def rounded_mb(size_mb: int) -> str:
    """A measured size: `11.2G`, `640M`."""
    return f"{size_mb / 1024:.1f}G" if size_mb >= 1024 else f"{size_mb}M"
