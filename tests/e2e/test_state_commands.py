"""`gctl state` beside a real daemon, and on what it leaves behind."""

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from gflow.store.history import History
from gflow.store.load import load
from gflow.store.log import Log
from gflow.store.records import Transaction, encode
from gflow.store.snapshot import NAME
from gflow.store.wal import read_segment, segment_numbers, segment_path
from support.daemon import Daemon, with_data_of
from support.wait import until

pytestmark = pytest.mark.once


def export(daemon, *options):
    """The lines of an export that must succeed."""
    done = daemon.cli("gctl", "state", "export", *options)
    assert (done.returncode, done.stderr) == (0, ""), done
    return [json.loads(line) for line in done.stdout.splitlines()]


def jobs(lines):
    return {line["job"]["id"]: line["job"] for line in lines if "job" in line}


def check(daemon, *options, status=0):
    """What is found, by name."""
    done = daemon.cli("gctl", "state", "check", "-o", "json", *options)
    assert (done.returncode, done.stderr) == (status, ""), done
    return {file["name"]: file for file in json.loads(done.stdout)["files"]}


def dd(path, offset, data):
    """`dd conv=notrunc`: bytes of a file change, and nothing else of it."""
    command = ["dd", f"of={path}", "bs=1", f"seek={offset}", "conv=notrunc", "status=none"]
    subprocess.run(command, input=data, check=True)


def well(daemon):
    """Whether the daemon says so; it may be away for a moment."""
    with suppress(OSError):
        return daemon.http("GET", "/health").body["status"] == "ok"


def last_segment(daemon):
    return segment_path(daemon.data, segment_numbers(daemon.data)[-1])


def test_a_day_with_all_four(daemon: Daemon):
    ids = [daemon.gbatch("--export", "NONE", f"echo {n}") for n in range(3)]
    daemon.wait_jobs(ids)
    waiting = daemon.gbatch("--depends-on", "3", "--hold", "true")
    lines = export(daemon)
    assert {job_id: job["state"] for job_id, job in jobs(lines).items()} == {
        1: "Finished",
        2: "Finished",
        3: "Finished",
        waiting: "Hold",
    }
    assert lines[-1] == {"end": {"groups": 0, "settings": 0, "jobs": 4, "events": lines[-1]["end"]["events"]}}
    assert check(daemon)["state"]["says"].startswith("4 jobs as of transaction ")

    compacted = daemon.cli("gctl", "state", "compact")
    assert compacted.stdout.startswith("Wrote a snapshot of 4 jobs: a start reads "), compacted
    assert check(daemon)[NAME]["says"].startswith("4 jobs as of transaction ")

    would = daemon.cli("gctl", "state", "prune", "--before", "0h", "--dry-run", "--logs").stdout
    assert would.startswith("Would remove 2 jobs that ended before "), would
    assert would.endswith(
        "(2 in the state, 0 in the history), and 2 logs.\n"
        "Kept 1 job that ended before, but that others still depend on.\n"
    )
    done = daemon.cli("gctl", "state", "prune", "--before", "0h", "--logs")
    assert (done.returncode, done.stdout.replace("Removed", "Would remove")[:20]) == (0, would[:20])
    assert list(daemon.jobs()) == [3, waiting]
    assert sorted(os.listdir(daemon.data / "logs")) == ["3.log"]
    daemon.restart()
    assert list(daemon.jobs()) == [3, waiting]
    assert daemon.gbatch("true") == waiting + 1
    assert check(daemon)["state"]["verdict"] == "ok"


def test_nothing_secret_is_in_an_export(daemon: Daemon):
    script = daemon.work / "job.sh"
    script.write_text("#!/bin/sh\n# in-the-script\n")
    job_id = daemon.gbatch(str(script), PASSWORD="in-the-environment")
    daemon.wait_job(job_id)
    target = daemon.work / "out.jsonl"
    assert daemon.cli("gctl", "state", "export", "--output", str(target)).returncode == 0
    text = target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert jobs(map(json.loads, text.splitlines()))[job_id]["spec"]["script"] == str(script)
    assert "in-the-environment" not in text
    assert "in-the-script" not in text


