"""What a launch leaves on disk, and what it says when parts of it are missing or cut."""

import os
import stat
from pathlib import Path

import pytest

from gflow.launch.run_directory import RunDirectory, boot_id
from support.tmux_server import make_job

BLANK = "-" * 31 + "\n"


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "7.abc")
    directory.create(b"true\n", [("script/train.py", b"text")])
    return directory


def record(directory: RunDirectory, content: str) -> tuple[object, ...]:
    (directory.path / "record").write_text(content)
    read = directory.record()
    return read.code, read.word, read.boot, read.logger_pid


def test_all_is_private_from_birth(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        RunDirectory(tmp_path / "7.abc").create(b"true\n", [("script/train.py", b"text")])
    finally:
        os.umask(before)
    modes = {path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {
        "7.abc": 0o700,
        "7.abc/script": 0o700,
        "7.abc/run.sh": 0o600,
        "7.abc/record": 0o600,
        "7.abc/script/train.py": 0o600,
    }


def test_a_new_record_has_no_status(directory: RunDirectory) -> None:
    assert directory.record()[:2] == (None, None)
    assert directory.record().boot == boot_id()


@pytest.mark.parametrize(
    ("line", "status"), [("0\n", (0, None)), ("137\n", (137, None)), ("1 chdir\n", (1, "chdir")), ("12", (None, None))]
)
def test_the_status_is_valid_with_its_newline(directory: RunDirectory, line: str, status: tuple[object, ...]) -> None:
    content = line + BLANK[len(line) :] + boot_id() + "\n"
    assert record(directory, content) == (*status, boot_id(), None)


def test_the_log_writer_is_known_once_its_line_is_whole(directory: RunDirectory) -> None:
    assert record(directory, f"{BLANK}{boot_id()}\n123") == (None, None, boot_id(), None)
    assert record(directory, f"3\n{BLANK[2:]}{boot_id()}\n123\n") == (3, None, boot_id(), 123)


def test_an_empty_record_says_nothing(directory: RunDirectory) -> None:
    assert record(directory, "") == (None, None, None, None)


def test_a_missing_directory_says_nothing_and_cannot_start(tmp_path: Path) -> None:
    missing = RunDirectory(tmp_path / "8.abc")
    assert missing.record() == (None, None, 0.0, None, None)
    assert missing.mark() is None
    assert missing.claim() is True
    missing.remove()


def test_one_of_wrapper_and_daemon_gets_the_mark(directory: RunDirectory) -> None:
    assert directory.mark() is None
    assert directory.claim() is True
    assert directory.claim() is False
    mark = directory.mark()
    assert mark is not None
    assert mark[:3] == (None, None, None)


def test_a_second_launch_of_the_same_name_is_refused(directory: RunDirectory) -> None:
    with pytest.raises(FileExistsError):
        directory.create(b"", [])


@pytest.mark.parametrize("run_id", [None, "", "a/b", "a b", "$(x)", "a;", "..", "#{x}", "%H"])
def test_a_run_id_is_a_plain_word(tmp_path: Path, run_id: str | None) -> None:
    job = make_job(7)
    object.__setattr__(job, "run_id", run_id)
    with pytest.raises(ValueError, match="run id"):
        RunDirectory.of(tmp_path, job)


def test_removal(directory: RunDirectory) -> None:
    directory.remove()
    assert not directory.path.exists()
