"""What the commands show of real GPUs, and how they steer them, with a stub for the driver's library."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gflow.gpu import nvml
from support.daemon import Daemon
from support.nvml import DRIVER_NOT_LOADED, Driver, compile_stub
from support.wait import until

pytestmark = pytest.mark.once

INTERVAL = {"GFLOW_DAEMON_GPU_POLL_INTERVAL_SECS": "0.2"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(tmp_path: Path, library: Path) -> Driver:
    return Driver(tmp_path, library)


@pytest.fixture
def stranger() -> Iterator[int]:
    """The id of a process from outside of gflow."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@contextmanager
def serving(driver: Driver) -> Iterator[Daemon]:
    with Daemon(environment={**driver.environment, **INTERVAL}) as daemon:
        yield daemon


def ginfo(daemon: Daemon, *options: str) -> list[list[str]]:
    """The rows below the header, as words."""
    done = daemon.cli("ginfo", *options)
    assert (done.returncode, done.stderr) == (0, ""), done
    return [line.split() for line in done.stdout.splitlines()[1:]]


def process(daemon: Daemon, verb: str, pid: int) -> str:
    """What gctl gpu-process says of a process on GPU 0."""
    done = daemon.cli("gctl", "gpu-process", verb, "--gpu", "0", "--pid", str(pid))
    assert done.returncode == 0, done
    return done.stdout


def test_ginfo_shows_what_the_driver_tells_and_who_holds_what(driver: Driver) -> None:
    driver.add(2, used_mb=6144, total_mb=24576, utilisation=42)
    with serving(driver) as daemon:
        job_id = daemon.submit("echo $$; exec sleep 600", gpus=1, run_name="train")
        driver.put(0, int(daemon.wait_log(job_id)), 4096)
        names = ["gpu", "0", "Stub", "GPU", "allocated", f"{job_id}", "(train)", "4.0G", "6.0G/24.0G", "42%"]
        until(lambda: ginfo(daemon, "-N")[0] == names, "what the job uses")
        assert ginfo(daemon) == [
            ["gpu", "1", "1", "idle", "6.0G/24.0G", "42%"],
            ["gpu", "1", "0", "allocated", f"{job_id}", "(train)", "6.0G/24.0G", "42%"],
        ]
        assert daemon.http("POST", f"/jobs/{job_id}/cancel").status == 200
        daemon.wait_job(job_id)
        assert "GPU utilisation: 42% (measured in 1 job)" in daemon.cli("gstats", "-a").stdout


def test_a_process_that_is_ignored_keeps_no_job_off_also_after_kill_9(driver: Driver, stranger: int) -> None:
    driver.add(1)
    driver.put(0, stranger)
    with serving(driver) as daemon:
        waiting = daemon.submit("sleep 600", gpus=1)
        until(lambda: daemon.job(waiting)["reason"] == "WaitingForGpu", "the pass")
        assert ginfo(daemon)[0][:5] == ["gpu", "1", "0", "unavailable", f"(unmanaged(pid={stranger}))"]
        assert f"GPU 0 is out of use: unmanaged(pid={stranger})" in daemon.cli("gjob", "why", str(waiting)).stdout
        assert process(daemon, "ignore", stranger) == f"Process {stranger} on GPU 0 is ignored; the GPU is available.\n"
        daemon.wait_running(waiting)
        daemon.kill9()
        daemon.start()
        assert daemon.cli("gctl", "gpu-process", "list").stdout == f"gpu=0\tpid={stranger}\n"
        assert daemon.http("POST", f"/jobs/{waiting}/cancel").status == 200
        daemon.wait_job(waiting)
        following = daemon.submit("true", gpus=1)
        assert daemon.wait_job(following)["state"] == "Finished"
        process(daemon, "unignore", stranger)
        last = daemon.submit("true", gpus=1)
        until(lambda: daemon.job(last)["reason"] == "WaitingForGpu", "the pass")
        driver.take(stranger)
        assert daemon.wait_job(last)["state"] == "Finished"


def test_a_process_that_leaves_is_ignored_no_more(driver: Driver, stranger: int) -> None:
    driver.add(1)
    driver.put(0, stranger)
    with serving(driver) as daemon:
        process(daemon, "ignore", stranger)
        driver.take(stranger)
        said = "No ignored GPU processes\n"
        until(lambda: daemon.cli("gctl", "gpu-process", "list").stdout == said, "the next look")
        refused = daemon.cli("gctl", "gpu-process", "ignore", "--gpu", "0", "--pid", str(os.getpid()))
        assert refused.returncode == 1
        assert refused.stderr == f"gctl gpu-process ignore: PID {os.getpid()} is not currently running on GPU 0\n"


def test_why_no_gpu_can_be_seen_is_said(driver: Driver) -> None:
    driver.add(1)
    driver.fail("nvmlInit", DRIVER_NOT_LOADED)
    with serving(driver) as daemon:
        assert daemon.cli("ginfo").stdout == f"No GPU can be seen: {nvml.NO_DRIVER}\n"
