"""A state that cannot be read, and the way out of it: the daemon serves on, touches nothing and forgets nothing."""

import os
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gflow.store.load import load
from gflow.store.log import Log
from gflow.store.recovery.opening import state_files
from gflow.store.snapshot import NAME, Snapshot, write_snapshot
from gflow.store.wal import read_segment, segment_path
from support.daemon import Answer, Daemon, with_data_of
from support.gate import Gate
from support.wait import until

pytestmark = pytest.mark.once

JOURNAL = "state.journal.jsonl"


def compact(daemon: Daemon) -> None:
    """Write a snapshot, as the daemon does when its log has grown; it does not run."""
    loaded = load(daemon.data)
    log = Log(daemon.data, loaded.segment, loaded.tail)
    segment = log.rotate(loaded.seq + 1)
    log.close()
    write_snapshot(daemon.data, Snapshot(loaded.seq, segment, loaded.state()))


def state_bytes(daemon: Daemon) -> dict[str, bytes]:
    return {name: (daemon.data / name).read_bytes() for name in state_files(daemon.data)}


def overwrite(path, offset: int, data: bytes = b"\0\0\0\0") -> bytes:
    """Put other bytes into a file, as `dd conv=notrunc` does; returns what the whole file was."""
    good = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    return good


def health(daemon: Daemon):
    return daemon.http("GET", "/health").body


def copies(daemon: Daemon) -> list[str]:
    return sorted(path.name for path in daemon.data.iterdir() if ".corrupt." in path.name or ".backup." in path.name)


@contextmanager
def unchanged_state(daemon: Daemon):
    """No state file may change."""
    before = state_bytes(daemon)
    yield
    assert state_bytes(daemon) == before


@pytest.fixture(scope="module")
def past() -> Iterator[Daemon]:
    """A daemon with a past, stopped: jobs 1 and 2 have ended, 3 waits, and there is a snapshot."""
    with Daemon() as daemon:
        assert daemon.wait_job(daemon.submit("echo one"))["state"] == "Finished"
        assert daemon.wait_job(daemon.submit("exit 7"))["exit_code"] == 7
        daemon.submit("echo three", hold=True)
        assert daemon.stop() == 0
        compact(daemon)
        yield daemon


@pytest.fixture
def veteran(past: Daemon) -> Iterator[Daemon]:
    """The same, for one test."""
    with with_data_of(past) as daemon:
        yield daemon


def states(daemon: Daemon) -> dict[int, str]:
    return {job_id: job["state"] for job_id, job in daemon.jobs().items()}


def test_a_damaged_snapshot(veteran: Daemon):
    good = overwrite(veteran.data / NAME, 40)
    with unchanged_state(veteran):
        veteran.start()
        said = health(veteran)
        assert (said["status"], said["mode"], said["pid"]) == ("recovery", "journal", veteran.pid)
        assert said["detail"].startswith(f"{veteran.data / NAME}: damaged at byte 0: its checksum is wrong")
        assert "\n" not in said["detail"]
        assert said["journal"] == str(veteran.data / JOURNAL)
        assert said["journal_error"] is None
        assert states(veteran) == {1: "Finished", 2: "Failed", 3: "Hold"}
        first = veteran.submit("echo four")
        assert first > 3
        assert veteran.wait_job(first)["state"] == "Finished"
        assert veteran.log(first) == b"four\n"
        assert veteran.http("POST", "/jobs/3/release").status == 200
        assert veteran.wait_job(3)["state"] == "Finished"
        backup = said["state_backup"]
        for _ in range(2):
            veteran.kill9()
            veteran.start()
            assert health(veteran)["state_backup"] == backup
        assert states(veteran) == {1: "Finished", 2: "Failed", 3: "Finished", first: "Finished"}
        second = veteran.submit("true")
        assert second > first
        veteran.wait_job(second)
    assert [veteran.data / name for name in copies(veteran)] == [veteran.data / os.path.basename(backup)]
    assert (veteran.data / copies(veteran)[0]).read_bytes() == (veteran.data / NAME).read_bytes() != good


