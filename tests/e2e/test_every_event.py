"""One life in which everything happens that can be told, and a real server that is told of each."""

import json
import os
import time
from pathlib import Path

import pytest

from gflow.core.events import EventKind
from support.daemon import Daemon
from support.nvml import Driver, compile_stub
from support.receiver import Receiver
from support.wait import until

SAMPLES = Path(__file__).parents[1] / "data/payloads"
CONFIG = """
[daemon]
gpu_poll_interval_secs = 0.1
idle_gpu_warn_mins = 0.005

[notifications]
enabled = true

[[notifications.webhooks]]
url = "{url}"
"""
TOMORROW = {"secs_since_epoch": int(time.time()) + 86400, "nanos_since_epoch": 0}


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(tmp_path, compile_stub(tmp_path)).add(2)


def test_every_event_is_told_and_looks_like_its_sample(tmp_path: Path, driver: Driver):
    with Receiver(tmp_path) as receiver:
        daemon = Daemon(environment=driver.environment)
        file = daemon.root / "config/gflow/gflow.toml"
        file.parent.mkdir(parents=True)
        file.write_text(CONFIG.format(url=receiver.url("/ok")))
        with daemon:
            jobs_come_and_go(daemon)
            gpus_are_taken_and_left(daemon, driver)
            something_is_reserved(daemon)
            nothing_is_started_for_a_while(daemon)
            kinds = {str(kind) for kind in EventKind}
            until(lambda: {one["event"] for one in receiver.received("/ok")} >= kinds, f"all of {sorted(kinds)}")
        told = {one["event"]: one["body"] for one in receiver.received("/ok")}
    assert told.keys() == kinds
    for kind, body in told.items():
        sample = json.loads((SAMPLES / f"{kind}.json").read_text())
        optional = {"group"} if kind.startswith("job_") else set()  # a job may be in one
        assert body.keys() - optional == sample.keys() - optional, kind
        assert (body["event"], body["scheduler"].keys()) == (kind, sample["scheduler"].keys())


def jobs_come_and_go(daemon: Daemon) -> None:
    """Every transition a job can make, and the end of an array."""
    waiting = daemon.submit("true", scheduled_at=TOMORROW)
    for verb in ("hold", "release"):
        assert daemon.http("POST", f"/jobs/{waiting}/{verb}").status == 200
    assert daemon.http("PATCH", f"/jobs/{waiting}", {"priority": 20}).status == 200
    assert daemon.http("POST", f"/jobs/{waiting}/cancel").status == 200
    ends = [daemon.submit("true"), daemon.submit("exit 3"), daemon.submit("exec sleep 60", time_limit=0.5)]
    assert [job["state"] for job in daemon.wait_jobs(ends)] == ["Finished", "Failed", "Timeout"]
    assert daemon.cli("gbatch", "--array", "1-2", "--max-concurrent", "1", "true", cwd=daemon.work).returncode == 0
    failing = ("--group", "lr", "--array", "1-3%1", "--hold-after-failures", "2", "false")
    assert daemon.cli("gbatch", *failing, cwd=daemon.work).returncode == 0


def gpus_are_taken_and_left(daemon: Daemon, driver: Driver) -> None:
    """A job that takes more than it said and does nothing with it; a stranger that comes and leaves."""
    greedy = daemon.submit(
        "echo $$; exec sleep 600", gpus=1, gpu_sharing_mode="Shared", gpu_memory_limit_mb=1000, gpu_indices=[0]
    )
    driver.put(0, int(daemon.wait_log(greedy)), 5000)
    driver.put(1, os.getpid())
    until(lambda: "GPU 1 is used from outside" in daemon.said(), "a look at the stranger")
    driver.take(os.getpid())
    until(lambda: daemon.job(greedy)["gpu_share_mb"] == 5000, "a look at the job")


def something_is_reserved(daemon: Daemon) -> None:
    start = {"secs_since_epoch": (int(time.time()) // 1800 + 48) * 1800, "nanos_since_epoch": 0}
    wish = {"user": "alice", "gpu_indices": [1], "start_time": start, "duration_secs": 1800}
    made = daemon.http("POST", "/reservations", wish)
    assert made.status == 200, made
    assert daemon.http("DELETE", f"/reservations/{made.body['reservation_id']}").status == 200


def nothing_is_started_for_a_while(daemon: Daemon) -> None:
    for verb in (("drain", "--reason", "driver update"), ("resume",)):
        assert daemon.cli("gctl", *verb).returncode == 0
