"""The half-hour grid: durations, ranges, and where the next slot is."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core import reservations, slots
from gflow.core.slots import SLOT_SECS, next_slot, on_grid, parse_duration, parse_range
from gflow.core.zones import UTC_ZONE, named

HOUR = 3600
zones = st.sampled_from(
    [named(name) for name in ("UTC", "Asia/Kathmandu", "Asia/Kolkata", "Pacific/Chatham", "Australia/Lord_Howe")]
)


def test_the_grid_is_the_one_the_engine_keeps():
    assert (slots.SLOT_SECS, slots.LONGEST_SECS) == (reservations.SLOT_SECS, reservations.LONGEST_SECS)


@pytest.mark.parametrize(
    ("text", "secs"),
    [
        ("2h", 7200),
        ("30m", 1800),
        ("1h30m", 5400),
        ("90m", 5400),
        (" 2H ", 7200),
        ("8784h", 366 * 86400),
        ("0h30m", 1800),
    ],
)
def test_durations(text, secs):
    assert parse_duration(text) == secs


OFF_GRID = ("", "2", "h", "m", "1h30", "1h30m5", "-2h", "1.5h", "45m", "1h1m", "2 h", "1d", "hm", "1hm", "h30m", "1h2h")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *((text, "in steps of 30 minutes") for text in (*OFF_GRID, "٣h", "9999999h")),
        *((text, "longer than 0") for text in ("0h", "0m", "0h0m")),
        ("8785h", "at most 366 days"),
    ],
)
def test_other_durations_are_refused(text, says):
    with pytest.raises(ValueError, match=says) as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("48h", (0, 48)),
        ("+48h", (0, 48)),
        ("-24h", (-24, 0)),
        ("-24h:+24h", (-24, 24)),
        ("-24h:24h", (-24, 24)),
        ("0h:24h", (0, 24)),
        ("24h:48h", (24, 48)),
        ("-48h:-24h", (-48, -24)),
        ("-30m:1h30m", (-0.5, 1.5)),
    ],
)
def test_ranges(text, bounds):
    assert parse_range(text) == tuple(bound * HOUR for bound in bounds)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *(
            (text, "use e.g. 48h")
            for text in ("", ":", "24", "+-24h", "--24h", "1h:", ":1h", "1h:2h:3h", "15m", "-1h:20m")
        ),
        *((text, "ends before it begins") for text in ("0h", "24h:-24h", "5h:5h")),
        *((text, "at most 366 days") for text in ("8785h", "-8785h", "-4393h:4393h")),
    ],
)
def test_other_ranges_are_refused(text, says):
    with pytest.raises(ValueError, match=says):
        parse_range(text)


@given(st.text(max_size=12) | st.from_regex(r"\A[0-9hm:+-]{0,12}\Z"))
def test_what_is_read_is_on_the_grid(text):
    for parse in (parse_duration, parse_range):
        try:
            found = parse(text)
        except ValueError:
            continue
        secs = [found] if isinstance(found, int) else found
        assert all(bound % SLOT_SECS == 0 for bound in secs)


def test_the_grid_is_that_of_the_zone():
    at = datetime(2026, 2, 1, 8, 15, tzinfo=UTC).timestamp()
    assert on_grid(at, named("Asia/Kathmandu")), "14:00 there"
    assert not on_grid(at, UTC_ZONE)
    assert next_slot(at, UTC_ZONE) == at + 900
    assert next_slot(at, named("Asia/Kathmandu")) == at
    assert not on_grid(at + 0.5, named("Asia/Kathmandu"))
    assert next_slot(at + 0.5, named("Asia/Kathmandu")) == at + SLOT_SECS


@given(zones, st.integers(946_684_800, 2_145_916_800) | st.integers(0, 35_000_000_000).map(lambda n: n / 16))
def test_the_next_slot_is_the_first_on_the_grid(zone, at):
    found = next_slot(at, zone)
    assert on_grid(found, zone)
    assert 0 <= found - at < SLOT_SECS
    assert (found == at) == on_grid(at, zone)