def test_an_export_is_of_one_moment_while_jobs_come_and_snapshots_are_written(daemon: Daemon):
    """Each transaction makes a pair of jobs: an export with one of them only would be of no moment."""
    over = threading.Event()
    faults = []

    def keep(busy):
        try:
            while not over.is_set():
                busy()
        except Exception as error:
            faults.append(error)

    def submit():
        daemon.submit_all([{"command": "true", "hold": True}] * 2)

    def compact():
        assert daemon.http("POST", "/state/compact").status == 200

    threads = [threading.Thread(target=keep, args=(busy,)) for busy in (submit, compact)]
    for thread in threads:
        thread.start()
    try:
        sizes = []
        while len(sizes) < 5 or sizes[-1] < 40:
            lines = export(daemon)
            found = list(jobs(lines))
            assert found == list(range(1, len(found) + 1))
            assert len(found) % 2 == 0
            assert (lines[-1]["end"]["jobs"], lines[0]["next_job_id"]) == (len(found), len(found) + 1)
            sizes.append(len(found))
            assert {name: file for name, file in check(daemon).items() if file["problems"]} == {}
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    assert faults == []
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_without_a_daemon_it_is_the_same(daemon: Daemon):
    daemon.wait_jobs([daemon.gbatch("true") for _ in range(3)])
    before = export(daemon)
    assert daemon.stop() == 0
    assert jobs(export(daemon)) == jobs(before)
    assert check(daemon)["state"]["says"].endswith("the next job is 4")
    assert daemon.cli("gctl", "state", "compact").stdout.startswith("Wrote a snapshot of 3 jobs")
    assert daemon.cli("gctl", "state", "prune", "--before", "0h").stdout.startswith("Removed 3 jobs ")
    assert jobs(export(daemon)) == {}
    daemon.start()
    assert daemon.jobs() == {}
    assert daemon.gbatch("true") == 4


def test_exporting_into_a_pipe_that_is_closed_early(daemon: Daemon):
    daemon.submit_all([{"command": "true " + "x" * 2000, "hold": True}] * 500)
    with daemon.spawn("gctl", "state", "export") as exporting:
        assert exporting.stdout is not None
        assert exporting.stderr is not None
        assert json.loads(exporting.stdout.readline())["format"] == "gflow-export"
        exporting.stdout.close()
        assert (exporting.wait(30), exporting.stderr.read()) == (141, "")


def test_a_copy_of_a_stopped_daemons_directory_is_whole_and_works(daemon: Daemon):
    daemon.wait_job(daemon.gbatch("echo hello"))
    assert daemon.stop() == 0
    copy = daemon.root / "copy"
    shutil.copytree(daemon.data, copy)
    before = jobs(export(daemon))
    assert check(daemon, "--data-dir", str(copy))["state"]["verdict"] == "ok"
    shutil.rmtree(daemon.data)
    copy.rename(daemon.data)
    daemon.start()
    assert jobs(export(daemon)) == before
    assert daemon.gbatch("true") == 2


def copy_as_the_manual_says(source, target):
    """docs/state.md, "While gflowd runs"."""
    shutil.rmtree(target, ignore_errors=True)
    history = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))"
    script = f"""
        umask 077; mkdir {target}; cd {source}
        cp -p ids wal.acknowledged {target} 2>/dev/null
        find . -maxdepth 1 \\( -name 'state.msgpack*' -o -name 'wal-*.log' \\) -exec cp -p -t {target} {{}} +
        cp -pr spool logs {target}
        if [ -e history.sqlite ]; then {sys.executable} -c '{history}' history.sqlite {target}/history.sqlite; fi
    """
    subprocess.run(["sh", "-c", script], check=False, stderr=subprocess.DEVNULL)


def test_a_copy_made_while_the_daemon_works_is_whole_if_the_check_says_so(daemon: Daemon):
    over = threading.Event()
    acknowledged = []

    def work():
        while not over.is_set():
            acknowledged.append(daemon.submit("true", hold=True))
            if len(acknowledged) % 5 == 0:
                daemon.http("POST", "/state/compact")

    worker = threading.Thread(target=work)
    worker.start()
    copy = daemon.root / "copy"
    try:
        for _ in range(3):
            until(lambda: len(acknowledged) > 20, "jobs")
            known = acknowledged[-1]

            def copied_well():
                copy_as_the_manual_says(daemon.data, copy)
                return daemon.cli("gctl", "state", "check", "--data-dir", str(copy)).returncode == 0

            until(copied_well, "a whole copy", 60)
            found = list(jobs(export(daemon, "--data-dir", str(copy))))
            assert found == list(range(1, len(found) + 1))
            assert len(found) >= known
    finally:
        over.set()
        worker.join(30)


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended() -> Iterator[Daemon]:
    """A daemon that has ended, with a snapshot and a log of six held jobs after it."""
    with Daemon() as daemon:
        daemon.submit("true", hold=True)
        assert daemon.http("POST", "/state/compact").status == 200
        for _ in range(6):
            daemon.submit("true", hold=True)
        assert daemon.stop() == 0
        yield daemon


@pytest.fixture
def stopped(ended: Daemon) -> Iterator[Daemon]:
    """The same, for one test."""
    with with_data_of(ended) as daemon:
        yield daemon