def test_a_good_copy_is_taken_up_by_itself_while_a_job_runs(veteran: Daemon):
    good = overwrite(veteran.data / NAME, 40)
    veteran.start()
    with Gate(veteran.work) as gate:
        job_id = veteran.submit(f"echo begun; {gate.pass_}; echo done; exit 5")
        gate.wait_for(1)
        until(lambda: "has been running" in str(veteran.get(f"/jobs/{job_id}/why")), "its start to be known")
        started_at = veteran.job(job_id)["started_at"]
        copy = veteran.data / "state.new"
        copy.write_bytes(good)
        copy.replace(veteran.data / NAME)
        until(lambda: veteran.process.poll() is None and is_well(veteran), "a state that is well again", 40)
        assert health(veteran) == {"status": "ok", "pid": veteran.pid}, "the same process"
        assert veteran.job(job_id)["state"] == "Running"
        gate.open()
        job = veteran.wait_job(job_id)
    assert (job["state"], job["exit_code"], job["started_at"]) == ("Failed", 5, started_at)
    assert veteran.log(job_id) == b"begun\ndone\n"
    assert states(veteran) == {1: "Finished", 2: "Failed", 3: "Hold", job_id: "Failed"}
    assert (veteran.data / JOURNAL).read_bytes() == b""
    before = veteran.jobs()
    veteran.kill9()
    veteran.start()
    assert health(veteran)["status"] == "ok"
    assert veteran.jobs() == before
    assert veteran.submit("true") == job_id + 1
    assert veteran.stop() == 0


def is_well(daemon: Daemon) -> bool:
    try:
        return daemon.http("GET", "/health").body["status"] == "ok"
    except OSError:
        return False  # between two daemons


def test_without_a_good_copy_the_files_are_moved_away_and_the_journal_counts(veteran: Daemon):
    overwrite(veteran.data / NAME, 40)
    veteran.start()
    job_id = veteran.submit("true")
    veteran.wait_job(job_id)
    before = veteran.jobs()
    away = veteran.root / "away"
    away.mkdir()
    for path in (*veteran.data.glob("state.msgpack*"), *veteran.data.glob("wal*")):
        shutil.move(path, away)
    until(lambda: is_well(veteran), "a state that is well again", 40)
    assert veteran.jobs() == before
    veteran.restart()
    assert veteran.jobs() == before
    assert veteran.submit("true") == job_id + 1


def test_gflowd_says_what_is_wrong(veteran: Daemon):
    overwrite(veteran.data / NAME, 40)
    done = veteran.cli("gflowd", "up")
    assert done.returncode == 0, done
    assert done.stderr.startswith(f"gflowd: recovery: {veteran.data / NAME}: damaged at byte 0")
    done = veteran.cli("gflowd", "status")
    assert done.returncode == 0
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert lines["Status"] == "Recovery"
    assert lines["Detail"].startswith(f"{veteran.data / NAME}: damaged at byte 0")
    assert lines["Journal"] == str(veteran.data / JOURNAL)
    assert lines["Backup"].startswith(f"{veteran.data / NAME}.corrupt.")
    assert "1 Hold" in lines["Jobs"]
    assert veteran.cli("gflowd", "up").stdout.startswith("gflowd is already running")
    assert veteran.cli("gflowd", "down").returncode == 0


def test_a_format_of_a_newer_gflow(veteran: Daemon):
    path = veteran.data / NAME
    data = path.read_bytes().replace(b"\xa7version\x01", b"\xa7version\x09", 1)
    path.write_bytes(data[:-4] + struct.pack(">I", zlib.crc32(data[:-5])))
    with unchanged_state(veteran):
        veteran.start()
        said = health(veteran)
        assert "has format version 9; this gflow reads up to 1: use a newer gflow" in said["detail"]
        assert os.path.basename(said["state_backup"]) == copies(veteran)[0]
        assert copies(veteran)[0].startswith("state.msgpack.backup.")
        assert veteran.submit("true") > 3
        assert veteran.stop() == 0


def test_a_damaged_stretch_in_the_middle_of_the_log(daemon: Daemon):
    for number in range(1, 6):
        assert daemon.submit(f"echo {number}", hold=True) == number
    assert daemon.stop() == 0
    path = segment_path(daemon.data, 1)
    frame = next(f for f in read_segment(path, 1).frames if b"echo 3" in bytes(f.record))
    good = overwrite(path, frame.offset + 30)
    with unchanged_state(daemon):
        daemon.start()
        said = health(daemon)
        assert said["status"] == "recovery"
        assert f"{path}: damaged at byte {frame.offset}: a record is unreadable" in said["detail"]
        assert set(daemon.jobs()) == {1, 2, 4, 5}
        new = daemon.submit("true")
        assert new > 5
        daemon.wait_job(new)
    assert re.search(r"left out change \d+, which could not be read", daemon.said())
    path.write_bytes(good)
    until(lambda: is_well(daemon), "a state that is well again", 40)
    assert set(daemon.jobs()) == {1, 2, 3, 4, 5, new}


def test_a_state_that_may_not_be_read(veteran: Daemon):
    (veteran.data / NAME).chmod(0o000)
    veteran.start()
    said = health(veteran)
    assert said["status"] == "recovery"
    assert said["detail"].startswith(f"{veteran.data / NAME}: Permission denied")
    assert said["state_backup"] is None
    assert states(veteran) == {1: "Finished", 2: "Failed", 3: "Hold"}
    (veteran.data / NAME).chmod(0o600)
    until(lambda: is_well(veteran), "a state that is well again", 40)


