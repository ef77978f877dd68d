"""Time zones: what clocks show, and what is said about times that they skip or show twice."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.slots import next_slot, on_grid
from gflow.core.zones import UTC_ZONE, Zone, hint, meant, named, parse_moment

ZONES = [
    *("UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Sao_Paulo"),
    *("Asia/Kolkata", "Asia/Kathmandu", "Asia/Shanghai", "Asia/Tehran", "Africa/Cairo", "Africa/Casablanca"),
    *("Australia/Lord_Howe", "Australia/Eucla", "Pacific/Chatham", "Pacific/Apia", "America/Caracas"),
]
zones = st.sampled_from(ZONES)
wall_clocks = st.datetimes(datetime(2001, 1, 1), datetime(2037, 12, 31)).map(lambda shown: shown.replace(microsecond=0))
near_changes = st.builds(
    lambda day, minutes: day + timedelta(minutes=minutes),
    st.sampled_from(
        [datetime(2026, month, day) for month in (3, 4, 9, 10, 11) for day in range(1, 29)] + [datetime(2011, 12, 30)]
    ),
    st.integers(0, 300),
)


@pytest.fixture(params=["Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "CET-1CEST,M3.5.0,M10.5.0/3"])
def local_name(request, monkeypatch):
    """The process runs in this zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def moments_of(shown, rules):
    """The moments at which clocks show `shown`, by the standard library's way to tell them apart (PEP 495)."""
    both = {shown.replace(tzinfo=rules, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(at.timestamp() for at in both if at.astimezone(rules).replace(tzinfo=None, fold=0) == shown)


@given(zones, wall_clocks | near_changes)
def test_the_moments_of_a_clock_are_all_there_are(name, shown):
    assert named(name).readings(shown) == moments_of(shown, ZoneInfo(name))


@given(zones, wall_clocks | near_changes)
def test_a_time_is_its_moment_or_the_error_says_what_to_write_instead(name, shown):
    zone = named(name)
    try:
        assert zone.clock(parse_moment(f"{shown:%Y-%m-%d %H:%M}", zone)).replace(tzinfo=None) == shown.replace(second=0)
    except ValueError as error:
        offered = [word.rstrip(";") for word in str(error).split() if word[:2] == "20" and "T" in word]
        found = [parse_moment(text, UTC_ZONE) for text in offered]
        assert len(found) == 2
        assert [zone.iso(at) for at in found] == offered
        assert found[0] < found[1]


@given(zones, wall_clocks | near_changes)
def test_the_moments_named_beside_a_gap_are_slots_and_have_none_between(name, shown):
    zone = named(name)
    if zone.readings(shown):
        return
    jump = zone.jump(shown)
    assert zone.clock(jump - 1).replace(tzinfo=None) < shown < zone.clock(jump).replace(tzinfo=None)
    with pytest.raises(ValueError, match="there is no") as caught:
        parse_moment(shown.isoformat(" "), zone)
    before, after = (parse_moment(text, UTC_ZONE) for text in str(caught.value).split("nearest are ")[1].split(" and "))
    assert before < jump <= after
    assert on_grid(before, zone)
    assert on_grid(after, zone)
    assert next_slot(before + 1, zone) == after


SKIPPED = [
    ("Europe/Berlin", "2026-03-29 02:30", "02:00 to 03:00", "2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"),
    ("America/New_York", "2026-03-08T02:00", "02:00 to 03:00", "2026-03-08T01:30-05:00", "2026-03-08T03:00-04:00"),
    # at midnight
    ("Africa/Cairo", "2026-04-24 00:30", "00:00 to 01:00", "2026-04-23T23:30+02:00", "2026-04-24T01:00+03:00"),
    # by half an hour
    ("Australia/Lord_Howe", "2026-10-04 02:00", "02:00 to 02:30", "2026-10-04T01:30+10:30", "2026-10-04T02:30+11:00"),
    # from a quarter to a quarter
    ("Pacific/Chatham", "2026-09-27 03:00", "02:45 to 03:45", "2026-09-27T02:30+12:45", "2026-09-27T04:00+13:45"),
    # a whole day
    (
        *("Pacific/Apia", "2011-12-30 12:00", "2011-12-30 00:00 to 2011-12-31 00:00"),
        *("2011-12-29T23:30-10:00", "2011-12-31T00:00+14:00"),
    ),
]


@pytest.mark.parametrize(("name", "text", "change", "before", "after"), SKIPPED)
def test_of_a_time_that_is_skipped_it_is_said_why_and_what_is_nearest(name, text, change, before, after):
    with pytest.raises(ValueError) as caught:
        parse_moment(text, named(name))
    said = f"there is no {text} in {name}: clocks are put forward from {change}; the nearest are {before} and {after}"
    assert str(caught.value) == said


REPEATED = [
    ("Europe/Berlin", "2026-10-25 02:30", "2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"),
    ("America/New_York", "2026-11-01T01:00", "2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00"),
    ("Australia/Lord_Howe", "2026-04-05 01:30", "2026-04-05T01:30+11:00", "2026-04-05T01:30+10:30"),
    ("Pacific/Chatham", "2026-04-05 03:00", "2026-04-05T03:00+13:45", "2026-04-05T03:00+12:45"),
]


@pytest.mark.parametrize(("name", "text", "first", "second"), REPEATED)
def test_of_a_time_that_comes_twice_it_is_asked_which(name, text, first, second):
    with pytest.raises(ValueError) as caught:
        parse_moment(text, named(name))
    said = f"{text} comes twice in {name}, as clocks are put back; say which by its offset: {first} or {second}"
    assert str(caught.value) == said


@pytest.mark.parametrize("edge", ["2026-03-29 01:59:59", "2026-03-29 03:00", "2026-10-25 01:59:59", "2026-10-25 03:00"])
def test_times_next_to_a_change_are_plain(edge):
    shown = datetime.fromisoformat(edge)
    assert [parse_moment(edge, named("Europe/Berlin"))] == moments_of(shown, ZoneInfo("Europe/Berlin"))


def test_an_offset_says_which_of_two_and_needs_no_zone():
    first, second = (parse_moment(f"2026-10-25T02:30{offset}", named("Europe/Berlin")) for offset in ("+02:00", "+01"))
    assert second - first == 3600
    assert parse_moment("2026-10-25T00:30:00Z", named("Asia/Tokyo")) == first
    assert parse_moment("2026-10-25 00:30z", named("Asia/Tokyo")) == first


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("2026-02-01 14:00", (2026, 2, 1, 14)),
        (" 2026-02-01t14:00:30 ", (2026, 2, 1, 14, 0, 30)),
        ("2026-02-01", (2026, 2, 1)),
    ],
)
@pytest.mark.parametrize("name", ["UTC", "Asia/Kathmandu", "Pacific/Chatham", "America/Los_Angeles"])
def test_without_an_offset_a_time_is_of_the_zone(name, text, fields):
    assert parse_moment(text, named(name)) == datetime(*fields, tzinfo=ZoneInfo(name)).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "14:00", "2026-02-30 14:00", "2026-02-01 25:00", "2026-02-01x14:00", "2026-02-01 14:00 CET"),
        *("20260201T1400", "2026-W05-1", "01/02/2026 14:00", "0001-01-01", "1969-12-31 23:00", "9999-12-31 23:59"),
    ],
)
def test_other_forms_are_refused_with_the_right_ones(text):
    with pytest.raises(ValueError, match="use YYYY-MM-DD HH:MM, or ISO 8601 such as 2026-02-01T14:00:00Z"):
        parse_moment(text, UTC_ZONE)


