"""Progress is read from what jobs write as they are used to, and nonsense is none."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.progress import Progress
from gflow.launch.progress import NOTE_CHARS, REPORT_BYTES, TAIL_BYTES, read_progress, read_report, reported, shown

NOTES = st.text("abc xyz", min_size=1, max_size=20).map(str.strip).filter(bool)
BAR = "\r 45%|████▌     | 45/100 [00:10<00:12,  4.50it/s]"


@pytest.mark.parametrize(
    ("content", "percent", "note"),
    [
        ("45", 45, None),
        ("45%", 45, None),
        ("45.5 %\n", 45.5, None),
        ("450/1000", 45, None),
        ("1.5 / 3", 50, None),
        ("100/100", 100, None),
        ("45% epoch 3 of 5\n", 45, "epoch 3 of 5"),
        ("3/4 \x1b[31mred\x07", 75, "[31mred"),
        ("10%\n20%\n30% last\n\n", 30, "last"),
        ("7 " + "x" * 500, 7, "x" * NOTE_CHARS),
    ],
)
def test_a_file_says_how_far_its_job_is(content: str, percent: float, note: str | None) -> None:
    assert reported(content.encode(), 5.0) == Progress(percent, 5.0, "file", note=note)


@pytest.mark.parametrize(
    "content", ["", "\n \n", "half", "-1", "45%%", "1/0", "nan", "1e3", "٤٥", "1/2/3", "0x10", "\0", "15/10", "101"]
)
def test_a_file_that_says_something_else_says_nothing(content: str) -> None:
    assert reported(content.encode(), 5.0) is None


@pytest.mark.parametrize(
    ("text", "percent", "left_secs"),
    [
        (BAR, 45, 12),
        (BAR + "\r100%|██████████| 100/100 [00:22<00:00,  4.5it/s]\n", 100, 0),
        ("Epoch 3:  7%|#7        | 7.00k/100k [1:02:03<14:00:00, 2.2it/s, loss=0.1]", 7, 14 * 3600),
        ("  0%|          | 0/100 [00:00<?, ?it/s]", 0, None),
        (f"{BAR}\nsaved model.pt at 99% of it\n", 45, 12),
        ("\x1b[32m 45%|\x1b[0m####\x1b[0m    | 45/100 [00:10<00:12]", 45, 12),
        ("\x1b]9;4;1;30\x07", 30, None),
        ("\x1b]9;4;1;30\x1b\\ and text", 30, None),
        ("\x1b]9;4;1;30\x07" + BAR, 45, 12),
        (BAR + "\x1b]9;4;1;30\x07", 30, None),
        ("\x1b]9;4;0;\x07" + BAR, 45, 12),
        ("\x1b]9;4;1;200\x07", 100, None),
    ],
)
def test_a_terminal_shows_how_far_its_job_is(text: str, percent: float, left_secs: float | None) -> None:
    assert shown(text.encode(), 5.0) == Progress(percent, 5.0, "terminal", left_secs=left_secs)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "45% done",
        "12it [00:10, 1.2it/s]",
        "45%|###| 45/100",
        "1145%|###| 45/100 [00:10<00:12]",
        "\x1b]9;4;3;\x07",
        "\x1b]9;4;2\x07",
        "\x1b]9;4;1;30\x07 ... \x1b]9;4;0\x07",
        "\x1b]9;9;1;30\x07",
        "\x1b]9;4;1;30",
    ],
)
def test_what_only_looks_like_it_shows_nothing(text: str) -> None:
    assert shown(text.encode(), 5.0) is None


@pytest.mark.parametrize(("word", "state"), [("2", "error"), ("4", "paused")])
def test_an_error_or_a_pause_may_leave_it_where_it_was(word: str, state: str) -> None:
    text = f"\x1b]9;4;1;30\x07\x1b]9;4;{word}\x07"
    assert shown(text.encode(), 5.0) == Progress(30, 5.0, "terminal", state=state)
    assert shown(f"\x1b]9;4;{word};60\x07".encode(), 5.0) == Progress(60, 5.0, "terminal", state=state)


@given(st.binary(max_size=300) | st.text("0123456789%|/[]<:? \r\n\x1b;\x07", max_size=120).map(str.encode))
def test_nothing_a_job_writes_is_an_error(content: bytes) -> None:
    for found in (reported(content, 1.0), shown(content, 1.0)):
        assert found is None or 0 <= found.percent <= 100


@given(st.floats(0, 100).map(lambda value: round(value, 3)), NOTES)
def test_what_is_written_is_read(percent: float, note: str) -> None:
    assert reported(f"{percent:f} {note}".encode(), 1.0) == Progress(pytest.approx(percent), 1.0, "file", note=note)


# -- files ---------------------------------------------------------------------------------------------------------


def test_the_file_counts_before_the_terminal_and_the_end_of_both(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "progress"
    assert read_progress(log, read_report(file)) is None
    log.write_bytes(b"99%|###| 99/100 [00:10<00:12]" + b"x" * TAIL_BYTES)
    assert read_progress(log, read_report(file)) is None, "too far back"
    log.write_bytes(b"x" * TAIL_BYTES + BAR.encode())
    os.utime(log, (7, 7))
    assert read_progress(log, None) == Progress(45, 7.0, "terminal", left_secs=12.0)
    file.write_text("1%\n" * REPORT_BYTES + "20% there\n")
    os.utime(file, (9, 9))
    assert read_progress(log, read_report(file)) == Progress(20, 9.0, "file", note="there")
    file.write_text("nothing that counts")
    assert read_progress(log, read_report(file)) == Progress(45, 7.0, "terminal", left_secs=12.0)


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    """Nor waited for."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "secret").write_text("50")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for name in ("pipe", "link", "."):
        assert read_progress(tmp_path / "no log", read_report(tmp_path / name)) is None
