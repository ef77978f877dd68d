"""The daemon about itself: health, status, GPUs, figures."""

import errno
import os
import socket
import time
from pathlib import Path

import pytest

from gflow import __version__
from support.desk import eventually
from support.faulty_disk import FaultyDisk
from support.house import House


async def test_health(house):
    assert await house.get("/health") == {"status": "ok", "pid": os.getpid()}


async def test_status(house):
    await house.start(gpus=3)
    await house.submit(hold=True)
    status = await house.get("/status")
    assert status.pop("uptime_secs") in range(60)
    assert abs(status.pop("started_at") - time.time()) < 60
    assert Path("/proc/sys/kernel/random/boot_id").read_text() == f"{status.pop('boot_id')}\n"
    assert status.pop("host") == socket.gethostname()
    assert status == {
        "version": __version__,
        "pid": os.getpid(),
        "executor": "tmux",
        "endpoint": f"unix:{house.socket}",
        "tcp": None,
        "auth": None,
        "data_dir": str(house.data_dir),
        "allowed_gpu_indices": None,
        "gpu_allocation_strategy": "sequential",
        "timezone": None,
        "limits": {"memory": "watch", "cpus": "affinity", "why": "no cgroup has been looked for"},
        "gpu_total": 4,
        "gpu_available": 1,
        "gpu_simulated": 4,
        "gpu_trouble": None,
        "drained": None,
        "launch_trouble": None,
        "jobs": {
            "Queued": 0,
            "Hold": 1,
            "Running": 1,
            "Finished": 0,
            "Failed": 0,
            "Cancelled": 0,
            "Timeout": 0,
        },
    }


async def test_the_root_says_who_is_here(house):
    answer = await house.client.get("/")
    assert (answer.status_code, answer.text) == (200, "gflow\n")


async def test_stats(house):
    user = (await house.get("/stats"))["user"]
    assert user is None
    await house.end(await house.start(gpus=2), 0)
    await house.end(await house.start(), 1)
    await house.submit(hold=True)
    told = await house.get("/stats")
    assert {name: value for name, value in told.items() if name.endswith("_jobs")} == {
        "total_jobs": 3,
        "completed_jobs": 1,
        "failed_jobs": 1,
        "cancelled_jobs": 0,
        "timeout_jobs": 0,
        "running_jobs": 0,
        "queued_jobs": 1,
        "measured_jobs": 0,
        "top_jobs": told["top_jobs"],
    }
    assert (told["success_rate"], told["jobs_with_gpus"], told["peak_gpu_usage"]) == (50.0, 1, 2)
    assert sorted(job["id"] for job in told["top_jobs"]) == [1, 2]
    assert (await house.get("/stats?user=nobody-such"))["total_jobs"] == 0
    (job,) = await house.get("/jobs?ids=1")
    both = await house.get(f"/stats?user=nobody-such,{job['submitted_by']}")
    assert (both["total_jobs"], both["completed_jobs"]) == (3, 1)
    assert (await house.get("/stats?since=99999999999"))["since"] == 99999999999.0


@pytest.mark.parametrize("path", ["/health", "/status", "/info", "/stats", "/jobs/1", "/jobs/1/why"])
async def test_unknown_parameters_are_refused_everywhere(house, path):
    await house.submit(hold=True)
    sentence = await house.refused("GET", f"{path}?nonsense=1", status=400, code="malformed")
    assert sentence.startswith("Unknown parameter 'nonsense'; allowed: ")


@pytest.mark.parametrize("path", ["/jobs", "/jobs/batch", "/jobs/1/hold", "/groups/x/max-concurrency"])
async def test_unknown_parameters_of_posts_are_refused_too(house, path):
    sentence = await house.refused("POST", f"{path}?preview=1", house.request(), status=400, code="malformed")
    assert sentence.startswith("Unknown parameter 'preview'")
    assert house.engine.jobs == {}


# -- a disk that fails -----------------------------------------------------------------------------------------------


async def test_while_nothing_can_be_written_nothing_is_taken_and_everybody_is_told(tmp_path):
    disk = FaultyDisk()
    async with House(tmp_path, disk=disk) as house:
        running = await house.start()
        held = await house.submit(hold=True)
        house.persistence._grace_secs = 0.05
        disk.failing = {"write": errno.ENOSPC, "create": errno.ENOSPC}
        assert "No space left" in await house.refused("POST", "/jobs", house.request(), status=503, code="unavailable")
        jobs = dict(house.engine.jobs)
        for method, path, body in (
            ("POST", "/jobs", house.request()),
            ("POST", "/jobs/batch", [house.request()]),
            ("POST", f"/jobs/{held}/release", ...),
            ("POST", f"/jobs/{running}/cancel", ...),
            ("PATCH", f"/jobs/{held}", {"priority": 1}),
        ):
            sentence = await house.refused(method, path, body, status=503, code="unavailable")
            assert sentence == "The state cannot be written: No space left on device"
        assert house.engine.jobs == jobs, "nothing more is taken than the one that found out"
        health = await house.ask("GET", "/health", expect=503)
        assert health["status"] == "read_only"
        assert "No space left" in health["detail"]
        assert len(await house.get("/jobs")) == len(jobs), "looking is allowed"
        disk.failing = {}
        await eventually(lambda: house.persistence.healthy, "the recovery")
        await house.ask("POST", f"/jobs/{held}/release")
        assert (await house.get("/health"))["status"] == "ok"


async def test_a_job_that_ends_while_nothing_can_be_written_is_accounted_later(tmp_path):
    disk = FaultyDisk()
    async with House(tmp_path, disk=disk) as house:
        job_id = await house.start()
        house.persistence._grace_secs = 0.05
        disk.failing = {"write": errno.EIO, "create": errno.EIO}
        house.launcher.finish(job_id, 5)
        await eventually(lambda: house.persistence._unavailable, "the failure")
        assert ("discard", job_id) not in house.launcher.calls
        disk.failing = {}
        await eventually(lambda: ("discard", job_id) in house.launcher.calls, "the end")
        assert (await house.get(f"/jobs/{job_id}"))["exit_code"] == 5
