"""Steering the machine with the real daemon and commands: whatever frees capacity starts the next job at once.

Nothing else happens in these daemons, no other job ends or comes, so a start is the answer to the change.
"""

import json
import time
from collections.abc import Iterator

import pytest

from support.daemon import Daemon, moment
from support.older import old_state, span, stamp
from support.wait import until

pytestmark = pytest.mark.once

AT_ONCE_SECS = 2.0
"""Far less than any interval at which somebody might look again."""


@pytest.fixture
def machine() -> Iterator[Daemon]:
    """A daemon with two GPUs."""
    with Daemon("--simulated-gpus", "2") as daemon:
        yield daemon


def waits(daemon: Daemon, job_id: int, reason: str) -> None:
    """A pass has found that the job cannot start, for this reason."""
    until(lambda: daemon.job(job_id)["reason"] == reason, f"{reason} of job {job_id}")


def gctl(daemon: Daemon, *arguments: str) -> str:
    """What gctl prints; it succeeds."""
    done = daemon.cli("gctl", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def starts_at_once(daemon: Daemon, job_id: int, since: float) -> None:
    """The job was started right after `since`."""
    job = until(lambda: (found := daemon.job(job_id))["started_at"] and found, f"start of job {job_id}", 30)
    assert moment(job["started_at"]) - since < AT_ONCE_SECS


def test_set_limit_starts_a_waiting_job_at_once(machine: Daemon):
    _, waiting = machine.submit_all([{"command": "sleep 60"}] * 2, max_concurrent=1)
    waits(machine, waiting, "WaitingForResources")
    since = time.time()
    gctl(machine, "set-limit", str(waiting), "2")
    starts_at_once(machine, waiting, since)


def test_set_gpus_starts_a_waiting_job_at_once(machine: Daemon):
    assert gctl(machine, "set-gpus", "0") == "New jobs may have GPU 0; running jobs keep theirs.\n"
    waiting = machine.submit("sleep 60", gpus=2)
    waits(machine, waiting, "WaitingForGpu")
    assert "GPU 1 is out of use: restricted" in machine.cli("gjob", "why", str(waiting)).stdout
    since = time.time()
    gctl(machine, "set-gpus", "all")
    starts_at_once(machine, waiting, since)


def test_a_quota_change_starts_a_waiting_job_at_once(machine: Daemon):
    gctl(machine, "quota", "set", "--default-user", "--max-running-jobs", "1")
    _, second, third = machine.submit_all([{"command": "sleep 60"}] * 3)
    waits(machine, second, "WaitingForQuota")
    since = time.time()
    gctl(machine, "quota", "set", "--default-user", "--max-running-jobs", "2")
    starts_at_once(machine, second, since)
    waits(machine, third, "WaitingForQuota")
    since = time.time()
    gctl(machine, "quota", "remove", "--default-user")
    starts_at_once(machine, third, since)


def test_the_end_of_a_reservation_starts_a_waiting_job_at_once():
    daemon = Daemon("--simulated-gpus", "2")
    try:
        end = time.time() + 10
        spec = {"gpu_spec": {"indices": [0, 1]}, "start_time": stamp(end - 1800), "duration": span(1800)}
        booked = {"id": 1, "user": "somebody-else", "status": "Active", "created_at": stamp(end - 3600), **spec}
        daemon.data.mkdir(parents=True)
        state = old_state(version=4, reservations=[{**booked, "cancelled_at": None}], next_reservation_id=2)
        (daemon.data / "state.json").write_text(json.dumps(state))
        daemon.start()
        waiting = daemon.submit("sleep 60", gpus=1)
        waits(daemon, waiting, "WaitingForGpu")
        starts_at_once(daemon, waiting, end)
        assert moment(daemon.job(waiting)["started_at"]) >= end - 0.01
    finally:
        daemon.close()


def test_set_gpus_survives_kill_9_and_never_widens_past_the_configuration():
    with Daemon("--simulated-gpus", "4", "--gpus", "0-2") as daemon:
        refused = daemon.cli("gctl", "set-gpus", "2,3")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert (
            refused.stderr == "gctl set-gpus: Invalid GPU indices [3]: daemon.gpus in the configuration is [0, 1, 2]\n"
        )
        gctl(daemon, "set-gpus", "0,2")
        daemon.kill9()
        daemon.start()
        assert gctl(daemon, "show-gpus") == (
            "0\tavailable\tsimulated\n1\tin_use\trestricted\tsimulated\n2\tavailable\tsimulated\n"
        )
        both = daemon.wait_running(daemon.submit("sleep 60", gpus=2))
        assert both["gpu_ids"] == [0, 2]
        assert daemon.stop() == 0
        daemon.options = ("--simulated-gpus", "4", "--gpus", "2-3")
        daemon.start()
        assert daemon.get("/info")["allowed_gpu_indices"] == [2]
        assert gctl(daemon, "set-gpus", "all") == "New jobs may have GPUs 2-3; running jobs keep theirs.\n"
        waiting = daemon.submit("sleep 60", gpus=1)
        assert daemon.wait_running(waiting)["gpu_ids"] == [3]


def test_when_jobs_are_expected_to_start(machine: Daemon):
    first = machine.wait_running(machine.submit("sleep 60", gpus=2, time_limit=7500))
    waiting = machine.submit("sleep 60", gpus=1)
    waits(machine, waiting, "WaitingForGpu")
    told = machine.cli("gjob", "eta", str(waiting)).stdout
    assert told.startswith(f"Job {waiting} is expected to start at ")
    assert told.endswith((", in 2h 04m.\n", ", in 2h 05m.\n"))
    header, row = machine.cli("gqueue", "-j", str(waiting), "-f", "START").stdout.split()
    assert (header, row[0]) == ("START", "~")
    shown = time.mktime(time.strptime(row[1:], "%Y-%m-%dT%H:%M:%S"))
    assert abs(shown - moment(first["started_at"]) - 7500) < 2
    (job,) = json.loads(machine.cli("gqueue", "-s", "PD", "-f", "START", "-o", "json").stdout)["jobs"]
    assert job["expected_start"]
    assert machine.cli("gjob", "update", str(first["id"]), "--time-limit", "1:00:00").returncode == 0
    assert "in 59m" in machine.cli("gjob", "why", str(waiting)).stdout
