"""Everything a job prints is in its log, from the first byte to the last, and nothing else."""

import hashlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemon import Daemon, moment
from support.effort import examples
from support.gate import Gate

LINES = examples(6_300_000)
"""50 MB where everything is tried."""

MANY = examples(300)


def test_fifty_megabytes_are_complete(shared: Daemon):
    job_id = shared.gbatch("seq", "1", str(LINES))
    with subprocess.Popen(["seq", "1", str(LINES)], stdout=subprocess.PIPE) as seq:
        assert seq.stdout is not None
        expected = hashlib.file_digest(seq.stdout, "sha256").hexdigest()
    job = shared.wait_job(job_id, 60)
    assert (job["state"], job["exit_code"]) == ("Finished", 0)
    log = shared.log(job_id)
    assert len(log) > 7 * LINES
    assert hashlib.sha256(log).hexdigest() == expected


def test_a_job_that_prints_nothing_has_an_empty_log(shared: Daemon):
    job_id = shared.gbatch("true")
    shared.wait_job(job_id)
    assert shared.log(job_id) == b""
    shown = shared.cli("gjob", "log", str(job_id))
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


def test_jobs_that_end_at_once_lose_nothing(shared: Daemon):
    ids = shared.submit_all([{"argv": ["printf", f"{number} done"]} for number in range(40)])
    jobs = shared.wait_jobs(ids)
    assert [(job["state"], job["exit_code"]) for job in jobs] == [("Finished", 0)] * 40
    assert [shared.log(job_id) for job_id in ids] == [b"%d done" % number for number in range(40)]


def test_a_short_job_is_over_when_it_is_over(shared: Daemon):
    begun = time.monotonic()
    job = shared.wait_job(shared.submit("true"))
    assert time.monotonic() - begun < 1.5
    assert 0 <= moment(job["finished_at"]) - moment(job["started_at"]) < 0.5


def test_a_job_has_a_real_terminal_and_no_line_of_it_in_the_log(shared: Daemon):
    job_id = shared.gbatch("[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && printf '\\033[1mbold\\033[0m\\tno end'")
    assert shared.wait_job(job_id)["exit_code"] == 0
    assert shared.log(job_id) == b"\x1b[1mbold\x1b[0m\tno end"


@pytest.fixture
def talker(shared: Daemon) -> Iterator[int]:
    """A job that says something and goes on."""
    job_id = shared.gbatch("for i in 1 2 3; do echo line $i; done; sleep 1000")
    yield job_id
    shared.cli("gcancel", str(job_id))
    shared.wait_job(job_id)


def test_a_followed_log_ends_when_its_reader_does(shared: Daemon, talker: int):
    follower = shared.spawn("gjob", "log", str(talker), "-f")
    assert follower.stdout is not None
    assert [follower.stdout.readline() for _ in range(3)] == ["line 1\n", "line 2\n", "line 3\n"]
    assert follower.poll() is None
    follower.stdout.close()
    assert follower.wait(10) == 141
    assert follower.stderr is not None
    assert follower.stderr.read() == ""
    follower.stderr.close()


def test_a_followed_log_in_a_pipeline(shared: Daemon, talker: int):
    follow = shared.command("gjob", "log", str(talker), "-f")
    piped = subprocess.run(
        ["bash", "-c", '"$@" | head -n 2; echo "${PIPESTATUS[0]}"', "bash", *follow],
        env=shared.surroundings,
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert (piped.stdout, piped.stderr) == (b"line 1\nline 2\n141\n", b"")


def test_a_log_is_followed_from_before_the_start_to_after_the_end(shared: Daemon, tmp_path: Path):
    job_id = shared.gbatch("--hold", "echo one; while [ ! -e go ]; do sleep 0.02; done; printf two", cwd=tmp_path)
    with shared.spawn("gjob", "log", "-f", str(job_id)) as follower:
        assert follower.stdout is not None
        assert shared.cli("gjob", "release", str(job_id)).returncode == 0
        assert follower.stdout.readline() == "one\n"
        (tmp_path / "go").touch()
        assert follower.stdout.read() == "two"
        assert follower.wait(10) == 0


def test_first_and_last_lines(shared: Daemon):
    job_id = shared.gbatch("seq", "1", "1000")
    shared.wait_job(job_id)
    assert shared.cli("gjob", "log", str(job_id), "--first", "2").stdout == "1\n2\n"
    assert shared.cli("gjob", "log", str(job_id), "--last", "2").stdout == "999\n1000\n"
    tail = shared.get(f"/jobs/{job_id}/log/content?tail=1")
    assert (tail["content"], tail["truncated"]) == ("1000\r\n", True)


def test_three_hundred_jobs_at_once(daemon: Daemon):
    with Gate(daemon.work) as gate:
        ids = daemon.submit_all([{"command": f"{gate.pass_}; echo {number}"} for number in range(MANY)])
        gate.wait_for(MANY)
        assert daemon.get("/status")["jobs"]["Running"] == MANY
        gate.open()
        jobs = daemon.wait_jobs(ids, 90)
    assert [(job["state"], job["exit_code"]) for job in jobs] == [("Finished", 0)] * MANY
    assert [daemon.log(job_id) for job_id in ids] == [b"%d\n" % number for number in range(MANY)]
