"""A stopped job is gone with all its processes, however they try to stay; until then it is Running."""

import sys
from pathlib import Path

import pytest

from support.daemon import Daemon, moment
from support.scratch import processes_of
from support.wait import until

TICK_SECS = 0.01
"""The kernel's clock for the start of a process: a start may read that much too early."""

FAMILY = """\
import os, signal, sys, time

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)

def hide(depth):
    if os.fork() == 0:
        os.setsid()
        if depth:
            hide(depth - 1)
        os.chdir("/")
        os.close(0); os.close(1); os.close(2)
        time.sleep(1000)

hide(3)
print("hidden", flush=True)
time.sleep(0 if "--leave" in sys.argv else 1000)
"""


@pytest.fixture
def family(daemon: Daemon) -> Path:
    path = daemon.work / "family"
    path.write_text(FAMILY)
    return path


def members(daemon: Daemon) -> list[str]:
    return [line for line in processes_of(str(daemon.root)).values() if line.rstrip().endswith(("family", "--leave"))]


def test_a_job_that_ignores_everything_is_killed(daemon: Daemon):
    job_id = daemon.gbatch("bash", "-c", 'trap "" INT TERM HUP; echo on; while :; do sleep 0.1; done')
    daemon.wait_log(job_id)
    begun = moment(daemon.job(job_id)["started_at"])
    assert daemon.cli("gcancel", str(job_id)).returncode == 0
    assert (daemon.job(job_id)["state"], daemon.job(job_id)["stopping"]) == ("Running", "cancel")
    job = daemon.wait_job(job_id, 12)
    assert (job["state"], job["exit_code"], job["signal"]) == ("Cancelled", 137, "SIGKILL")
    assert 1 + 5 <= moment(job["finished_at"]) - begun < 1 + 5 + 3


def test_children_in_sessions_of_their_own_go_too(daemon: Daemon, family: Path):
    job_id = daemon.submit(argv=[sys.executable, str(family)])
    daemon.wait_log(job_id, b"hidden\n")
    until(lambda: len(members(daemon)) == 5, "the whole family")
    daemon.http("POST", f"/jobs/{job_id}/cancel")
    assert daemon.wait_job(job_id, 15)["state"] == "Cancelled"
    assert members(daemon) == []


def test_what_a_job_leaves_behind_is_ended_with_it(daemon: Daemon, family: Path):
    job_id = daemon.submit(argv=[sys.executable, str(family), "--leave"])
    daemon.wait_log(job_id, b"hidden\n")
    job = daemon.wait_job(job_id, 15)
    assert (job["state"], job["exit_code"]) == ("Finished", 0)
    assert members(daemon) == []


def test_a_background_process_does_not_keep_a_job_running(daemon: Daemon):
    job = daemon.wait_job(daemon.submit("(trap '' HUP; sleep 1000) & echo left"), 10)
    assert (job["state"], job["exit_code"]) == ("Finished", 0)
    assert not [line for line in processes_of(str(daemon.root)).values() if "sleep 1000" in line]


def test_a_stopped_process_can_be_ended(daemon: Daemon):
    job_id = daemon.submit("echo on; kill -STOP $$; echo never")
    daemon.wait_log(job_id)
    assert daemon.http("POST", f"/jobs/{job_id}/cancel").status == 200
    job = daemon.wait_job(job_id, 15)
    assert job["state"] == "Cancelled"


def test_a_slot_is_free_only_when_the_last_process_is_gone():
    with Daemon("--simulated-gpus", "1") as daemon:
        first = daemon.submit("trap '' INT; echo on; while :; do sleep 0.1; done", gpus=1)
        second = daemon.submit("true", gpus=1)
        daemon.wait_log(first)
        daemon.http("POST", f"/jobs/{first}/cancel")
        later = daemon.wait_job(second)
        ended = daemon.job(first)
        assert ended["state"] == "Cancelled"
        assert moment(later["started_at"]) >= moment(ended["finished_at"]) - TICK_SECS


def test_a_job_cancelled_while_it_is_launched_never_gets_far(daemon: Daemon):
    ids = daemon.submit_all([{"command": "sleep 1000"}] * 20)
    for job_id in ids:
        assert daemon.http("POST", f"/jobs/{job_id}/cancel").status == 200
    assert {job["state"] for job in daemon.wait_jobs(ids)} == {"Cancelled"}
    assert not [line for line in processes_of(str(daemon.root)).values() if "sleep 1000" in line]
