"""gctl state: what it asks of a daemon, and what it does to the files when there is none."""

import errno
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from gflow.cli.gctl import COMMAND as GCTL
from gflow.store.load import load
from gflow.store.lock import DataLock
from gflow.store.snapshot import NAME, Snapshot, read_snapshot, write_snapshot
from gflow.store.wal import HEADER_BYTES, Segment
from support import golden_store
from support.fake_daemon import reply
from support.ledger import facts

PRUNED = {"before": 1.0, "dry_run": False, "jobs": 12, "from_state": 2, "from_history": 11, "kept": 0, "logs": 0}


@pytest.fixture
def data(home, monkeypatch):
    """The data directory of a daemon that does not run, with four jobs."""
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "share"))
    path = home / "share" / "gflow"
    path.mkdir(mode=0o700, parents=True)
    golden_store.write(path)
    with (path / "wal-00000002.log").open("r+b") as file:
        file.truncate((path / "wal-00000002.log").stat().st_size - 8)
    return path


@pytest.fixture
def well(data):
    """The same; its running job needs no files of the spool."""
    loaded = load(data)
    for job in loaded.jobs.values():
        loaded.jobs[job.id] = job.with_spec(environment=None, script_digest=None, script=None, command="true")
    (data / "wal-00000002.log").unlink()
    Segment.create(data, 3, loaded.seq + 1).close()
    write_snapshot(data, Snapshot(loaded.seq, 3, loaded.state()), keep_previous=False)
    return data


# -- export ------------------------------------------------------------------------------------------------------------


def test_export_prints_lines_of_json(run, data):
    done = run(GCTL, "state", "export")
    assert (done.status, done.err) == (0, "")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert (lines[0]["format"], lines[-1]["end"]["jobs"]) == ("gflow-export", 4)
    assert abs(lines[0]["at"] - time.time()) < 60
    assert run(GCTL, "state", "export", "--output", "-").out.splitlines()[1:] == done.out.splitlines()[1:]


def test_export_to_a_file_that_is_for_its_owner_only(run, data, tmp_path):
    target = tmp_path / "jobs.jsonl"
    target.write_text("old")
    target.chmod(0o644)
    done = run(GCTL, "state", "export", "--output", str(target))
    assert (done.status, done.out, done.err) == (0, "", "")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.read_text().splitlines()[1:] == run(GCTL, "state", "export").out.splitlines()[1:]
    assert os.listdir(tmp_path) == ["jobs.jsonl"]


def test_an_export_that_fails_leaves_the_file_that_was_there(run, data, tmp_path):
    target = tmp_path / "jobs.jsonl"
    target.write_text("old")
    (data / NAME).write_bytes((data / NAME).read_bytes()[:-1])
    done = run(GCTL, "state", "export", "--output", str(target))
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.endswith("; see 'gctl state check'\n")
    assert (target.read_text(), os.listdir(tmp_path)) == ("old", ["jobs.jsonl"])


def test_export_follows_links_and_spares_what_is_no_file(run, data, tmp_path):
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to("real")
    assert run(GCTL, "state", "export", "--output", str(tmp_path / "link")).status == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_size > 0
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = run(GCTL, "state", "export", "--output", str(fifo))
    assert (done.status, "is not a file" in done.err, fifo.is_fifo()) == (1, True, True)


@pytest.mark.parametrize("place", ["{data}/state.msgpack", "{data}/new", "{data}/spool/x", "{link}/state.msgpack"])
def test_export_never_writes_where_the_state_is(run, data, tmp_path, place):
    (tmp_path / "link").symlink_to(data)
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    before = (data / NAME).read_bytes()
    for more in ([], ["--data-dir", str(copy)]):
        target = place.format(data=data, link=tmp_path / "link")
        done = run(GCTL, "state", "export", "--output", target, *more)
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
        assert f"{target} is in the data directory {data}" in done.err
    assert (data / NAME).read_bytes() == before
    assert run(GCTL, "state", "export", "--data-dir", str(copy), "--output", str(copy / NAME)).status == 1
    assert (copy / NAME).read_bytes() == before


