"""Time limits are kept to the deadline, by Ctrl-C first, and by force where that is ignored."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import wait
from support.daemon import GRACE, Daemon, moment
from support.scratch import processes_of

STAMPS = """\
stamp() { date +%s.%N >"$1.new"; mv "$1.new" "$1"; }
trap 'stamp interrupted; exit 130' INT
trap 'stamp warned' USR1
stamp started
while :; do sleep 0.02; done
"""
"""A job that writes down when it was started, warned and interrupted."""

PROMPT_SECS = 0.5


def stamp(directory: Path, name: str) -> float:
    return float(wait.file(directory / name))


@pytest.fixture
def job_dir(shared: Daemon, tmp_path: Path) -> Path:
    (tmp_path / "stamps.sh").write_text(STAMPS)
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def stubborn() -> Iterator[tuple[Daemon, int]]:
    """A daemon with the default grace and its job that ignores Ctrl-C: it takes a while, and the other tests use it."""
    with Daemon(environment={GRACE: "10"}) as daemon:
        job_id = daemon.gbatch("--time", "0:02", "bash", "-c", 'trap "" INT; echo on; sleep 1000')
        wait.until(lambda: _sleepers(daemon), "its sleep")
        yield daemon, job_id


def _sleepers(daemon: Daemon) -> list[str]:
    return [line for line in processes_of(str(daemon.root)).values() if "sleep 1000" in line]


def test_ctrl_c_leaves_at_the_limit(shared: Daemon, job_dir: Path):
    job_id = shared.gbatch("--time", "0:01", "stamps.sh", cwd=job_dir)
    job = shared.wait_job(job_id)
    assert 0.8 <= stamp(job_dir, "interrupted") - stamp(job_dir, "started") < 1 + PROMPT_SECS
    assert (job["state"], job["exit_code"], job["signal"]) == ("Timeout", 130, "SIGINT")
    assert job["status_detail"] == "time limit of 00:00:01 reached"
    assert shared.log(job_id) == b"^C"


def test_a_plain_program_ends_by_ctrl_c(shared: Daemon):
    begun = time.monotonic()
    job_id = shared.gbatch("--time", "0:01", "sleep", "1000")
    job = shared.wait_job(job_id)
    assert time.monotonic() - begun < 1 + 6
    assert (job["state"], job["exit_code"], job["signal"]) == ("Timeout", 130, "SIGINT")
    columns = "ST,TIMELIMIT,REMAINING,EXIT,REASON"
    shown = shared.cli("gqueue", "-j", str(job_id), "-f", columns).stdout.splitlines()[1].split(maxsplit=4)
    assert [cell.strip() for cell in shown] == [
        "TO",
        "00:00:01",
        "-",
        "130:SIGINT",
        "time limit of 00:00:01 reached",
    ]


def test_a_job_that_saves_and_leaves_cleanly_is_timed_out_all_the_same(shared: Daemon):
    job = shared.wait_job(shared.gbatch("--time", "0:01", "trap 'exit 0' INT; while :; do sleep 0.05; done"))
    assert (job["state"], job["exit_code"], job["signal"]) == ("Timeout", 0, None)


def test_a_job_that_ignores_ctrl_c_gets_sigterm_after_the_grace(shared: Daemon):
    begun = time.monotonic()
    job_id = shared.gbatch("--time", "0:01", "bash", "-c", 'trap "" INT; sleep 1000')
    job = shared.wait_job(job_id)
    assert 2 <= time.monotonic() - begun < 1 + 1 + 6
    assert (job["state"], job["exit_code"], job["signal"]) == ("Timeout", 143, "SIGTERM")


def test_a_job_within_its_limit_is_left_alone(shared: Daemon):
    job = shared.wait_job(shared.gbatch("--time", "0:02", "sleep 0.5; exit 5"))
    assert (job["state"], job["exit_code"]) == ("Failed", 5)


def test_waiting_does_not_count(shared: Daemon):
    job_id = shared.gbatch("--time", "0:01", "--begin", "now+2s", "sleep", "0.3")
    assert shared.wait_job(job_id)["state"] == "Finished"


def test_the_columns_show_limit_and_remaining_time(shared: Daemon):
    limited, unlimited = shared.gbatch("--time", "26:00:00", "sleep", "60"), shared.gbatch("sleep", "60")
    waiting = shared.gbatch("--time", "45:30", "--hold", "true")
    for job_id in (limited, unlimited):
        shared.wait_running(job_id)
    ids = f"{limited},{unlimited},{waiting}"
    shown = shared.cli("gqueue", "-j", ids, "-f", "JOBID,ST,TIMELIMIT,REMAINING").stdout.splitlines()
    assert [line.split() for line in shown[2:]] == [
        [str(unlimited), "R", "UNLIMITED", "UNLIMITED"],
        [str(waiting), "H", "00:45:30", "-"],
    ]
    assert shown[1].split()[:3] == [str(limited), "R", "1-02:00:00"]
    assert shown[1].split()[3].startswith("1-01:59:5")
    assert shared.cli("gcancel", ids).returncode == 0
    shared.wait_jobs([limited, unlimited])


def test_the_limit_of_a_running_job_can_be_lowered(shared: Daemon, job_dir: Path):
    job_id = shared.gbatch("--time", "1:00:00", "stamps.sh", cwd=job_dir)
    stamp(job_dir, "started")
    done = shared.cli("gjob", "update", str(job_id), "--time-limit", "0:01")
    assert (done.returncode, shared.job(job_id)["time_limit"]) == (0, {"secs": 1, "nanos": 0})
    assert shared.wait_job(job_id)["state"] == "Timeout"
    assert stamp(job_dir, "interrupted") - stamp(job_dir, "started") < 1 + PROMPT_SECS


def test_the_limit_of_a_running_job_can_be_raised_and_lifted(shared: Daemon, job_dir: Path):
    raised = shared.gbatch("--time", "0:02", "stamps.sh", cwd=job_dir)
    lifted = shared.gbatch("--time", "0:02", "sleep", "60")
    shared.wait_running(lifted)
    assert shared.cli("gjob", "update", str(raised), "--time-limit", "+0:01").returncode == 0
    assert shared.cli("gjob", "update", str(lifted), "--clear-time-limit").returncode == 0
    assert shared.wait_job(raised)["state"] == "Timeout"
    assert 2.95 <= stamp(job_dir, "interrupted") - stamp(job_dir, "started") < 3 + PROMPT_SECS
    assert shared.states(lifted) == ["Running"]
    assert shared.cli("gcancel", str(lifted)).returncode == 0
    assert shared.wait_job(lifted)["state"] == "Cancelled"


def test_the_limit_of_a_queued_job_can_be_changed(shared: Daemon):
    job_id = shared.gbatch("--hold", "--time", "1:00:00", "sleep", "60")
    assert shared.cli("gjob", "update", str(job_id), "--time-limit", "0:01").returncode == 0
    assert shared.cli("gjob", "release", str(job_id)).returncode == 0
    assert shared.wait_job(job_id)["state"] == "Timeout"
    refused = shared.cli("gjob", "update", str(job_id), "--time-limit", "0:05")
    assert (refused.returncode, "Timeout" in refused.stderr) == (1, True)


@pytest.mark.parametrize("text", ["0", "0:00", "-5", "1:2:3:4", "9999999:00:00", "x", "1:60"])
def test_zero_negative_and_absurd_limits_are_refused(shared: Daemon, text: str):
    before = shared.jobs().keys()
    refused = shared.cli("gbatch", f"--time={text}", "true")
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
    for secs in (0, -5, 1e12, {"secs": 0, "nanos": 0}):
        assert shared.http("POST", "/jobs", {"command": "true", "run_dir": "/", "time_limit": secs}).status == 400
    assert shared.jobs().keys() == before


def test_an_early_signal_comes_before_the_limit(shared: Daemon, job_dir: Path):
    job_id = shared.gbatch("--time", "0:03", "--signal", "USR1@2", "stamps.sh", cwd=job_dir)
    assert shared.wait_job(job_id)["state"] == "Timeout"
    started = stamp(job_dir, "started")
    assert 0.8 <= stamp(job_dir, "warned") - started < 1 + PROMPT_SECS
    assert 2.95 <= stamp(job_dir, "interrupted") - started < 3 + PROMPT_SECS
    assert shared.job(job_id)["early_signal"] == {"signal": signal.SIGUSR1, "secs_before": 2}


def test_every_job_of_an_array_has_the_limit(shared: Daemon):
    done = shared.cli("gbatch", "--parsable", "--array", "1-4", "--time", "0:01", "sleep", "60")
    jobs = shared.wait_jobs([int(line) for line in done.stdout.split()])
    assert [(job["state"], job["exit_code"]) for job in jobs] == [("Timeout", 130)] * 4


def test_a_retry_is_not_for_jobs_that_ran_out_of_time(shared: Daemon):
    job = shared.wait_job(shared.gbatch("--time", "0:01", "--max-retries", "2", "sleep", "60"))
    assert (job["state"], job["retried_as"]) == ("Timeout", None)


def test_with_the_default_grace_every_process_is_gone_in_time(stubborn: tuple[Daemon, int]):
    daemon, job_id = stubborn
    job = daemon.wait_job(job_id)
    assert 2 + 10 <= moment(job["finished_at"]) - moment(job["started_at"]) < 2 + 10 + 6
    assert (job["state"], job["exit_code"]) == ("Timeout", 143)
    assert _sleepers(daemon) == []
