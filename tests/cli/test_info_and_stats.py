"""ginfo, gctl and gstats."""

import csv
import io
import json

import pytest

from gflow.cli.gctl import COMMAND as GCTL
from gflow.cli.ginfo import COMMAND as GINFO
from gflow.cli.gstats import COMMAND as GSTATS
from support.fake_daemon import reply


def gpu(index, *jobs, available=True, reason=None, simulated=False):
    return {
        "uuid": f"GPU-{index}",
        "index": index,
        "available": available,
        "reason": reason,
        "jobs": list(jobs),
        "simulated": simulated,
    }


def info(daemon, *gpus, allowed=None):
    daemon.on("GET", "/info", reply({"gpus": list(gpus), "allowed_gpu_indices": allowed, "executor": "tmux"}))


def test_idle_gpus_first_then_holders_by_lowest_index(run, daemon):
    info(
        daemon,
        gpu(3),
        gpu(0, 7, available=False),
        gpu(2, 7, available=False),
        gpu(1, available=False, reason="unmanaged(pid=9)"),
        gpu(4),
    )
    daemon.on("GET", "/jobs", reply([{"id": 7, "run_name": "train"}]))
    assert run(GINFO).out == (
        " PARTITION   GPUS   NODES   STATE         JOB(REASON)\n"
        " gpu         2      3,4     idle\n"
        " gpu         2      0,2     allocated     7 (train)\n"
        " gpu         1      1       unavailable   (unmanaged(pid=9))\n"
    )


def test_every_holder_of_a_shared_gpu_is_listed(run, daemon):
    info(daemon, gpu(0, 7, 8, available=True))
    daemon.on("GET", "/jobs", reply([{"id": 7, "run_name": "a"}, {"id": 8, "run_name": "b"}]))
    assert run(GINFO).out.splitlines()[1] == " gpu         1      0       allocated   7 (a), 8 (b)"
    assert daemon.asked[1].query == {"ids": "7,8"}


def test_simulated_gpus_are_marked_and_kept_apart(run, daemon):
    info(daemon, gpu(0), gpu(1, simulated=True))
    assert [line.split("  ")[0].strip() for line in run(GINFO).out.splitlines()[1:]] == ["gpu", "gpu (simulated)"]


def test_no_gpus_is_said(run, daemon):
    info(daemon)
    done = run(GINFO)
    assert (done.status, done.out) == (0, "No GPUs on this machine; jobs without GPUs run as usual.\n")


def test_info_as_data(run, daemon):
    info(daemon)
    assert json.loads(run(GINFO, "-o", "json").out)["gpus"] == []


def test_show_gpus_is_a_tab_separated_line_each(run, daemon):
    info(daemon, gpu(0), gpu(1, available=False, reason="unmanaged(pid=9)"), gpu(2, simulated=True), allowed=[0, 2])
    assert (
        run(GCTL, "show-gpus").out == "0\tavailable\n1\tin_use\trestricted\tunmanaged(pid=9)\n2\tavailable\tsimulated\n"
    )


def test_set_limit_of_the_group_of_a_job(run, daemon):
    daemon.on("GET", "/jobs/42", reply({"id": 42, "group_id": "g-1"}))
    daemon.on("POST", "/groups/g-1/max-concurrency", reply({"group_id": "g-1", "max_concurrent": 3, "updated_jobs": 5}))
    line = "Updated max_concurrency to 3 for group 'g-1' (5 jobs affected)\n"
    assert run(GCTL, "set-limit", "42", "3").out == line
    assert run(GCTL, "set-limit", "g-1", "3").out == line
    assert daemon.asked[-1].json == {"max_concurrent": 3}


def test_set_limit_of_a_job_without_group_fails(run, daemon):
    daemon.on("GET", "/jobs/42", reply({"id": 42, "group_id": None}))
    done = run(GCTL, "set-limit", "42", "3")
    assert done.status == 1
    assert "belongs to no group" in done.err


@pytest.mark.parametrize("argv", [["set-limit", "42", "0"], ["set-limit", "42"], ["set-limit", "42", "x"]])
def test_wrong_limits_are_refused(run, daemon, argv):
    assert run(GCTL, *argv).status == 2
    assert daemon.asked == []


STATS = {
    "user": "ann",
    "since": None,
    "total_jobs": 10,
    "completed_jobs": 6,
    "failed_jobs": 1,
    "cancelled_jobs": 1,
    "timeout_jobs": 0,
    "running_jobs": 1,
    "queued_jobs": 1,
    "avg_wait_secs": 61.26,
    "avg_runtime_secs": None,
    "total_gpu_hours": 1.234,
    "jobs_with_gpus": 4,
    "avg_gpus_per_job": 0.5,
    "peak_gpu_usage": 2,
    "success_rate": 75.0,
    "top_jobs": [{"id": 3, "name": "long", "runtime_secs": 90061.0, "gpus": 2}],
}


@pytest.fixture
def stats(daemon, monkeypatch):
    """Statistics for a caller whom the system calls ann, whatever $USER says."""
    import pwd
    from types import SimpleNamespace

    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="ann"))
    daemon.on("GET", "/stats", reply(STATS))
    return daemon


@pytest.mark.parametrize(
    ("argv", "query"),
    [
        ([], {"user": "ann"}),
        (["-u", "bob"], {"user": "bob"}),
        (["-u", "all"], {}),
        (["-a"], {}),
        (["-a", "-t", "1800000000"], {"since": "1800000000"}),
    ],
)
def test_whose_statistics(run, stats, argv, query):
    assert run(GSTATS, *argv).status == 0
    assert stats.asked[0].query == query


def test_the_sections_of_the_statistics(run, stats):
    lines = run(GSTATS).out.splitlines()
    assert lines[0] == "Usage statistics: ann"
    assert [line for line in lines if line and line[0] != " "][1:] == [
        "Job Status",
        "Efficiency",
        "GPU Usage",
        "Top Jobs by Runtime",
    ]
    for line in (
        "  Completed:       6 (75%)",
        "  Success rate:    75.0%",
        "  Average wait:    00:01:01",
        "  Average runtime: -",
    ):
        assert line in lines
    assert " 3       long   1-01:01:01   2" in lines


def test_statistics_as_csv_and_json(run, stats):
    rows = dict(csv.reader(io.StringIO(run(GSTATS, "-o", "csv").out)))
    assert rows["metric"] == "value"
    assert (rows["avg_wait_secs"], rows["avg_runtime_secs"], rows["total_gpu_hours"]) == ("61.3", "", "1.23")
    assert json.loads(run(GSTATS, "-o", "json").out) == STATS


def test_statistics_of_nothing(run, stats):
    nothing = {name: 0 if isinstance(value, int | float) else None for name, value in STATS.items()}
    stats.on("GET", "/stats", reply(nothing | {"user": None, "top_jobs": []}))
    done = run(GSTATS, "-a")
    assert done.status == 0
    assert "Usage statistics: all users" in done.out
    assert "Top Jobs" not in done.out