def test_a_journal_that_cannot_be_written_means_read_only(veteran: Daemon):
    overwrite(veteran.data / NAME, 40)
    (veteran.data / JOURNAL).mkdir()
    with unchanged_state(veteran):
        veteran.begin()
        answer = until(lambda: unwell(veteran), "read-only")
        assert answer.body["status"] == "read_only"
        assert answer.body["journal_error"] == "Is a directory"
        assert str(veteran.data / JOURNAL) in answer.body["detail"]
        assert states(veteran) == {1: "Finished", 2: "Failed", 3: "Hold"}
        for method, path, body in (
            ("POST", "/jobs", {"command": "true", "run_dir": str(veteran.work)}),
            ("POST", "/jobs/3/release", None),
            ("POST", "/jobs/3/cancel", None),
            ("PATCH", "/jobs/3", {"priority": 1}),
        ):
            refused = veteran.http(method, path, body)
            assert (refused.status, refused.body["code"]) == (503, "unavailable"), (path, refused)
        assert veteran.cli("gflowd", "status").returncode == 1
        (veteran.data / JOURNAL).rmdir()
        until(lambda: health(veteran)["status"] == "recovery", "the recovery")
        job_id = until(lambda: submitted(veteran), "a submission")
        assert veteran.wait_job(job_id)["state"] == "Finished"
    veteran.kill9()
    veteran.start()
    assert veteran.job(job_id)["state"] == "Finished"


def unwell(daemon: Daemon) -> Answer | None:
    try:
        answer = daemon.http("GET", "/health")
    except OSError:
        return None  # it does not listen yet
    return answer if answer.status == 503 else None


def submitted(daemon: Daemon):
    """The id of a new job, None while nothing is taken."""
    answer = daemon.http("POST", "/jobs", {"command": "true", "run_dir": str(daemon.work)})
    return answer.body["id"] if answer.status == 201 else None


def test_kill_9_in_recovery_loses_nothing_that_was_acknowledged(veteran: Daemon):
    overwrite(veteran.data / NAME, 40)
    known = {1, 2, 3}
    for _ in range(4):
        veteran.start()
        assert set(veteran.jobs()) == known
        fresh = veteran.submit_all([{"command": "true", "hold": True}] * 20)
        fresh += [veteran.submit("true", hold=True) for _ in range(10)]
        veteran.kill9()
        assert not known & set(fresh), "no id twice"
        known |= set(fresh)
    veteran.start()
    assert set(veteran.jobs()) == known


