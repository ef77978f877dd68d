"""Reservations on the wire: gflow's record, and requests that are right or Malformed."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.errors import Malformed
from gflow.core.reservations import Reservation
from gflow.core.zones import UTC_ZONE, named
from gflow.wire.requests import read
from gflow.wire.reservations import ReservationRequest, reservation_json, starts_at

START = datetime(2031, 1, 28, 14, tzinfo=UTC).timestamp()
MADE = Reservation(
    id=1,
    user="alice",
    start_at=START,
    end_at=START + 7200,
    gpu_count=1,
    created_at=1_795_312_506.25,
    created_by="root",
)
NEEDED, OPTIONAL = ("user", "start_time", "duration_secs"), ("gpu_count", "gpu_indices", "timezone")

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([2**53, -(2**63), 10**400])
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
plausible = {
    "user": st.sampled_from(["alice", " bob "]),
    "gpu_indices": st.lists(st.integers(-2, 1100), max_size=3),
    "start_time": numbers
    | st.fixed_dictionaries({"secs_since_epoch": numbers}, optional={"nanos_since_epoch": numbers}),
    "duration_secs": st.integers(),
    "timezone": st.text(max_size=20) | st.sampled_from(["Asia/Kathmandu", "Pacific/Chatham", "Europe"]),
}


def request(**fields):
    plain = {"user": "alice", "gpu_count": 1, "start_time": START, "duration_secs": 7200}
    return read(ReservationRequest, plain | fields)


def test_the_record_is_gflows_own_and_says_who_made_it():
    told = reservation_json(MADE, START - 1)
    assert list(told.items()) == [
        ("id", 1),
        ("user", "alice"),
        ("gpu_spec", {"count": 1}),
        ("start_time", {"secs_since_epoch": 1927375200, "nanos_since_epoch": 0}),
        ("duration", {"secs": 7200, "nanos": 0}),
        ("status", "Pending"),
        ("created_at", {"secs_since_epoch": 1795312506, "nanos_since_epoch": 250_000_000}),
        ("cancelled_at", None),
        ("created_by", "root"),
    ]


def test_certain_gpus_are_told_as_indices():
    told = reservation_json(replace(MADE, gpu_count=None, gpu_indices=(0, 2)), START)
    assert told["gpu_spec"] == {"indices": [0, 2]}


@pytest.mark.parametrize(
    ("wall", "cancelled_at", "status"),
    [
        (START - 0.001, None, "Pending"),
        (START, None, "Active"),
        (START + 7199.999, None, "Active"),
        (START + 7200, None, "Completed"),
        (START, START - 60, "Cancelled"),
    ],
)
def test_the_status_is_that_of_the_moment(wall, cancelled_at, status):
    told = reservation_json(replace(MADE, cancelled_at=cancelled_at), wall)
    assert told["status"] == status
    assert (told["cancelled_at"] is None) == (cancelled_at is None)


@pytest.mark.parametrize("start_time", [START, {"secs_since_epoch": 1927375200, "nanos_since_epoch": 0}])
def test_a_start_is_a_moment_or_seconds(start_time):
    assert starts_at(request(start_time=start_time), UTC_ZONE) == START


def test_a_start_is_on_the_grid_of_any_of_three_zones():
    quarter_past = START + 900  # 20:00 in Kathmandu
    kathmandu, chatham = named("Asia/Kathmandu"), named("Pacific/Chatham")
    assert starts_at(request(start_time=quarter_past, timezone="Asia/Kathmandu"), UTC_ZONE) == quarter_past
    assert starts_at(request(start_time=quarter_past), kathmandu) == quarter_past
    assert starts_at(request(start_time=quarter_past, timezone="Europe/Berlin"), chatham) == quarter_past
    assert starts_at(request(timezone="Asia/Kathmandu"), chatham) == START, "it is on that of UTC"


@pytest.mark.parametrize(
    ("timezone", "own", "offset", "said"),
    [
        (None, "UTC", 600, "2031-01-28 14:10:00 UTC is neither; the next slot is 2031-01-28 14:30 UTC"),
        (None, "UTC", 1, "2031-01-28 14:00:01 UTC is neither; the next slot is 2031-01-28 14:30 UTC"),
        (None, "Europe/Berlin", 900, "2031-01-28 15:15:00 CET is neither; the next slot is 2031-01-28 15:30 CET"),
        ("Asia/Kathmandu", "UTC", 60, "2031-01-28 19:46:00 +0545 is neither; the next slot is 2031-01-28 20:00 +0545"),
        (
            "Pacific/Chatham",
            "UTC",
            600,
            "2031-01-29 03:55:00 +1345 is neither; the next slot is 2031-01-29 04:00 +1345",
        ),
    ],
)
def test_off_the_grid_the_next_slot_is_named(timezone, own, offset, said):
    with pytest.raises(Malformed) as caught:
        starts_at(request(start_time=START + offset, timezone=timezone), named(own))
    assert str(caught.value) == f"Reservations start on the full or half hour, and {said}"


@pytest.mark.parametrize("start_time", [-1, 1e15, 1e300, 2**53 - 1, {"secs_since_epoch": -5}])
def test_moments_no_clock_shows_are_malformed(start_time):
    with pytest.raises(Malformed, match="no moment of the years"):
        starts_at(request(start_time=start_time), UTC_ZONE)


@pytest.mark.parametrize("timezone", ["", "Mars/Olympus", "Europe", "../UTC", "a\nb"])
def test_an_unknown_zone_is_malformed(timezone):
    with pytest.raises(Malformed, match="Invalid timezone: unknown time zone"):
        starts_at(request(timezone=timezone), UTC_ZONE)


@pytest.mark.parametrize(
    "fields",
    [
        {"nonsense": 1},
        {"id": 7},
        {"gpu_count": "2"},
        {"gpu_count": True},
        {"gpu_indices": [-1]},
        {"gpu_indices": [1024]},
        {"gpu_indices": 2},
        {"duration_secs": 1800.5},
        {"duration_secs": None},
        {"start_time": "2031-01-28 14:00"},
        {"start_time": None},
        {"user": None},
        {"timezone": 5},
    ],
)
def test_unknown_fields_and_wrong_types_are_malformed(fields):
    with pytest.raises(Malformed, match="Invalid request"):
        request(**fields)


@given(
    anything
    | st.fixed_dictionaries(
        {name: plausible[name] | anything for name in NEEDED},
        optional={name: plausible.get(name, numbers) for name in OPTIONAL},
    )
)
def test_whatever_is_sent_is_a_request_or_malformed(data):
    try:
        wanted = read(ReservationRequest, data)
        assert starts_at(wanted, UTC_ZONE) >= 0
    except Malformed:
        wanted = None
    assert wanted is None or all(0 <= index <= 1023 for index in wanted.gpu_indices or ())
