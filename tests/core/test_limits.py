"""Times and sizes as people write them: what is read, what is written back, and what is refused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.limits import (
    MAX_MEMORY_MB,
    MAX_TIME_LIMIT_SECS,
    format_duration,
    format_memory_mb,
    parse_memory_mb,
    parse_time_limit,
)

NOT_TIMES = [
    "",
    "x",
    "1 2",
    "-5",
    "-1:00",
    "1.5",
    "1:2:3:4",
    "2h",
    "1:",
    ":1",
    "1-5",
    "1-2:3",
    "+5",
    "½",
    "٣",
    "9" * 5000,
]
NOT_SIZES = ["", "G", "-1G", "1.5.5G", "1,5G", "1e3", "1GG", "1 G", "5B", "1.G", ".5G", "inf", "nan", "9" * 400]


@pytest.mark.parametrize(
    ("text", "secs"),
    [
        ("10", 600),
        ("30", 1800),
        ("0:10", 10),
        ("5:30", 330),
        ("45:30", 2730),
        ("1:30:00", 5400),
        ("2:30:45", 9045),
        ("168:00:00", 604800),
        ("2-04:30:00", 189000),
        ("2-04:30", 189000),
        ("1-12", 129600),
        ("0-1", 3600),
        (" 30 ", 1800),
        ("090", 5400),
        ("8784:00:00", MAX_TIME_LIMIT_SECS),
    ],
)
def test_time_limits_that_are_read(text: str, secs: int) -> None:
    assert parse_time_limit(text) == secs


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        *[(text, "longer than 0") for text in ("0", "0:00", "00:00:00", "0-00:00:00", "0-0")],
        *[(text, "at most 366 days") for text in ("8784:00:01", "999999999999", "367-00:00:00")],
        *[(text, "go up to 59") for text in ("1:60", "99:99", "1:60:00", "1:00:60", "1-2:60")],
        *[
            (text, "use MM, MM:SS, HH:MM:SS or D-HH:MM:SS")
            for text in (
                "",
                "x",
                "-5",
                "-1:00",
                "1.5",
                "1:2:3:4",
                "2h",
                "1:",
                ":1",
                "1-",
                "-1-2",
                "1-2-3",
                "1-2:3:4:5",
                "+5",
                "½",
                "٣",
                "1 2",
            )
        ],
    ],
)
def test_time_limits_that_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_time_limit(text)


@given(st.integers(0, 300), st.integers(1, 23), st.integers(0, 59))
def test_days_go_with_hours_and_with_minutes(days: int, hours: int, minutes: int) -> None:
    assert parse_time_limit(f"{days}-{hours}") == parse_time_limit(f"{days}-{hours}:00:00")
    assert parse_time_limit(f"{days}-{hours}:{minutes}") == parse_time_limit(f"{days}-{hours}:{minutes}:00")


@given(st.integers(1, MAX_TIME_LIMIT_SECS))
def test_a_written_duration_reads_back(secs: int) -> None:
    assert parse_time_limit(format_duration(secs)) == secs


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        (0, "00:00:00"),
        (-3, "00:00:00"),
        (59.99, "00:00:59"),
        (86399, "23:59:59"),
        (86400, "1-00:00:00"),
        (2 * 86400 + 4 * 3600 + 1800, "2-04:30:00"),
    ],
)
def test_durations_as_they_are_written(secs: float, text: str) -> None:
    assert format_duration(secs) == text


@pytest.mark.parametrize(
    ("text", "size_mb"),
    [
        ("512", 512),
        ("512M", 512),
        ("512m", 512),
        ("512MB", 512),
        ("512MiB", 512),
        ("1G", 1024),
        ("1.5G", 1536),
        ("16GB", 16384),
        ("2T", 2 * 1024 * 1024),
        ("2048K", 2),
    ],
)
def test_memory_sizes_that_are_read(text: str, size_mb: int) -> None:
    assert parse_memory_mb(text) == size_mb


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        *[(text, "at least 1M") for text in ("0", "0G", "1K", "0.0001M")],
        *[(text, "more than any machine has") for text in ("17179869185", "16385T", "999999999999999T")],
        *[(text, "use a number of MB") for text in NOT_SIZES],
    ],
)
def test_memory_sizes_that_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_memory_mb(text)


@given(st.integers(1, MAX_MEMORY_MB))
def test_a_written_size_reads_back(size_mb: int) -> None:
    assert parse_memory_mb(format_memory_mb(size_mb)) == size_mb


@pytest.mark.parametrize(
    ("size_mb", "text"), [(1, "1M"), (1000, "1000M"), (1024, "1G"), (1536, "1.5G"), (1280, "1280M")]
)
def test_sizes_as_they_are_written(size_mb: int, text: str) -> None:
    assert format_memory_mb(size_mb) == text


@pytest.mark.parametrize("parse", [parse_time_limit, parse_memory_mb])
@given(text=st.text(max_size=12))
def test_anything_else_is_a_plain_refusal_of_one_line(parse: Callable[[str], int], text: str) -> None:
    try:
        result = parse(text)
    except ValueError as refused:
        complaint = str(refused)
    else:
        assert result > 0
        return
    assert complaint.startswith("invalid ")
    assert repr(text) in complaint
    assert complaint.isprintable()
