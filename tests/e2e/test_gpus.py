"""Real GPUs, from the driver's library to the job, with a stub for the library: found, given out, and kept back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gflow.gpu import nvml
from support.daemon import Daemon
from support.nvml import DRIVER_NOT_LOADED, LOST, Driver, compile_stub
from support.wait import until

pytestmark = pytest.mark.once

INTERVAL = {"GFLOW_DAEMON_GPU_POLL_INTERVAL_SECS": "0.1"}
SLEEPER = "echo $$; exec sleep 600"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(tmp_path: Path, library: Path) -> Driver:
    return Driver(tmp_path, library)


@contextmanager
def serving(driver: Driver, *options: str) -> Iterator[Daemon]:
    with Daemon(*options, environment={**driver.environment, **INTERVAL}) as daemon:
        yield daemon


def gpus(daemon: Daemon) -> list[dict[str, Any]]:
    return daemon.get("/info")["gpus"]


def wait_said(daemon: Daemon, text: str) -> None:
    """Return once the daemon has said so in its log."""
    until(lambda: text in daemon.said(), text)


def start_sleeper(daemon: Daemon, **fields: Any) -> tuple[int, int]:
    """A running job on one GPU, and its process id."""
    job_id = daemon.submit(SLEEPER, gpus=1, **fields)
    return job_id, int(daemon.wait_log(job_id))


def put_and_wait(daemon: Daemon, driver: Driver, pid: int) -> None:
    """A process is on the first device from now on, and the daemon has seen that: it tells of another beside it."""
    driver.put(0, pid)
    driver.put(0, os.getpid())
    wait_said(daemon, f"GPU 0 is used from outside of gflow: pid {os.getpid()}")
    driver.take(os.getpid())
    wait_said(daemon, "GPU 0 is not used from outside of gflow any more")


def test_the_gpus_there_are_are_found_and_given_out(driver: Driver) -> None:
    driver.add(2, total_mb=24564, name="NVIDIA GeForce RTX 4090")
    with serving(driver) as daemon:
        job_id = daemon.submit("echo $CUDA_DEVICE_ORDER $CUDA_VISIBLE_DEVICES", gpus=2)
        assert daemon.wait_job(job_id)["state"] == "Finished"
        assert daemon.log(job_id) == b"PCI_BUS_ID 0,1\n"
        shown = [(gpu["index"], gpu["uuid"], gpu["name"], gpu["memory_mb"], gpu["simulated"]) for gpu in gpus(daemon)]
        assert shown == [(i, f"GPU-stub-{i}", "NVIDIA GeForce RTX 4090", 24564, False) for i in (0, 1)]


def test_the_configuration_is_the_ceiling(driver: Driver) -> None:
    driver.add(3)
    with serving(driver, "--gpus", "1,2") as daemon:
        assert [gpu["index"] for gpu in gpus(daemon)] == [1, 2]
        job_id = daemon.submit("echo $CUDA_VISIBLE_DEVICES", gpus=2)
        assert daemon.wait_job(job_id)["gpu_ids"] == [1, 2]


def test_a_foreign_process_keeps_jobs_off_its_gpu_until_it_leaves(driver: Driver) -> None:
    driver.add(2)
    driver.put(0, os.getpid())
    with serving(driver) as daemon:
        one, two = daemon.submit("true", gpus=1), daemon.submit("true", gpus=2)
        assert daemon.wait_job(one)["gpu_ids"] == [1]
        assert daemon.job(two)["state"] == "Queued"
        driver.take(os.getpid())
        assert daemon.wait_job(two)["gpu_ids"] == [0, 1]


def test_a_desktop_keeps_nothing_off(driver: Driver) -> None:
    driver.add(1)
    driver.put(0, os.getpid(), kind="graphics")
    with serving(driver) as daemon:
        assert daemon.wait_job(daemon.submit("true", gpus=1))["state"] == "Finished"


def test_a_gpu_is_handed_on_though_the_driver_still_lists_the_process_that_had_it(driver: Driver) -> None:
    driver.add(1)
    with serving(driver) as daemon:
        job_id, pid = start_sleeper(daemon)
        put_and_wait(daemon, driver, pid)
        following = daemon.submit("true", gpus=1)
        assert daemon.http("POST", f"/jobs/{job_id}/cancel").status == 200
        daemon.wait_job(job_id)
        assert daemon.wait_job(following)["state"] == "Finished"
        assert f"pid {pid}" not in daemon.said()


def test_a_job_of_an_earlier_daemon_is_not_foreign_to_the_next(driver: Driver) -> None:
    driver.add(2)
    with serving(driver) as daemon:
        job_id, pid = start_sleeper(daemon)
        driver.put(0, pid)
        daemon.kill9()
        daemon.start()
        assert daemon.wait_job(daemon.submit("true", gpus=1))["gpu_ids"] == [1]
        both = daemon.submit("true", gpus=2)
        assert daemon.http("POST", f"/jobs/{job_id}/cancel").status == 200
        assert daemon.wait_job(both)["state"] == "Finished"
        assert f"pid {pid}" not in daemon.said()


def test_a_lost_gpu_is_taken_out_its_job_is_left_alone_and_the_rest_goes_on(driver: Driver) -> None:
    driver.add(2)
    with serving(driver) as daemon:
        job_id, _ = start_sleeper(daemon)
        driver.fail("*", LOST, 0)
        wait_said(daemon, f"GPU 0 cannot be used: {nvml.LOST}")
        assert daemon.wait_job(daemon.submit("true", gpus=1))["gpu_ids"] == [1]
        assert daemon.job(job_id)["state"] == "Running"
        assert daemon.http("POST", f"/jobs/{job_id}/cancel").status == 200
        assert daemon.wait_job(job_id)["state"] == "Cancelled"
        both = daemon.submit("true", gpus=2)
        assert daemon.wait_job(daemon.submit("true", gpus=1))["gpu_ids"] == [1]
        driver.heal()
        assert daemon.wait_job(both)["state"] == "Finished"


def test_a_driver_that_is_loaded_after_the_daemon_started_is_found(driver: Driver) -> None:
    driver.add(2)
    driver.fail("nvmlInit", DRIVER_NOT_LOADED)
    with serving(driver) as daemon:
        status = daemon.get("/status")
        assert (status["gpu_total"], status["gpu_trouble"]) == (0, nvml.NO_DRIVER)
        assert daemon.get("/info")["gpu_trouble"] == nvml.NO_DRIVER
        assert f"GPUs: 0 of 0 available ({nvml.NO_DRIVER})\n" in daemon.cli("gflowd", "status").stdout
        assert daemon.wait_job(daemon.submit("true"))["state"] == "Finished", "all else works"
        driver.heal()
        until(lambda: daemon.get("/status")["gpu_total"] == 2, "the GPUs")
        assert daemon.get("/status")["gpu_trouble"] is None
        assert daemon.wait_job(daemon.submit("true", gpus=2))["state"] == "Finished"
        assert "GPUs: 2 of 2 available\n" in daemon.cli("gflowd", "status").stdout


def test_a_driver_that_hangs_keeps_jobs_off_the_gpus_and_nobody_from_anything_else(driver: Driver) -> None:
    driver.add(1)
    with serving(driver) as daemon:
        driver.hang("nvmlDeviceGetMemoryInfo_v2")
        wait_said(daemon, "GPUs: the driver does not answer")
        assert daemon.get("/status")["gpu_trouble"].startswith("the driver does not answer")
        job_id = daemon.submit("true", gpus=1)
        assert daemon.wait_job(daemon.submit("true"))["state"] == "Finished"
        assert daemon.job(job_id)["state"] == "Queued"
        assert daemon.stop() == 0, "it does not wait for the driver"
        daemon.start()
        assert daemon.job(job_id)["state"] == "Queued"
        driver.heal()
        assert daemon.wait_job(job_id)["state"] == "Finished"
