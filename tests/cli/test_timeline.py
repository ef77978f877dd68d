"""The timeline of reservations: what a picture says, and that it fits."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.cli.render.table import width
from gflow.cli.render.timeline import ASCII_SYMBOLS, COLOURS, SYMBOLS, Bar, timeline
from gflow.core.zones import UTC_ZONE, named

HOUR, DAY = 3600, 86400
MIDNIGHT = datetime(2026, 2, 1, tzinfo=ZoneInfo("UTC")).timestamp()
STATUSES = ("Active", "Pending", "Completed", "Cancelled")


def bar(number, user, gpus, start, hours, status="Pending", size=1):
    """A reservation from `start` hours after midnight on."""
    start_at = MIDNIGHT + start * HOUR
    return Bar((str(number), user, gpus), start_at, start_at + hours * HOUR, status, size)


BARS = [
    bar(1, "alice", "2", -3, 10, "Active", 2),
    bar(2, "bob", "#0,2", 8.5, 0.5, "Pending", 2),
    bar(3, "carol", "#0-3", 30, 24, "Pending", 4),
    bar(4, "dora", "1", -5, 4, "Completed", 1),
    bar(5, "eve", "1", 20, 4, "Cancelled", 1),
]


def drawn(bars=BARS, start=-6, end=42, now=2.2, zone=UTC_ZONE, columns=80, symbols=ASCII_SYMBOLS, colours=()):
    period = (MIDNIGHT + start * HOUR, MIDNIGHT + end * HOUR)
    return timeline(bars, period, MIDNIGHT + now * HOUR, zone, columns=columns, symbols=symbols, colours=dict(colours))


def test_a_picture_of_two_days():
    assert drawn() == (
        " 2026-01-31 18:00 UTC to 2026-02-02 18:00 UTC, 1 hour a column\n"
        "\n"
        "                        Sun 1 Feb               Mon 2 Feb\n"
        " ID  USER   GPUS    20  00  04  08  12  16  20  00  04  08  12  16\n"
        "                          v now\n"
        " 1   alice  2     ...##########...................................\n"
        " 2   bob    #0,2  ........|.....=.................................\n"
        " 3   carol  #0-3  ........|...........................============\n"
        " 4   dora   1     .----...|.......................................\n"
        " 5   eve    1     ........|.................xxxx..................\n"
        " GPUs reserved    .113322222222.2.....................444444444444\n"
        "\n"
        " # active   = pending   - completed   x cancelled\n"
    )


@pytest.mark.parametrize(
    ("hours", "columns", "unit"),
    [
        (24, 80, "30 minutes"),
        (48, 80, "1 hour"),
        (48, 140, "30 minutes"),
        (96, 80, "2 hours"),
        (168, 80, "3 hours"),
        (168, 200, "1 hour"),
        (24 * 30, 80, "12 hours"),
        (24 * 32, 80, "1 day"),
        (24 * 366, 80, "7 days"),
        (24 * 366, 40, "28 days"),
    ],
)
def test_a_column_is_as_short_as_fits(hours, columns, unit):
    assert drawn([bar(1, "a", "1", 5, 1)], 0, hours, columns=columns).split("\n")[0].endswith(f", {unit} a column")


@given(
    st.lists(
        st.builds(
            bar,
            st.integers(1, 99999),
            st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=30),
            st.sampled_from(["1", "16", "#0,2,4,6,8,10,12,14"]),
            st.integers(-200, 200).map(lambda half_hours: half_hours / 2),
            st.integers(1, 200).map(lambda half_hours: half_hours / 2),
            st.sampled_from(STATUSES),
            st.integers(1, 16),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(-1000, 1000),
    st.integers(1, 8000),
    st.floats(-1000, 1000),
    st.sampled_from([named(name) for name in ("UTC", "Asia/Kathmandu", "Europe/Berlin", "Australia/Lord_Howe")]),
    st.integers(72, 300),
    st.sampled_from([SYMBOLS, ASCII_SYMBOLS]),
)
def test_it_fits_whatever_there_is(bars, start, hours, now, zone, columns, symbols):
    lines = drawn(bars, start, start + hours, now, zone, columns, symbols).split("\n")
    assert max(map(width, lines)) <= columns
    assert not any(line != line.rstrip() for line in lines)


def test_narrower_than_anything_readable_it_stays_readable():
    lines = drawn(columns=20).split("\n")
    assert max(len(line) for line in lines[1:-2]) == 18 + 24


@given(
    st.integers(0, 95),
    st.integers(1, 48),
    st.sampled_from(["UTC", "Asia/Kathmandu", "Pacific/Chatham"]),
    st.floats(0, 0.99),
)
def test_a_bar_is_drawn_from_the_column_it_begins_in_to_the_one_it_ends_in(start, length, name, fraction):
    zone = named(name)
    period = (MIDNIGHT + fraction, MIDNIGHT + DAY + fraction)
    one = Bar(("1", "a", "1"), MIDNIGHT + start * 900, MIDNIGHT + start * 900 + length * 1800, "Pending", 1)
    picture = timeline([one], period, 0, zone, columns=80, symbols=ASCII_SYMBOLS, colours={})
    cells = next(line for line in picture.split("\n") if line.startswith(" 1 "))[17:]
    first = datetime.fromisoformat(picture[1:17]).replace(tzinfo=ZoneInfo(name)).timestamp()
    for column, cell in enumerate(cells):
        begins, ends = first + column * 1800, first + (column + 1) * 1800
        assert (cell == "=") == (one.start_at < ends and one.end_at > begins)


def test_the_last_line_counts_what_is_reserved_at_once():
    """Two one after the other in a column are no more than the larger; what is cancelled counts nothing."""
    bars = [
        bar(1, "a", "3", 0, 0.5, "Completed", 3),
        bar(2, "b", "2", 0.5, 0.5, "Pending", 2),
        bar(3, "c", "4", 1, 1, "Cancelled", 4),
        bar(4, "d", "1", 1, 1.5, "Pending", 1),
        bar(5, "e", "8", 2, 1, "Pending", 8),
        bar(6, "f", "12", 4, 1, "Pending", 12),
    ]
    line = drawn(bars, 0, 48, now=99).split("\n")[-4]
    assert line.split()[:2] == ["GPUs", "reserved"]
    assert line.split()[2].startswith("319.+....")


@pytest.mark.parametrize(("now", "said"), [(0.5, "v now"), (41.5, "now v"), (-6, "v now"), (99, None), (-7, None)])
def test_now_is_marked_where_it_can_be_seen(now, said):
    picture = drawn(now=now)
    marked = [line for line in picture.split("\n") if "now" in line]
    assert [line.strip() for line in marked] == ([said] if said else [])
    if said:
        assert next(line for line in picture.split("\n") if "eve" in line)[marked[0].index("v")] == "|"
    else:
        assert "|" not in picture


def test_on_a_day_on_which_clocks_change_the_labels_follow_the_clocks():
    berlin = named("Europe/Berlin")
    spring = datetime(2026, 3, 28, 12, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    one = Bar(("1", "a", "1"), spring, spring + DAY, "Pending", 1)
    picture = timeline([one], (spring, spring + DAY), 0, berlin, columns=80, symbols=ASCII_SYMBOLS, colours={})
    title, _, days, hours, bar_line = picture.split("\n")[:5]
    assert title == " 2026-03-28 12:00 CET to 2026-03-29 13:00 CEST, 30 minutes a column"
    assert hours.split()[3:] == "12 14 16 18 20 22 00 03 06 08 10 12".split()
    assert days.split() == ["Sat", "28", "Mar", "Sun", "29", "Mar"]
    assert bar_line.count("=") == 48


def test_colours_change_nothing_but_the_colour():
    plain, coloured = drawn(), drawn(colours=COLOURS.items())
    for escape in {*COLOURS.values(), "\x1b[0m"}:
        assert escape in coloured
        coloured = coloured.replace(escape, "")
    assert coloured == plain
    assert "\x1b" not in plain


def test_symbols_beyond_ascii_only_where_asked_for():
    assert drawn().isascii()
    picture = drawn(symbols=SYMBOLS)
    assert all(symbol in picture for symbol in "█▒░▼│·")
    translated = "".join({symbol: ASCII_SYMBOLS[name] for name, symbol in SYMBOLS.items()}.get(c, c) for c in picture)
    assert translated == drawn()
