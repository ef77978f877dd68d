"""Converters of `gctl reserve`: the text of an option's value to what its handlers work with."""

from __future__ import annotations

from gflow.cli import ids
from gflow.cli.command import Option

STATUSES = ("Pending", "Active", "Completed", "Cancelled")


def timezone(text: str) -> str:
    """The IANA name of a zone there is, or `local`."""
    from gflow.cli.reserve.zone import LOCAL, known

    name = text.strip()
    return LOCAL if name.lower() == LOCAL else str(known(name).name)


TIMEZONE = Option(
    "--timezone",
    convert=timezone,
    metavar="TZ",
    help="Times are of this zone: an IANA name such as Europe/Berlin, UTC, or local"
    " (default: timezone of the configuration file, else local).",
)


def reservation_ids(text: str) -> list[tuple[int, int]]:
    """Inclusive ranges of ids: `7`, `1,3-5`."""
    try:
        ranges = [part for part in ids.parse(text) if isinstance(part, tuple)]
    except ValueError:
        ranges = []
    if not ranges or len(ranges) != len(text.split(",")):
        raise ValueError(f"Invalid reservation ID or range: '{text}' (write ids like 7 or 1,3-5)")
    return ranges


def statuses(text: str) -> list[str]:
    """A comma list of statuses, in any case."""
    known = {status.lower(): status for status in STATUSES}
    words = [word.strip().lower() for word in text.split(",")]
    for word in words:
        if word not in known:
            raise ValueError(f"unknown status '{word}'; there are {', '.join(STATUSES)}")
    return [known[word] for word in words]