@given(st.text(max_size=25) | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.+Z-]{0,14}\Z"), zones)
def test_nonsense_is_a_value_error_of_one_line(text, name):
    complaint = "none"
    try:
        parse_moment(text, named(name))
    except ValueError as error:
        complaint = str(error)
    assert "\n" not in complaint


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "Europe", "America", "europe/berlin", "Berlin", "../UTC", "/etc/passwd", "/", ".", "a\0b", "\ud800"),
        *("x" * 500, "tzdata.zi", "zone.tab", "UTC\n", "GMT+25", "CET-1CEST,M3.5.0,M10.5.0/3"),
    ],
)
def test_what_is_no_zone_is_refused_in_one_short_line(name):
    with pytest.raises(ValueError, match="use an IANA name such as Europe/Berlin, or UTC") as caught:
        named(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160


@given(st.text(max_size=30) | st.from_regex(r"\A[A-Za-z/_.+-]{1,20}\Z"))
def test_any_name_is_a_zone_or_a_value_error(name):
    complaint = "unknown time zone"
    try:
        named(name).stamp(0)
    except ValueError as error:
        complaint = str(error)
    assert "unknown time zone" in complaint


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("berlin", "Europe/Berlin"),
        ("asia/shanghai", "Asia/Shanghai"),
        ("Los Angeles", "America/Los_Angeles"),
        ("utc", "UTC"),
        ("nowhere", None),
        ("", None),
    ],
)
def test_what_was_probably_meant(written, name):
    assert meant(written) == name


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("GMT+3", "3 hours ahead of UTC is Etc/GMT-3, with the sign turned round; a city minds summer time"),
        ("utc-05:00", "5 hours behind UTC is Etc/GMT+5, with the sign turned round; a city minds summer time"),
        ("+10", "10 hours ahead of UTC is Etc/GMT-10, with the sign turned round; a city minds summer time"),
        ("GMT+25", None),
        ("UTC+5:30", None),
        ("berlin", "did you mean Europe/Berlin?"),
        ("nowhere", None),
    ],
)
def test_an_offset_is_not_taken_for_the_zone_that_is_written_so(written, said):
    """By POSIX, and so by the names below Etc, west is plus."""
    assert hint(written) == said
    if said is not None and "Etc/" in said:
        sign = named(said.partition(" is ")[2].partition(",")[0]).offset(0)
        assert int(sign[:3]) == int(written.upper().replace("GMT", "").replace("UTC", "")[:3])