def test_an_output_that_cannot_be_written_is_named_as_it_was_given(run, data, tmp_path, monkeypatch):
    target = tmp_path / "missing" / "jobs.jsonl"
    done = run(GCTL, "state", "export", "--output", str(target))
    assert (done.status, done.err) == (1, f"gctl state export: --output: {target}: No such file or directory\n")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr("gflow.store.disk.DISK.write", Mock(side_effect=full))
    target.parent.mkdir()
    done = run(GCTL, "state", "export", "--output", str(target))
    assert (done.status, done.err) == (1, f"gctl state export: --output: {target}: No space left on device\n")
    assert os.listdir(target.parent) == []


@pytest.mark.parametrize("verb", ["export", "check"])
def test_a_standard_output_that_is_full_is_said_in_one_line(data, verb):
    with open("/dev/full", "wb") as full:
        main = "from gflow.cli.gctl import main; raise SystemExit(main())"
        command = [sys.executable, "-c", main, "state", verb, "--data-dir", str(data)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (1, f"gctl state {verb}: standard output: No space left on device\n")


def test_a_state_file_that_is_no_file_is_said_in_one_line(run, data):
    (data / NAME).unlink()
    os.mkfifo(data / NAME)
    done = run(GCTL, "state", "export")
    assert (done.status, done.err) == (1, f"gctl state export: {data / NAME}: is not a regular file\n")


def test_export_ends_quietly_when_nobody_reads_on(run, data, monkeypatch):
    class Closed(io.StringIO):
        def writelines(self, lines):
            next(iter(lines))
            raise BrokenPipeError

    monkeypatch.setattr("gflow.cli.entry.leave_quietly", lambda status: status)
    monkeypatch.setattr(sys, "stdout", Closed())
    done = run(GCTL, "state", "export")
    assert (done.status, done.err) == (141, "")


def test_a_copy_is_read_with_data_dir(run, data, tmp_path):
    copy = tmp_path / "copy"
    data.rename(copy)
    assert (
        run(GCTL, "state", "export").err == f"gctl state export: there is no state in {data}: it is not a directory\n"
    )
    assert run(GCTL, "state", "check").status == 1
    assert len(run(GCTL, "state", "export", "--data-dir", str(copy)).out.splitlines()) == 13


# -- check -------------------------------------------------------------------------------------------------------------


def test_check_says_one_line_for_each_file(run, well):
    done = run(GCTL, "state", "check")
    assert (done.status, done.err) == (0, "")
    size = (well / NAME).stat().st_size
    assert [line.split(None, 2) for line in done.out.splitlines()] == [
        ["state.msgpack", "ok", f"4 jobs as of transaction 6, {size} bytes"],
        ["state.msgpack.previous", "absent", "none"],
        ["wal-00000003.log", "ok", f"0 transactions, {HEADER_BYTES} bytes"],
        ["wal.acknowledged", "absent", "none yet"],
        ["state", "ok", "4 jobs as of transaction 6; the next job is 5"],
        ["ids", "absent", "none yet"],
        ["ids.latest", "absent", "none yet"],
        ["history.sqlite", "absent", "none yet"],
        ["state.journal.jsonl", "absent", "nothing in it"],
        ["spool/", "absent", "0 files, 0 of them needed"],
        ["logs/", "absent", "0 logs"],
    ]


def test_check_says_what_is_wrong_where_and_what_to_do(run, data):
    with (data / "wal-00000002.log").open("r+b") as file:
        file.seek(HEADER_BYTES + 20)
        file.write(b"\0\0\0")
    done = run(GCTL, "state", "check")
    assert (done.status, done.err) == (1, "")
    lines = done.out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("wal-00000002.log"))
    assert lines[at].split()[1] == "damaged"
    assert lines[at + 1].startswith(f"    at byte {HEADER_BYTES}: no record can be read up to byte ")
    assert lines[at + 2].startswith("    to do: put back a good copy of it; ")