def test_ids_go_on_when_everything_but_their_mark_is_lost(veteran: Daemon):
    for path in veteran.data.iterdir():
        if path.name not in ("ids", "gflowd.lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    veteran.start()
    assert health(veteran)["status"] == "ok"
    assert veteran.jobs() == {}
    assert veteran.submit("true") == 4
    assert "it is older than the ids that were given" in veteran.said()


def copy_as_the_manual_says(daemon: Daemon):
    """docs/state.md, "While gflowd runs"."""
    script = """
        umask 077; mkdir "$1"; cd "$2"
        cp -p ids wal.acknowledged "$1"
        find . -maxdepth 1 \\( -name 'state.msgpack*' -o -name 'wal-*.log' \\) -exec cp -p -t "$1" {} +
        cp -pr spool logs "$1"
    """
    backup = daemon.root / "backup"
    subprocess.run(["sh", "-ec", script, "sh", backup, daemon.data], check=True)
    return backup


def put_back_as_the_manual_says(daemon: Daemon, backup) -> None:
    """docs/recovery.md, "For a whole set"; it does not run."""
    script = """
        cd "$2"; mkdir unreadable
        find . -maxdepth 1 \\( -name 'state.msgpack*' -o -name 'wal*' \\) -exec mv -t unreadable {} +
        find "$1" -maxdepth 1 \\( -name 'state.msgpack*' -o -name 'wal*' \\) -exec cp -p -t . {} +
        cp -rp "$1"/spool .
    """
    subprocess.run(["sh", "-ec", script, "sh", backup, daemon.data], check=True)


@pytest.mark.parametrize("compacted", [False, True], ids=["a young store", "with a snapshot"])
def test_a_backup_made_a_moment_ago_and_put_back_runs_nothing_twice(daemon: Daemon, compacted):
    ledger = daemon.root / "ledger"
    with Gate(daemon.work) as gate:
        running = daemon.submit(f"{gate.pass_}; echo running >> {ledger}")
        after = daemon.submit(f"echo after >> {ledger}", depends_on_ids=[running])
        queued = daemon.submit(f"echo queued >> {ledger}", hold=True, environment={"A": "b"})
        waiting = daemon.submit("test $A = b", hold=True, environment={"A": "b"})
        gate.wait_for(1)
        daemon.wait_running(running)
        if compacted:
            assert daemon.http("POST", "/state/compact").status == 200
        assert daemon.http("POST", f"/jobs/{queued}/release").status == 200
        backup = copy_as_the_manual_says(daemon)
        gate.open()
        daemon.wait_jobs([running, after, queued])
    ran = ledger.read_text()
    assert sorted(ran.split()) == ["after", "queued", "running"]
    last = daemon.submit("true", hold=True)
    for job_id in (waiting, last):
        assert daemon.http("POST", f"/jobs/{job_id}/cancel").status == 200
    until(lambda: not list((daemon.data / "spool/env").iterdir()), "a spool that nobody needs")
    daemon.kill9()
    put_back_as_the_manual_says(daemon, backup)
    daemon.start()
    assert health(daemon)["status"] == "ok"
    assert states(daemon)[running] in ("Failed", "Finished")
    assert states(daemon)[waiting] == "Hold"
    assert daemon.http("POST", f"/jobs/{waiting}/release").status == 200
    assert daemon.wait_job(waiting)["state"] == "Finished", "its environment is back"
    new = daemon.submit("true")
    assert new > last
    daemon.wait_job(new)
    assert ledger.read_text() == ran, "nothing ran twice"
    assert daemon.said().count("it is older than the ids that were given") == 1
    daemon.restart()
    assert daemon.submit("true", hold=True) == new + 1
    assert daemon.said().count("it is older than the ids that were given") <= 1, "said once"


def test_a_copy_from_a_clean_stop_is_older_once_there_was_more(daemon: Daemon):
    daemon.submit("true", hold=True)
    assert daemon.stop() == 0
    backup = copy_as_the_manual_says(daemon)
    daemon.start()
    last = [daemon.submit("true", hold=True) for _ in range(3)][-1]
    daemon.kill9()
    put_back_as_the_manual_says(daemon, backup)
    daemon.start()
    assert daemon.submit("true", hold=True) > last
    assert "it is older than the ids that were given" in daemon.said()


def test_an_older_journal_put_back_in_the_same_recovery_runs_nothing_twice(veteran: Daemon):
    ledger = veteran.root / "ledger"
    overwrite(veteran.data / NAME, 40)
    veteran.start()
    with Gate(veteran.work) as gate:
        before = veteran.submit(f"{gate.pass_}")
        job_id = veteran.submit(f"echo ran >> {ledger}", depends_on_ids=[before])
        gate.wait_for(1)
        veteran.wait_running(before)
        copy = (veteran.data / JOURNAL).read_bytes()
        gate.open()
        veteran.wait_jobs([before, job_id])
    last = veteran.submit("true", hold=True)
    veteran.kill9()
    (veteran.data / JOURNAL).write_bytes(copy)
    veteran.start()
    assert health(veteran)["status"] == "recovery"
    new = veteran.submit("true")
    assert new > last
    veteran.wait_job(new)
    assert ledger.read_text() == "ran\n"
    assert states(veteran)[job_id] in ("Hold", "Cancelled")
    assert veteran.said().count("it is older than the ids that were given") == 1


def test_nothing_that_unread_jobs_may_need_is_removed(daemon: Daemon):
    """The record of a running job is damaged: its wrapper, environment and terminal outlive the recovery."""
    with Gate(daemon.work) as gate:
        job_id = daemon.submit(f"{gate.pass_}; exit 3", environment={"A": "b"})
        gate.wait_for(1)
        daemon.wait_running(job_id)
        later = daemon.submit("true", hold=True)
        assert daemon.stop() == 0
        path = segment_path(daemon.data, 1)
        own = [f for f in read_segment(path, 1).frames if str(gate.pass_).encode() in bytes(f.record)]
        good = path.read_bytes()
        for frame in own:
            overwrite(path, frame.offset + 30)
        kept = sorted(p.name for kind in ("runs", "spool/env") for p in (daemon.data / kind).iterdir())
        daemon.start()
        assert set(daemon.jobs()) == {later}
        other = daemon.submit("true")
        daemon.wait_job(other)
        left = sorted(p.name for kind in ("runs", "spool/env") for p in (daemon.data / kind).iterdir())
        assert set(left) >= set(kept)
        path.write_bytes(good)
        until(lambda: is_well(daemon), "a state that is well again", 40)
        assert daemon.job(job_id)["state"] == "Running"
        gate.open()
        assert daemon.wait_job(job_id)["exit_code"] == 3
    assert set(daemon.jobs()) == {job_id, later, other}


def test_a_signal_ends_the_daemon_that_followed_the_recovery(veteran: Daemon):
    good = overwrite(veteran.data / NAME, 40)
    veteran.start()
    (veteran.data / NAME).write_bytes(good)
    until(lambda: is_well(veteran), "a state that is well again", 40)
    assert veteran.stop() == 0
    assert not veteran.socket.exists()
