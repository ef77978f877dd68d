"""What the live view shows is made by functions of what was seen: rows that fit, times that count on, plain lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.cli.live.layout import columns, fit, gpu_lines, header, help_line, line
from gflow.cli.live.picture import ASKED, Picture, Row, counted_on
from gflow.cli.live.tail import MOST_LINES, Tail
from gflow.cli.render.table import width
from support.effort import examples


def row(job_id=1, name="train", st="R", time="00:00:05", remaining="00:01:00", reason="0", user="ana", **more):
    cells = dict.fromkeys(ASKED, "-") | {
        "JOBID": str(job_id),
        "NAME": name,
        "ST": st,
        "TIME": time,
        "REMAINING": remaining,
        "NODELIST(REASON)": reason,
        "USER": user,
    }
    return Row(cells | more)


def gpu(index, **fields):
    return {"index": index, "available": True, "reason": None, "jobs": [], **fields}


@pytest.mark.parametrize(
    ("wide", "expected"),
    [
        (20, ["JOBID", "NAME", "ST", "TIME"]),
        (40, ["JOBID", "NAME", "ST", "TIME", "USER"]),
        (60, ["JOBID", "NAME", "ST", "TIME", "REMAINING", "NODELIST(REASON)"]),
        (80, ["JOBID", "NAME", "ST", "TIME", "REMAINING", "NODELIST(REASON)", "USER"]),
    ],
)
def test_columns_that_do_not_fit_are_left_out_the_least_wanted_first(wide, expected):
    shown = columns([row(name="a-rather-long-name-of-a-job"), row(2, reason="(JobHeldUser)", st="H")], wide)
    assert [name for name, _ in shown] == expected


def test_columns_that_say_nothing_are_left_out():
    assert "PROJECT" not in dict(columns([row()], 200))
    assert "PROJECT" in dict(columns([row(PROJECT="p1")], 200))


@settings(max_examples=examples(100))
@given(st.lists(st.text(max_size=60), max_size=5), st.integers(30, 200))
def test_lines_fit(names, wide):
    rows = [row(at, name=name) for at, name in enumerate(names, 1)]
    shown = columns(rows, wide)
    assert all(width(text) <= wide for text in (header(shown), *(line(one, shown) for one in rows)))


@settings(max_examples=examples(100))
@given(st.text(max_size=20), st.integers(0, 30))
def test_fitted_text_has_the_width_asked_for(text, wide):
    assert width(fit(text.translate({0x0A: None}), wide)) == wide


@pytest.mark.parametrize(
    ("secs", "time", "remaining"),
    [(0, "00:00:05", "00:01:00"), (7, "00:00:12", "00:00:53"), (90000, "1-01:00:05", "00:00:00")],
)
def test_times_of_running_jobs_count_on(secs, time, remaining):
    later = counted_on(row(), secs)
    assert (later.cells["TIME"], later.cells["REMAINING"]) == (time, remaining)
    waiting = row(st="PD", time="-", remaining="-")
    assert counted_on(waiting, secs) == waiting
    assert counted_on(row(remaining="UNLIMITED"), secs).cells["REMAINING"] == "UNLIMITED"


@pytest.mark.parametrize(
    ("words", "found"), [("", [1, 2]), ("eval", [2]), ("ANA", [1, 2]), ("run", [1]), ("hold ana", [2]), ("nobody", [])]
)
def test_a_filter_is_words_that_are_all_in_a_row(words, found):
    picture = Picture((row(1), row(2, name="eval", st="H")), seen_at=0.0)
    assert [one.job_id for one in picture.chosen(words, 0.0)] == found


def test_gpus_are_told_with_their_holders_and_reasons():
    gpus = [
        gpu(0, available=False, utilisation_pct=87, used_mb=12390, memory_mb=40960, jobs=[{"id": 7, "name": "train"}]),
        gpu(1),
        gpu(2, available=False, reason="unmanaged(pid=9)"),
    ]
    assert gpu_lines(gpus[:2], 60, 4) == ["  0 █████████░  87% 12.1G/40.0G 7 train", "  1 idle"]
    assert gpu_lines(gpus, 80, 4)[1] == "  1 idle"
    assert "(unmanaged(pid=9))" in gpu_lines(gpus, 80, 4)[0]
    assert gpu_lines(gpus, 30, 2) == ["  0  87% 7 train", " … 2 more"]
    assert gpu_lines([], 80, 4) == []


def test_help_says_the_most_needed_keys_first():
    assert [key for key, _ in help_line(22)] == ["q", "?"]
    assert len(help_line(200)) > 8


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\r\nb\r\n"], ["a", "b"]),
        ([b"a\r", b"\nb"], ["a", "b"]),
        ([b" 10%\r 20%\r", b" 30%"], [" 30%"]),
        ([b" 10%\r 20%\r\n", b"x"], [" 20%", "x"]),
        ([b"\x1b[31mred\x1b[0m\n"], ["red"]),
        ([b"\x1b[3", b"1mred\n"], ["red"]),
        ([b"\x1b]0;title\x07x\n"], ["x"]),
        ([b"\x1b]9;4;1;50\x1b", b"\\x\n"], ["x"]),
        ([b"10%\r\x1b[K", b"20%\n"], ["20%"]),
        ([b"\xc3", b"\xa4\n"], ["ä"]),
        ([b"\xff\n"], ["\ufffd"]),
        ([b"\x07a\tb\x00\n"], ["a       b"]),
        ([b""], []),
    ],
)
def test_the_log_of_a_terminal_becomes_plain_lines(pieces, lines):
    tail = Tail()
    for piece in pieces:
        tail.feed(piece)
    assert tail.lines() == lines


def test_of_a_long_log_the_end_is_kept():
    tail = Tail()
    tail.feed(b"".join(b"%d\n" % number for number in range(3 * MOST_LINES)))
    assert len(tail.lines()) == MOST_LINES
    assert tail.lines()[-1] == str(3 * MOST_LINES - 1)
    tail.feed(b"x" * 1_000_000)
    assert len(tail.lines()[-1]) < 5000


@settings(max_examples=examples(100))
@given(st.lists(st.binary(max_size=30), max_size=8))
def test_nothing_of_a_log_steers_the_terminal(pieces):
    tail = Tail()
    for piece in pieces:
        tail.feed(piece)
    assert all(char >= " " and not "\x7f" <= char < "\xa0" for text in tail.lines() for char in text)


def test_nor_do_marks_that_turn_the_direction_of_writing():
    tail = Tail()
    tail.feed("a\u202eb\u2066c\u200fd\n".encode())
    assert tail.lines() == ["abcd"]
