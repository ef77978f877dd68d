"""The older gflow's state at the first start and by command: what stops it, and that looking writes nothing."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from gflow.core.model import State
from gflow.daemon.importing import MAX_SCRIPT_BYTES, CannotImport, by_command, first_start, look
from gflow.store.imports.install import has_state
from gflow.store.imports.plan import NotImportable
from gflow.store.load import load
from gflow.store.lock import DataLock
from support.older import SAMPLE_JSON, SAMPLE_MSGPACK, old_job, old_state
from support.wait import until


@pytest.fixture(autouse=True)
def _no_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a tmux server; nobody here looks at it."""
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "share" / "gflow"
    directory.mkdir(mode=0o700, parents=True)
    return directory


def tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a directory."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def write(directory: Path, state: object, name: str = "state.json") -> Path:
    path = directory / name
    path.write_bytes(state if isinstance(state, bytes) else json.dumps(state).encode())
    return path


def test_a_first_start_takes_over_what_is_there_and_says_so_once(data, caplog):
    caplog.set_level("INFO")
    shutil.copy(SAMPLE_MSGPACK, data / "state.msgpack")
    shutil.copy(SAMPLE_JSON, data / "state.json")
    first_start(data)
    counts = "6 Queued, 1 Hold, 5 Finished, 2 Failed, 1 Cancelled, 1 Timeout"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert f"imported 16 jobs ({counts}) from {data / 'state.msgpack'} (gflow state version 4, MessagePack)" in said[0]
    assert said[1] == "import: kept, but not acted on by this version: notifications"
    assert len(load(data).jobs) == 16
    before = tree(data)
    first_start(data)
    assert tree(data) == before
    assert len(caplog.records) == 2


def test_what_is_changed_is_in_the_log(data, caplog):
    write(data, SAMPLE_JSON.read_bytes())
    first_start(data)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        "import: job 1 was running and its tmux session is gone: Failed",
        "import: job 2 can no longer start, as job 1 did not finish: Cancelled",
    ]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_a_first_start_does_not_pass_over_what_it_cannot_read(data, make):
    make(data / "state.json")
    with pytest.raises(OSError, match=r"directory|regular file|No such file") as caught:
        first_start(data)
    assert caught.value.filename == str(data / "state.json")
    assert os.listdir(data) == ["state.json"]


def test_a_new_directory_stays_as_it_is(data, tmp_path):
    first_start(data)
    first_start(tmp_path / "missing")
    assert not tree(data)
    assert not (tmp_path / "missing").exists()


def test_a_json_state_that_cannot_be_read_stops_the_start(data):
    path = write(data, b'{"version": 2, "jobs": [')
    with pytest.raises(NotImportable, match="neither JSON nor MessagePack"):
        first_start(data)
    assert list(tree(data)) == [str(path)]


def test_a_packed_state_that_cannot_be_read_is_left_to_the_recovery_mode(data, caplog):
    path = write(data, SAMPLE_MSGPACK.read_bytes()[:999], "state.msgpack")
    first_start(data)
    assert list(tree(data)) == [str(path)]
    assert "cannot be imported" in caplog.text


def test_a_journal_of_the_recovery_mode_is_not_passed_over(data):
    path = write(data, old_state(old_job(1)))
    journal = write(data, {"kind": "snapshot", "scheduler": old_state(old_job(1), old_job(2))}, "state.journal.jsonl")
    os.utime(path, (1, 1))
    with pytest.raises(NotImportable, match=r"state\.journal\.jsonl: is newer than state\.json"):
        first_start(data)
    assert len(by_command(data, journal, dry_run=False).plan.jobs) == 2
    first_start(data)
    assert len(load(data).jobs) == 2


def test_an_empty_or_older_journal_is_no_matter(data):
    path = write(data, old_state(old_job(1)))
    journal = write(data, b"", "state.journal.jsonl")
    os.utime(path, (1, 1))
    first_start(data)
    assert has_state(data)
    assert journal.read_bytes() == b""


