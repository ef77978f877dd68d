"""Times and durations of the API's JSON as texts. Pure but for the local time zone."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def seconds(value: Any) -> float | None:
    """Seconds of a JSON duration ({"secs", "nanos"}), time ({"secs_since_epoch", …}) or number; None of None."""
    if isinstance(value, dict):
        suffix = "_since_epoch" if "secs_since_epoch" in value else ""
        return float(value[f"secs{suffix}"]) + float(value[f"nanos{suffix}"]) / 1e9
    return None if value is None else float(value)


def iso(value: Any) -> str | None:
    """A moment as `2026-02-04T12:30:45Z`."""
    moment = seconds(value)
    return None if moment is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def stamp(value: Any) -> str:
    """A moment as gflow shows it, `02/04-13:30:45` in local time, or `-`."""
    moment = seconds(value)
    return "-" if moment is None else time.strftime("%m/%d-%H:%M:%S", time.localtime(moment))


def local(text: str) -> str:
    """A sentence of the daemon, which knows no zone but UTC, with local times: others stand beside it."""
    if " UTC" not in text:
        return text
    import re
    from datetime import datetime

    def shown(found: re.Match[str]) -> str:
        try:
            return f"{datetime.fromisoformat(found[1] + 'Z').astimezone():%Y-%m-%d %H:%M:%S}"
        except (ValueError, OverflowError):  # somebody's own words
            return found[0]

    return re.sub(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC\b", shown, text, flags=re.ASCII)


def ahead(secs: float) -> str:
    """How long something is away: `in 2h 05m`, `in 3d 4h`, `in 40s`; what is due is so `at any moment`."""
    whole = int(secs)
    if whole < 1:
        return "at any moment"
    if whole < 60:
        return f"in {whole}s"
    minutes = whole // 60
    if minutes < 60:
        return f"in {minutes}m"
    hours = minutes // 60
    return f"in {hours}h {minutes % 60:02d}m" if hours < 24 else f"in {hours // 24}d {hours % 24}h"
