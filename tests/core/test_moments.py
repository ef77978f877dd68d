"""Moments as people write them, in zones with and without clock changes."""

import contextlib
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.moments import parse_begin, parse_since


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata"])
def zone(request, monkeypatch):
    """The process runs in this zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield ZoneInfo(request.param)
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield ZoneInfo("Europe/Berlin")
    monkeypatch.undo()
    time.tzset()


def at(zone, *fields, fold=0):
    return datetime(*fields, tzinfo=zone, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("text", "secs"),
    [
        ("now", 0),
        ("now+30", 1800),
        ("+30", 1800),
        ("+45s", 45),
        ("now+5m", 300),
        ("now+2h", 7200),
        ("+1d", 86400),
        ("now+1hour", 3600),
        ("now+2hours", 7200),
        ("NOW+90Seconds", 90),
        ("now+5minutes", 300),
        ("now+1day", 86400),
        ("+2weeks", 2 * 604800),
        ("today", 0),
    ],
)
def test_offsets(text, secs):
    assert parse_begin(text, 1e9) == 1e9 + secs


def test_a_date_is_its_local_midnight(zone):
    now = at(zone, 2026, 6, 15, 12, 0)
    assert parse_begin("2026-06-20", now) == at(zone, 2026, 6, 20)
    assert parse_begin("2026-06-20T08:30", now) == at(zone, 2026, 6, 20, 8, 30)
    assert parse_begin("2026-06-20 08:30:15", now) == at(zone, 2026, 6, 20, 8, 30, 15)


def test_a_time_of_day_is_its_next_occurrence(zone):
    now = at(zone, 2026, 12, 31, 12, 0)
    assert parse_begin("18:30", now) == at(zone, 2026, 12, 31, 18, 30)
    assert parse_begin("08:15:10", now) == at(zone, 2027, 1, 1, 8, 15, 10)
    assert parse_begin("12:00", now) == now


@pytest.mark.parametrize(
    ("word", "hour"), [("midnight", 0), ("elevenses", 11), ("Noon", 12), ("fika", 15), ("teatime", 16)]
)
def test_slurm_s_words_are_their_next_occurrence(zone, word, hour):
    assert parse_begin(word, at(zone, 2026, 12, 30, 23, 59)) == at(zone, 2026, 12, 31, hour)
    assert parse_begin(word, at(zone, 2026, 12, 31, hour)) == at(zone, 2026, 12, 31, hour)


def test_tomorrow_is_the_coming_midnight(berlin):
    assert parse_begin("tomorrow", at(berlin, 2026, 12, 31, 12, 0)) == at(berlin, 2027, 1, 1)
    assert parse_begin("tomorrow", at(berlin, 2026, 3, 28, 23, 0)) == at(berlin, 2026, 3, 29)


@given(st.integers(0, 999), st.sampled_from(["second", "minute", "hour", "day", "week"]), st.sampled_from(["", "s"]))
def test_units_written_out_are_the_letters(number, unit, plural):
    if unit == "week" and number > 500:
        number = 500
    assert parse_begin(f"now+{number}{unit}{plural}", 1e9) == parse_begin(f"+{number}{unit[0]}", 1e9)


@pytest.mark.parametrize("text", ["now+1hourss", "now+1fortnight", "now+hours", "now+1 hour", "tomorrow 12:00", "+s"])
def test_other_units_and_words_are_refused(text):
    with pytest.raises(ValueError, match="invalid begin time"):
        parse_begin(text, 1e9)


def test_times_that_a_clock_change_skips_do_not_exist(berlin):
    now = at(berlin, 2026, 3, 28, 12, 0)
    with pytest.raises(ValueError, match="no such local time"):
        parse_begin("2026-03-29T02:30", now)
    assert parse_begin("2026-03-29T03:30", now) == at(berlin, 2026, 3, 29, 3, 30)


def test_a_time_of_day_skipped_tomorrow_is_the_day_before_or_refused(berlin):
    assert parse_begin("02:30", at(berlin, 2026, 3, 28, 1, 0)) == at(berlin, 2026, 3, 28, 2, 30)
    with pytest.raises(ValueError, match="is past"):
        parse_begin("02:30", at(berlin, 2026, 3, 28, 12, 0))


def test_times_that_a_clock_change_repeats_are_the_next_of_the_two(berlin):
    first, second = at(berlin, 2026, 10, 25, 2, 30), at(berlin, 2026, 10, 25, 2, 30, fold=1)
    assert second - first == 3600
    assert parse_begin("2026-10-25T02:30", first - 60) == first
    assert parse_begin("02:30", first + 60) == second
    assert parse_begin("2026-10-25 02:30", first + 60) == second


def test_what_is_past_is_refused(zone):
    now = at(zone, 2026, 6, 15, 12, 0)
    for text in ("2026-06-15", "2026-06-15T11:59", "1999-01-01"):
        with pytest.raises(ValueError, match="past"):
            parse_begin(text, now)


@pytest.mark.parametrize("text", ["2026-02-30", "2026-13-01", "2027-02-29"])
def test_days_that_do_not_exist_are_refused(text):
    with pytest.raises(ValueError, match="no such local time"):
        parse_begin(text, datetime(2026, 1, 1, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    "text", ["", "soon", "now-5", "now2h", "+", "+h", "+5y", "25:00", "8:61", "8", "2026-1", "2026-01-01T"]
)
def test_other_forms_are_refused_with_the_right_ones(text):
    with pytest.raises(ValueError, match="use now"):
        parse_begin(text, 1e9)


@pytest.mark.parametrize("text", ["+99999999d", "now+999999h", "2099-01-01"])
def test_absurdly_far_is_taken_for_an_error(text):
    with pytest.raises(ValueError, match="ten years"):
        parse_begin(text, 1.8e9)


@given(st.text(max_size=30), st.floats(0, 4e9))
def test_begin_times_are_in_the_future_or_refused(text, now):
    try:
        moment = parse_begin(text, now)
    except ValueError:
        moment = now
    assert moment >= now


@given(st.from_regex(r"\A[0-9T:+ nowsmhd-]{1,25}\Z"), st.integers(0, 4_000_000_000))
def test_text_that_looks_like_a_time_raises_nothing_else(text, now):
    for parse in (parse_begin, parse_since):
        with contextlib.suppress(ValueError):
            assert isinstance(parse(text, float(now)), float)


@given(st.datetimes(datetime(2001, 1, 1), datetime(2037, 1, 1)))
def test_since_reads_what_isoformat_writes(moment):
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert parse_since(moment.isoformat(), 1e9) == moment.timestamp()
    assert parse_since(moment.isoformat().replace("+00:00", "Z"), 1e9) == moment.timestamp()


def test_since_counts_back_from_now():
    assert parse_since("2h", 1e9) == 1e9 - 7200
    assert parse_since("3d", 1e9) == 1e9 - 3 * 86400
    assert parse_since("1w", 1e9) == 1e9 - 7 * 86400
    assert parse_since("1234567", 1e9) == 1234567


def test_today_and_yesterday_begin_at_local_midnight(zone):
    now = at(zone, 2026, 3, 1, 0, 30)
    assert parse_since("today", now) == at(zone, 2026, 3, 1)
    assert parse_since("yesterday", now) == at(zone, 2026, 2, 28)


def test_since_takes_local_dates_and_times(zone):
    now = at(zone, 2026, 6, 15, 12, 0)
    assert parse_since("2026-06-01", now) == at(zone, 2026, 6, 1)
    assert parse_since("2026-06-01T08:30", now) == at(zone, 2026, 6, 1, 8, 30)


@pytest.mark.parametrize("text", ["", "h", "2x", "-2h", "lately", "2026-02-30", "9" * 20])
def test_since_refuses_the_rest(text):
    with pytest.raises(ValueError, match="use 2h"):
        parse_since(text, 1e9)
