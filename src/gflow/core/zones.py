"""Time zones: what clocks show at a moment, and which moment a person means by what a clock shows.

Clocks skip some times and show others twice. Neither is guessed over: the error says what happens then, and which
moments there are. Imported by one-shot commands, so zoneinfo is loaded only when a zone is named. The tables of zones
are those of the system, else of the package tzdata.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gflow.core.slots import SLOT_SECS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import tzinfo

_FORMS = "use YYYY-MM-DD HH:MM, or ISO 8601 such as 2026-02-01T14:00:00Z"
_YEARS = range(1970, 9999)
_DAY_SECS = 86400


class Zone:
    """The clocks of a time zone, those of this process if no `rules` are given. `name` is the IANA name, if known."""

    __slots__ = ("_rules", "name")

    def __init__(self, name: str | None = None, rules: tzinfo | None = None) -> None:
        self.name = name
        self._rules = rules

    def clock(self, at: float) -> datetime:
        """What the clocks show at a moment, in seconds since the epoch; it knows its offset and abbreviation."""
        shown = datetime.fromtimestamp(at, UTC)
        return shown.astimezone(self._rules)

    def stamp(self, at: float, *, secs: bool = False) -> str:
        """A moment as `2026-02-01 14:00 CET`, with seconds where there are any or they are asked for."""
        shown = self.clock(at)
        clock = f"{shown:%H:%M:%S}" if secs or shown.second else f"{shown:%H:%M}"
        return f"{shown:%Y-%m-%d} {clock} {shown.tzname()}"

    def iso(self, at: float) -> str:
        """A moment as `2026-02-01T14:00+01:00`."""
        return self.clock(at).isoformat(timespec="minutes")

    def offset(self, at: float) -> str:
        """How far the clocks are ahead of UTC at a moment, as `+01:00`."""
        return self.iso(at)[len("2026-02-01T14:00") :]

    def readings(self, shown: datetime) -> list[float]:
        """The moments at which the clocks show just that: none where they are put forward, two where back."""
        utc = shown.replace(tzinfo=UTC).timestamp()
        offsets = {self._offset_secs(utc + hours * 3600) for hours in (-24, -12, 0, 12, 24)}
        return sorted(at for at in {utc - secs for secs in offsets} if self._shows(at) == shown)

    def jump(self, shown: datetime) -> int:
        """The moment, in whole seconds, at which the clocks are put forward over a time they never show."""
        utc = int(shown.replace(tzinfo=UTC).timestamp())
        before, after = utc - _DAY_SECS, utc + _DAY_SECS
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if self._shows(middle) < shown else (before, middle)
        return after

    def _shows(self, at: float) -> datetime:
        return self.clock(at).replace(tzinfo=None)

    def _offset_secs(self, at: float) -> float:
        offset = self.clock(at).utcoffset()
        assert offset is not None
        return offset.total_seconds()


UTC_ZONE = Zone("UTC", UTC)


def named(name: str) -> Zone:
    """The zone with an IANA name. Raises ValueError."""
    from zoneinfo import ZoneInfo

    try:
        return Zone(name, ZoneInfo(name))
    except (LookupError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name[:60]!r}: use an IANA name such as Europe/Berlin, or UTC") from None


def hint(name: str) -> str | None:
    """What was probably meant by a name no zone has. Looks through all there are."""
    hours = _offset_hours(name)
    if hours is not None:
        ahead = f"{abs(hours)} hours {'ahead of' if hours > 0 else 'behind'} UTC"
        return f"{ahead} is Etc/GMT{-hours:+d}, with the sign turned round; a city minds summer time"
    likely = meant(name)
    return f"did you mean {likely}?" if likely is not None else None


def _offset_hours(name: str) -> int | None:
    """3 of `GMT+3`, `UTC+03:00` and `+3`; None of what is no offset in whole hours, or of one that no zone has."""
    text = name.strip().upper().removeprefix("GMT").removeprefix("UTC").removesuffix(":00")
    if text[:1] not in ("+", "-") or not (text.isascii() and text[1:].isdigit()) or len(text) > 3:
        return None
    return int(text) if int(text) and -12 <= int(text) <= 14 else None


def meant(name: str) -> str | None:
    """The zone whose name is most like one that no zone has. Looks through all there are."""
    from zoneinfo import available_timezones

    wanted = name.strip().replace(" ", "_").lower()
    alike = (known for known in available_timezones() if wanted in (known.lower(), known.rpartition("/")[2].lower()))
    return min(alike, key=lambda known: (len(known), known), default=None)


def parse_moment(text: str, zone: Zone) -> float:
    """Seconds since the epoch of `YYYY-MM-DD HH:MM` or of an ISO 8601 time; one without an offset is meant in `zone`.

    Raises ValueError for anything else, and for a time that the clocks of `zone` skip or show twice.
    """
    shown = _read(text.strip())
    if shown is None or shown.year not in _YEARS:
        raise ValueError(f"invalid time {text!r}: {_FORMS}")
    if shown.tzinfo is not None:
        return shown.timestamp()
    found = zone.readings(shown)
    if not found:
        raise ValueError(_skipped(text.strip(), zone, zone.jump(shown)))
    if len(found) > 1:
        raise ValueError(_repeated(text.strip(), zone, found))
    return found[0]


def _read(text: str) -> datetime | None:
    """The time, if it is written as a date with dashes and perhaps a time of day."""
    if text[4:5] != "-" or text[7:8] != "-" or text[10:11].upper() not in ("", " ", "T"):
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return None


def _where(zone: Zone) -> str:
    return f"in {zone.name}" if zone.name is not None else "in local time"


def _skipped(text: str, zone: Zone, jump: int) -> str:
    """Why there is no such time, and the half hours next to the gap."""
    last, first = zone.clock(jump - 1), zone.clock(jump)
    before = jump - 1 - (last.minute * 60 + last.second) % SLOT_SECS
    after = jump + -(first.minute * 60 + first.second) % SLOT_SECS
    end = last + timedelta(seconds=1)  # what they would have shown, had they gone on
    form = "%H:%M" if end.date() == first.date() else "%Y-%m-%d %H:%M"
    return (
        f"there is no {text} {_where(zone)}: clocks are put forward from {end:{form}} to {first:{form}}; "
        f"the nearest are {zone.iso(before)} and {zone.iso(after)}"
    )


def _repeated(text: str, zone: Zone, found: list[float]) -> str:
    return (
        f"{text} comes twice {_where(zone)}, as clocks are put back; say which by its offset: "
        f"{' or '.join(map(zone.iso, found))}"
    )
