"""The wall clock is set while jobs run: limits are held by time that passed, begin times by what the clock says."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import wait
from support.daemon import Daemon, moment
from support.stepped_clock import Clock, build_library

HOUR = 3600
PROMPT_SECS = 0.5
STAMPS = """\
stamp() { cut -d' ' -f1 /proc/uptime >"$1.new"; mv "$1.new" "$1"; }
trap 'stamp interrupted; exit 130' INT
stamp started
while :; do sleep 0.02; done
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "offset")


@pytest.fixture
def daemon(library: Path, clock: Clock) -> Iterator[Daemon]:
    with Daemon(environment=clock.environment(library)) as daemon:
        yield daemon


def wall(daemon: Daemon) -> float:
    """What the daemon's clock says."""
    job_id = daemon.submit("true", hold=True)
    return moment(daemon.job(job_id)["submitted_at"])


@pytest.mark.parametrize("step_secs", [-HOUR, HOUR], ids=["back", "forward"])
def test_a_limit_is_held_to_the_second(daemon: Daemon, clock: Clock, step_secs: int):
    job_id = daemon.submit(STAMPS, time_limit=3)
    started = float(wait.file(daemon.work / "started"))
    clock.set(step_secs)
    assert abs(wall(daemon) - time.time() - step_secs) < 5
    shown = daemon.cli("gqueue", "-j", str(job_id), "-f", "TIME,REMAINING").stdout.splitlines()[1].split()
    assert shown[0] in ("00:00:00", "00:00:01", "00:00:02")
    assert shown[1] in ("00:00:00", "00:00:01", "00:00:02")
    job = daemon.wait_job(job_id)
    assert 2.9 <= float(wait.file(daemon.work / "interrupted")) - started < 3 + PROMPT_SECS
    assert (job["state"], job["exit_code"]) == ("Timeout", 130)


def test_the_ladder_is_not_shaken(daemon: Daemon, clock: Clock):
    job_id = daemon.submit("trap '' INT TERM; echo on; while :; do sleep 0.05; done")
    daemon.wait_log(job_id)
    begun = time.monotonic()
    daemon.http("POST", f"/jobs/{job_id}/cancel")
    clock.set(HOUR)
    wait.until(lambda: daemon.job(job_id)["stopping"] == "cancel", "the stop")
    clock.set(-HOUR)
    job = daemon.wait_job(job_id)
    assert 6 <= time.monotonic() - begun < 6 + 2
    assert (job["state"], job["signal"]) == ("Cancelled", "SIGKILL")


def test_a_begin_time_comes_with_the_clock(daemon: Daemon, clock: Clock):
    job_id = daemon.submit("true", scheduled_at=time.time() + HOUR / 2)
    assert daemon.job(job_id)["reason"] == "WaitingForStartTime"
    clock.set(HOUR)
    assert daemon.wait_job(job_id, 5)["state"] == "Finished"


def test_a_begin_time_goes_with_the_clock(daemon: Daemon, clock: Clock):
    job_id = daemon.submit("true", scheduled_at=time.time() + 1.5)
    clock.set(-HOUR)
    witness = daemon.submit("sleep 2")
    daemon.wait_job(witness)
    assert daemon.states(job_id) == ["Queued"]
    clock.set(0)
    assert daemon.wait_job(job_id, 5)["state"] == "Finished"