def test_stamps_have_an_abbreviation_or_an_offset():
    winter, summer = 1_769_950_800.0, 1_785_499_200.0
    assert named("Europe/Berlin").stamp(winter) == "2026-02-01 14:00 CET"
    assert named("Europe/Berlin").stamp(summer) == "2026-07-31 14:00 CEST"
    assert named("Asia/Kathmandu").stamp(winter) == "2026-02-01 18:45 +0545"
    assert UTC_ZONE.stamp(winter + 5.9) == "2026-02-01 13:00:05 UTC"
    assert UTC_ZONE.stamp(winter, secs=True) == "2026-02-01 13:00:00 UTC"
    assert named("Europe/Berlin").iso(winter) == "2026-02-01T14:00+01:00"
    assert [named(name).offset(winter) for name in ("America/St_Johns", "UTC")] == ["-03:30", "+00:00"]


def test_local_clocks_are_those_of_the_process(local_name):
    zone = Zone()
    for at in range(1_767_225_600, 1_798_761_600, 86400 * 5 + 1234):
        shown, expected = zone.clock(at), time.localtime(at)
        assert shown.timetuple()[:6] == expected[:6]
        assert (shown.tzname(), shown.utcoffset().total_seconds()) == (expected.tm_zone, expected.tm_gmtoff)


@pytest.mark.parametrize("local_name", ["Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"], indirect=True)
def test_local_times_are_read_like_those_of_any_zone(local_name):
    with pytest.raises(ValueError, match=r"there is no 2026-03-29 02:30 in local time: .* from 02:00 to 03:00"):
        parse_moment("2026-03-29 02:30", Zone())
    with pytest.raises(ValueError, match="comes twice in local time"):
        parse_moment("2026-10-25 02:30", Zone())
    assert parse_moment("2026-03-29 03:30", Zone()) == parse_moment("2026-03-29T01:30Z", Zone())