def test_damage_in_the_log_is_named_with_its_byte(stopped: Daemon):
    path = last_segment(stopped)
    frames = read_segment(path, segment_numbers(stopped.data)[-1]).frames
    dd(path, frames[2].offset + 25, b"XYZ")
    dd(path, frames[4].offset + 25, b"\0\0\0")
    found = check(stopped, status=1)
    assert [problem["offset"] for problem in found[path.name]["problems"]] == [frames[2].offset, frames[4].offset]
    assert found["state"]["verdict"] == "unreadable"
    assert sum("is missing" in problem["what"] for problem in found["state"]["problems"]) == 2
    said = stopped.cli("gctl", "state", "check")
    assert said.returncode == 1
    assert f"    at byte {frames[2].offset}: no record can be read up to byte {frames[3].offset}" in said.stdout
    assert "    to do: put back a good copy of it" in said.stdout


def test_a_damaged_snapshot_is_named_and_what_is_advised_helps(stopped: Daemon):
    assert stopped.cli("gctl", "state", "compact").returncode == 0
    path = stopped.data / NAME
    dd(path, 60, bytes(100))
    found = check(stopped, status=1)
    assert found[NAME]["verdict"] == "damaged"
    assert "move it away" in found[NAME]["problems"][0]["advice"]
    for verb in (["compact"], ["prune", "--before", "0h"], ["export"]):
        done = stopped.cli("gctl", "state", *verb)
        assert (done.returncode, done.stdout, "gctl state check" in done.stderr) == (1, "", True)

    stopped.start()
    assert stopped.get("/health")["status"] == "recovery"
    assert jobs(lines := export(stopped)).keys() == set(range(1, 8))
    assert lines[0]["recovery"] is True
    assert check(stopped, status=1)["state.journal.jsonl"]["verdict"] == "pending"
    assert "in recovery" in stopped.cli("gctl", "state", "compact").stderr

    path.rename(stopped.data / "away")
    until(lambda: well(stopped), "the end of the recovery", 60)
    assert check(stopped)["state"]["verdict"] == "ok"
    assert jobs(export(stopped)).keys() == set(range(1, 8))


def test_an_unfinished_write_is_none_of_a_running_daemons_faults(stopped: Daemon):
    path = last_segment(stopped)
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"\xc1gf\x01\x40\0\0\0")
    found = check(stopped, status=1)
    assert (found[path.name]["verdict"], found[path.name]["problems"][0]["offset"]) == ("torn", end)
    assert found["state"]["verdict"] == "ok"
    stopped.start()
    stopped.submit("true", hold=True)
    assert check(stopped)[path.name]["verdict"] == "ok"
    with last_segment(stopped).open("ab") as file:
        file.write(b"\xc1gf\x01")
    assert check(stopped)["state"]["verdict"] == "ok"


def test_a_segment_that_is_gone_and_one_whose_header_is(stopped: Daemon):
    path = last_segment(stopped)
    dd(path, 3, b"?")
    found = check(stopped, status=1)[path.name]
    assert (found["problems"][0]["offset"], found["problems"][0]["what"]) == (0, "its header is unreadable")
    assert found["says"].startswith("6 transactions ")
    path.unlink()
    assert "the log that follows the snapshot is missing" in check(stopped, status=1)["state"]["problems"][0]["what"]


def move_to_history(daemon):
    """As the daemon does with jobs that ended long ago."""
    loaded = load(daemon.data)
    with closing(History(daemon.data)) as history:
        history.add(list(loaded.jobs.values()))
    gone = Transaction(
        seq=loaded.seq + 1,
        jobs=(),
        groups=(),
        events=(),
        settings={},
        next_job_id=loaded.next_job_id,
        next_event_id=loaded.next_event_id,
        retired=tuple(loaded.jobs),
    )
    with closing(Log(daemon.data, loaded.segment, loaded.tail)) as log:
        log.append([encode(gone)], gone.seq)


def test_a_history_with_a_changed_record_is_named(daemon: Daemon):
    daemon.wait_jobs([daemon.gbatch(f"echo marker-{n}") for n in range(3)])
    assert check(daemon)["history.sqlite"]["verdict"] == "absent"
    assert daemon.stop() == 0
    move_to_history(daemon)
    assert check(daemon)["history.sqlite"]["says"] == "3 jobs"
    path = daemon.data / "history.sqlite"
    dd(path, path.read_bytes().index(b"echo marker-1"), b"rm -rf")
    found = check(daemon, status=1)["history.sqlite"]
    assert (found["verdict"], found["problems"][0]["what"]) == (
        "damaged",
        "the record of job 2 has changed since it was written",
    )
    assert "job 2 has changed" in daemon.cli("gctl", "state", "export").stderr
    daemon.start()
    assert daemon.cli("gctl", "state", "prune", "--before", "0h", "--logs").stdout.startswith("Removed 3 jobs ")
    assert check(daemon)["history.sqlite"]["says"] == "0 jobs"
    assert daemon.jobs() == {}
