"""Usage figures."""

from dataclasses import replace

import pytest

from gflow.core.model import GpuUse, Now, State
from gflow.core.selection import Selection
from gflow.core.usage import usage_of
from gflow.wire.stats import usage_json
from support.ledger import make_job

NOW = Now(1_700_100_000.0, 20_000.0)


def usage(jobs, now, *, user, since):
    chosen = Selection(owners=None if user is None else frozenset({user}), since=since).of(jobs)
    return usage_json(usage_of(chosen, now), user=user, since=since)


def ran(job_id, state, secs, *, waited=10.0, gpus=0, owner="ada"):
    """A job that waited and then ran."""
    job = make_job(job_id, state=state, gpus=gpus, owner=owner)
    start = job.submitted_at + waited
    return replace(job, started_at=start, finished_at=start + secs, gpu_ids=tuple(range(gpus)))


JOBS = [
    ran(1, State.FINISHED, 3600.0, gpus=2),
    ran(2, State.FAILED, 100.0, waited=30.0),
    ran(3, State.TIMEOUT, 200.0, gpus=1),
    ran(4, State.FINISHED, 50.0, owner="ben"),
    make_job(5),
    make_job(6, state=State.HOLD),
    make_job(7, state=State.CANCELLED),
]


def test_figures():
    found = usage(JOBS, NOW, user=None, since=None)
    assert found.pop("top_jobs") == [
        {"id": 1, "name": "calm-otter-0001", "runtime_secs": 3600.0, "gpus": 2},
        {"id": 3, "name": "calm-otter-0003", "runtime_secs": 200.0, "gpus": 1},
        {"id": 2, "name": "calm-otter-0002", "runtime_secs": 100.0, "gpus": 0},
        {"id": 4, "name": "calm-otter-0004", "runtime_secs": 50.0, "gpus": 0},
    ]
    assert found == {
        "user": None,
        "since": None,
        "total_jobs": 7,
        "completed_jobs": 2,
        "failed_jobs": 1,
        "cancelled_jobs": 1,
        "timeout_jobs": 1,
        "running_jobs": 0,
        "queued_jobs": 2,
        "avg_wait_secs": 15.0,
        "avg_runtime_secs": 987.5,
        "total_gpu_hours": pytest.approx(2 + 200 / 3600),
        "total_run_hours": pytest.approx(3950 / 3600),
        "jobs_with_gpus": 2,
        "avg_gpus_per_job": pytest.approx(3 / 7),
        "peak_gpu_usage": 2,
        "success_rate": 50.0,
        "measured_jobs": 0,
        "mean_gpu_utilisation_pct": None,
    }


def test_how_busy_gpus_were_counts_by_the_time_they_were_held():
    long, short = ran(1, State.FINISHED, 3000.0, gpus=2), ran(2, State.FAILED, 1000.0, gpus=1)
    unmeasured = ran(3, State.FINISHED, 9999.0, gpus=4)
    jobs = [
        replace(long, gpu_use=GpuUse(samples=9, mean_pct=90.0)),
        replace(short, gpu_use=GpuUse(samples=1, mean_pct=20.0)),
        replace(unmeasured, gpu_use=GpuUse(samples=2)),
    ]
    found = usage(jobs, NOW, user=None, since=None)
    assert found["measured_jobs"] == 2
    assert found["mean_gpu_utilisation_pct"] == pytest.approx((6000 * 90 + 1000 * 20) / 7000)


def test_of_one_user_and_since_a_moment():
    assert usage(JOBS, NOW, user="ben", since=None)["total_jobs"] == 1
    assert usage(JOBS, NOW, user=None, since=JOBS[4].submitted_at)["total_jobs"] == 3
    assert usage(JOBS, NOW, user="ben", since=JOBS[4].submitted_at)["total_jobs"] == 0


def test_of_nothing():
    found = usage([], NOW, user="ada", since=1.0)
    assert (found["user"], found["since"], found["top_jobs"], found["success_rate"]) == ("ada", 1.0, [], 0.0)
    assert (found["avg_wait_secs"], found["avg_runtime_secs"]) == (None, None)


def test_a_running_job_counts_as_long_as_it_has_run():
    job = replace(make_job(1, state=State.RUNNING), started_at=1.0, started_boot=NOW.boot - 60, gpu_ids=(0, 1))
    found = usage([job], NOW, user=None, since=None)
    assert (found["running_jobs"], found["avg_runtime_secs"]) == (1, 60.0)
    assert found["total_gpu_hours"] == pytest.approx(120 / 3600)


def test_at_most_five_are_named():
    jobs = [ran(number, State.FINISHED, float(number)) for number in range(1, 20)]
    assert [job["id"] for job in usage(jobs, NOW, user=None, since=None)["top_jobs"]] == [19, 18, 17, 16, 15]