def test_check_as_data(run, data, home):
    lock = DataLock(data, socket="", started=0.0)
    document = json.loads(run(GCTL, "state", "check", "-o", "json").out)
    lock.close()
    assert (document["data_dir"], document["daemon_pid"], document["ok"]) == (str(data), os.getpid(), False)
    (spool,) = [file for file in document["files"] if file["problems"]]
    assert (spool["name"], spool["verdict"], len(spool["problems"])) == ("spool/", "missing", 2)
    assert set(spool["problems"][0]) == {"verdict", "offset", "what", "advice"}


def test_names_cannot_steer_the_terminal(run, well):
    (well / "state.msgpack.corrupt.1").write_bytes(b"")
    (well / "\x1b[2J.corrupt.1").write_bytes(b"")
    assert "\x1b" not in run(GCTL, "state", "check").out


# -- compact -----------------------------------------------------------------------------------------------------------


def test_compact_is_the_daemons_work_if_there_is_one(run, daemon):
    daemon.on("POST", "/state/compact", reply({"jobs": 1, "bytes_before": 64_200_000, "bytes_after": 811}))
    done = run(GCTL, "state", "compact")
    assert done.out == "Wrote a snapshot of 1 job: a start reads 811 bytes, before it was 64.2 MB.\n"
    assert (done.status, [(asked.method, asked.path) for asked in daemon.asked]) == (0, [("POST", "/state/compact")])


def test_compact_without_a_daemon(run, data):
    before = facts(load(data))
    done = run(GCTL, "state", "compact")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Wrote a snapshot of 4 jobs: a start reads ")
    assert read_snapshot(data / NAME).seq == 6
    assert facts(load(data)) == before


def test_a_refusal_of_the_daemon_is_final(run, daemon, data):
    before = (data / NAME).read_bytes()
    daemon.on("POST", "/state/compact", reply({"error": "The state is in recovery", "code": "wrong_state"}, 409))
    done = run(GCTL, "state", "compact")
    assert (done.status, done.err) == (1, "gctl state compact: The state is in recovery\n")
    assert (data / NAME).read_bytes() == before


def test_a_daemon_that_was_named_is_not_stood_in_for(run, data, home, monkeypatch):
    before = (data / NAME).read_bytes()
    done = run(GCTL, "state", "compact", "--url", f"unix:{home}/other.sock")
    assert (done.status, "cannot reach gflowd" in done.err) == (1, True)
    monkeypatch.setenv("GFLOW_URL", f"unix:{home}/other.sock")
    assert run(GCTL, "state", "prune", "--before", "1d").status == 1
    assert (data / NAME).read_bytes() == before


@pytest.mark.parametrize("verb", [("compact",), ("prune", "--before", "1d")])
def test_files_that_somebody_has_are_left_alone(run, data, verb):
    before = (data / NAME).read_bytes()
    with DataLock(data, socket="/run/s", started=0.0):
        done = run(GCTL, "state", *verb)
    assert (done.status, done.out) == (1, "")
    assert done.err == (
        f"gctl state {verb[0]}: {data} is in use by process {os.getpid()} (listening on /run/s), which cannot be "
        "reached: name its socket with --url\n"
    )
    assert (data / NAME).read_bytes() == before


@pytest.mark.parametrize("verb", [("compact",), ("prune", "--before", "1d")])
def test_a_state_that_is_damaged_is_left_alone(run, data, verb):
    (data / NAME).write_bytes((data / NAME).read_bytes()[:-1])
    done = run(GCTL, "state", *verb)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.endswith("; see 'gctl state check'\n")


# -- prune -------------------------------------------------------------------------------------------------------------


