"""How an end is told: exit codes speak for themselves, everything else in one sentence."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gflow.core.model import Exit
from gflow.launch import ending
from gflow.launch.ending import describe, exit_of
from gflow.launch.run_directory import RunDirectory, boot_id
from support.tmux_server import make_job

BLANK = "-" * 31 + "\n"


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "7.abc")
    directory.create(b"", [])
    return directory


def mark(directory: RunDirectory, text: str, at: float = 1000.0) -> None:
    (directory.path / "started").write_text(text)
    os.utime(directory.path / "started", (at, at))


def told(directory: RunDirectory, server_pid: int | None = None, seen_at: float | None = 5000.0) -> Exit:
    return exit_of(make_job(7), directory, server_pid, directory.path.parent / "7.log", seen_at)


def test_a_recorded_end(directory: RunDirectory) -> None:
    record = directory.path / "record"
    record.write_text("3\n" + record.read_text()[2:])
    os.utime(record, (4000.5, 4000.5))
    assert told(directory) == Exit(3, 4000.5, None)


def test_a_killed_wrapper(directory: RunDirectory) -> None:
    mark(directory, f"999999 {os.getpid()} %1\n")
    assert told(directory, server_pid=os.getpid()) == Exit(None, 5000.0, ending.KILLED)


def test_a_lost_server(directory: RunDirectory) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    mark(directory, f"999999 {gone.pid} %1\n")
    assert told(directory).text == ending.SERVER_LOST
    mark(directory, f"999999 {os.getpid()} %1\n")
    assert told(directory, server_pid=os.getpid() + 1).text == ending.SERVER_LOST


def test_a_full_disk(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    mark(directory, "")
    assert told(directory).text == ending.DISK_FULL
    mark(directory, f"999999 {os.getpid()} %1\n")
    full = list(os.statvfs("/"))
    full[4] = 0
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(full))
    assert told(directory).text == ending.DISK_FULL


def test_a_read_only_disk(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    mark(directory, f"999999 {os.getpid()} %1\n")
    mounted = list(os.statvfs("/"))
    mounted[8] |= os.ST_RDONLY
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(mounted))
    assert told(directory).text == ending.READ_ONLY


def test_a_wrapper_that_never_ran(directory: RunDirectory) -> None:
    assert told(directory).text == ending.NEVER_RAN


def test_a_restart_of_the_machine_and_the_last_sign_of_life(directory: RunDirectory) -> None:
    (directory.path / "record").write_text(f"{BLANK}00000000-0000-0000-0000-000000000000\n")
    mark(directory, "999999 999998 %1\n", at=1000.0)
    assert told(directory, seen_at=None) == Exit(None, 1000.0, ending.RESTARTED)
    log = directory.path.parent / "7.log"
    log.touch()
    os.utime(log, (2000.0, 2000.0))
    assert told(directory, seen_at=None) == Exit(None, 2000.0, ending.RESTARTED)


def test_a_run_directory_that_was_removed(directory: RunDirectory) -> None:
    (directory.path.parent / "boot").write_text(boot_id())
    mark(directory, f"999999 {os.getpid()} %1\n")
    (directory.path / "record").unlink()
    assert told(directory).text == ending.GONE
    directory.remove()
    assert told(directory) == Exit(None, 5000.0, ending.GONE)
    (directory.path.parent / "boot").unlink()
    assert told(directory).text == ending.GONE
    (directory.path.parent / "boot").write_text("00000000-0000-0000-0000-000000000000")
    assert told(directory).text == ending.RESTARTED, "it may never have reached the disk"


@pytest.mark.parametrize(
    ("code", "word", "note", "text"),
    [
        (0, None, None, None),
        (1, None, None, None),
        (137, None, None, None),
        (127, None, None, "A command was not found (exit status 127)"),
        (126, None, None, "A command could not be executed (exit status 126)"),
        (1, "chdir", None, "Cannot change to the working directory '/no/where': no such directory"),
        (1, "conda", None, "Cannot activate the conda environment 'ml'"),
        (1, "conda", "no ml here", "Cannot activate the conda environment 'ml': no ml here"),
        (1, "environment", None, "Cannot read the environment that was stored with the job"),
        (127, "missing", None, "Cannot run 'train': no such program"),
        (126, "refused", None, "Cannot run 'train': permission denied, or not a program"),
    ],
)
def test_sentences(code: int, word: str | None, note: str | None, text: str | None) -> None:
    spec = make_job(argv=("train", "x"), run_dir="/no/where", conda_env="ml").spec
    assert describe(spec, code, word, note) == text


def test_a_script_is_named_with_its_interpreter() -> None:
    spec = make_job(script="a.sh", script_digest="d").spec
    assert describe(spec, 127, "missing") == "Cannot run the interpreter of 'a.sh': no such program"
    assert describe(make_job(command="x").spec, 127, "missing") == "Cannot run 'bash': no such program"


def test_a_working_directory_that_became_a_file_or_is_closed_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = [
        describe(replace(make_job(7).spec, run_dir=f"{tmp_path}/{name}"), 1, "chdir", None)
        for name in ("file", "file/x")
    ]
    assert [text.rpartition(": ")[2] for text in said if text] == ["not a directory", "not a directory"]
    assert (describe(replace(make_job(7).spec, run_dir=str(tmp_path)), 1, "chdir") or "").endswith("permission denied")