@pytest.mark.parametrize("program", ["gflowd", "gflow __multicall gflowd"])
def test_nothing_is_taken_over_while_the_older_daemon_runs(data, tmp_path, program):
    path = write(data, old_state(old_job(1)))
    binary, *arguments = program.split()
    shutil.copy(shutil.which("bash"), tmp_path / binary)
    environment = {**os.environ, "XDG_DATA_HOME": str(data.parent)}
    script = ["-c", "read -r line", *arguments]
    older = subprocess.Popen([tmp_path / binary, *script], env=environment, stdin=subprocess.PIPE)
    try:
        there = Path(f"/proc/{older.pid}")
        until(lambda: (there / "exe").resolve().name == binary, "the other program")
        until(lambda: b"XDG_DATA_HOME=" in (there / "environ").read_bytes(), "its environment")
        for attempt in (lambda: first_start(data), lambda: by_command(tmp_path / "d", path, dry_run=True)):
            with pytest.raises((NotImportable, CannotImport), match=rf"older gflowd \(pid {older.pid}\) still runs"):
                attempt()
        assert list(tree(data)) == [str(path)]
    finally:
        older.communicate(timeout=20)
    first_start(data)
    assert has_state(data)


def test_a_daemon_that_is_none_of_this_directory_is_no_matter(data, tmp_path):
    write(data, old_state(old_job(1)))
    shutil.copy(shutil.which("bash"), tmp_path / "gflowd")
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "other")}
    other = subprocess.Popen([tmp_path / "gflowd", "-c", "read -r line"], env=environment, stdin=subprocess.PIPE)
    try:
        first_start(data)
    finally:
        other.communicate(timeout=20)
    assert has_state(data)


def test_the_command_names_the_daemon_that_must_not_run(data, tmp_path):
    path = write(tmp_path, old_state(old_job(1)))
    with DataLock(data, socket="/s", started=0.0):
        for dry_run in (True, False):
            with pytest.raises(CannotImport, match=f"in use by gflowd, process {os.getpid()}"):
                by_command(data, path, dry_run=dry_run)


def test_a_dry_run_writes_nothing(data, tmp_path):
    path = write(tmp_path, SAMPLE_MSGPACK.read_bytes(), "old.msgpack")
    found = by_command(data, path, dry_run=True)
    assert (found.known, found.backup, len(found.plan.jobs)) == (False, None, 16)
    assert not tree(data)
    by_command(tmp_path / "missing", path, dry_run=True)
    assert not (tmp_path / "missing").exists()


def test_the_second_import_of_a_file_does_nothing(data, tmp_path):
    path = write(tmp_path, SAMPLE_MSGPACK.read_bytes(), "old.msgpack")
    assert not by_command(data, path, dry_run=False).known
    before = {name: content for name, content in tree(data).items() if "lock" not in name}
    for dry_run in (True, False):
        assert by_command(data, path, dry_run=dry_run).known
    assert {name: content for name, content in tree(data).items() if "lock" not in name} == before
    with pytest.raises(CannotImport, match="it has job 1, and ids up to 16 have been given here"):
        by_command(data, write(tmp_path, SAMPLE_JSON.read_bytes()), dry_run=False)
    assert {name: content for name, content in tree(data).items() if "lock" not in name} == before


def test_a_damaged_state_of_ours_is_named_and_left(data, tmp_path):
    by_command(data, write(tmp_path, old_state(old_job(1))), dry_run=False)
    (data / "state.msgpack").write_bytes((data / "state.msgpack").read_bytes()[:-9])
    with pytest.raises(CannotImport, match=r"state\.msgpack: damaged"):
        by_command(data, write(tmp_path, old_state(old_job(9))), dry_run=False)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "is gone"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (os.mkfifo, "is not a file any more"),
        (lambda path: path.write_bytes(bytes(MAX_SCRIPT_BYTES + 1)), "is larger than 4 MiB"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
    ],
)
def test_a_script_that_cannot_be_had_fails_its_job_only(tmp_path, make, why):
    script = tmp_path / "x.sh"
    make(script)
    plan = look(write(tmp_path, old_state(old_job(1, script=str(script)), old_job(2))))
    assert [job.state for job in plan.jobs] == [State.FAILED, State.QUEUED]
    assert plan.jobs[0].detail == f"Its script '{script}' {why}"


def test_jobs_that_do_not_say_are_dated_by_the_import_and_not_by_the_file(tmp_path):
    path = write(tmp_path, old_state(old_job(1)))
    os.utime(path, (1.5e9, 1.5e9))
    before = time.time()
    assert before <= look(path).jobs[0].submitted_at <= time.time()


def test_the_summary_counts(tmp_path):
    assert look(write(tmp_path, old_state())).summary() == "no jobs"
    assert look(write(tmp_path, old_state(old_job(1), old_job(2, state="Hold")))).summary() == (
        "2 jobs (1 Queued, 1 Hold)"
    )