def test_prune_asks_the_daemon(run, daemon, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    daemon.on("POST", "/state/prune", reply(PRUNED))
    done = run(GCTL, "state", "prune", "--before", "2026-01-31 12:00")
    assert done.out == ("Removed 12 jobs that ended before 2026-01-31 12:00:00 (2 in the state, 11 in the history).\n")
    assert daemon.asked[0].json == {"before": 1769860800.0, "dry_run": False, "logs": False}
    monkeypatch.undo()
    time.tzset()


def test_prune_says_what_would_go_and_what_stays(run, daemon):
    daemon.on("POST", "/state/prune", reply({**PRUNED, "jobs": 1, "from_history": 0, "kept": 3, "logs": 1}))
    done = run(GCTL, "state", "prune", "--before", "30d", "--dry-run", "--logs")
    first, second = done.out.splitlines()
    assert first.startswith("Would remove 1 job that ended before ")
    assert first.endswith(" (2 in the state, 0 in the history), and 1 log.")
    assert second == "Kept 3 jobs that ended before, but that others still depend on."
    asked = daemon.asked[0].json
    assert (asked["dry_run"], asked["logs"]) == (True, True)
    assert abs(time.time() - 30 * 86400 - asked["before"]) < 60


def test_prune_without_a_daemon(run, data):
    assert run(GCTL, "state", "prune", "--before", "1700000050", "--dry-run").out.startswith("Would remove 0 jobs ")
    assert run(GCTL, "state", "prune", "--before", "1700000051", "--dry-run").out.startswith("Would remove 1 job ")
    assert list(load(data).jobs) == [1, 2, 3, 4]
    done = run(GCTL, "state", "prune", "--before", "1700000051")
    assert (done.status, done.out.split(" that ")[0]) == (0, "Removed 1 job")
    assert (list(load(data).jobs), load(data).next_job_id) == ([2, 3, 4], 5)


@pytest.mark.parametrize("when", ["12h", "30d", "4w", "today", "yesterday", "2026-01-31", "2026-01-31T12:00:00+02:00"])
def test_moments_as_people_write_them(run, daemon, when):
    daemon.on("POST", "/state/prune", reply(PRUNED))
    assert run(GCTL, "state", "prune", "--before", when).status == 0
    assert 0 < daemon.asked[0].json["before"] < time.time()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say which jobs: --before TIME"),
        (("--before", "2199-01-01"), "'2199-01-01' is in the future"),
        (("--before", "soon"), "invalid time 'soon'"),
        (("--before", "1d", "7"), "unexpected extra argument"),
    ],
)
def test_prune_has_to_be_told_when(run, daemon, words, says):
    done = run(GCTL, "state", "prune", *words)
    assert (done.status, done.out, daemon.asked) == (2, "", [])
    assert says in done.err


# -- the command line --------------------------------------------------------------------------------------------------


def test_options_may_stand_before_every_word(run, daemon, home):
    daemon.on("POST", "/state/prune", reply(PRUNED))
    url = f"unix:{home}/gflow/gflowd.sock"
    for words in (
        ("--url", url, "state", "prune", "--before", "1d"),
        ("state", "--url", url, "prune", "--before", "1d"),
        ("--url", "unix:/nowhere", "state", "--url", url, "prune", "--before", "1d"),
        ("--url", url, "state", "prune", "--befor", "1d"),
    ):
        assert run(GCTL, *words).status in (0, 2)
    assert len(daemon.asked) == 3


@pytest.mark.parametrize("words", [("state", "--help"), ("state",), ("state", "check", "--help")])
def test_help(run, words):
    done = run(GCTL, *words)
    assert "check" in done.out + done.err


def test_an_unknown_verb_is_wrong_usage(run):
    done = run(GCTL, "state", "destroy")
    assert (done.status, "No such command 'destroy'" in done.err) == (2, True)
    assert Path(__file__).exists()
