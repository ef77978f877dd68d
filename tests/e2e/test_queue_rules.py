"""Dependencies, arrays, retries, holds and begin times, through the real commands and the real queue."""

import json
import time
from pathlib import Path
from typing import Any

from support.daemon import Daemon, moment
from support.wait import until

TICK_SECS = 0.01
"""The kernel's clock for the start of a process: a start may read that much too early."""


def started(job: dict[str, Any]) -> float:
    """The latest moment the job may have started at, by its record."""
    return moment(job["started_at"]) + TICK_SECS


def most_at_once(jobs: list[dict[str, Any]]) -> int:
    """How many of these ran at the same moment."""
    edges = [(started(job), 1) for job in jobs] + [(moment(job["finished_at"]), -1) for job in jobs]
    running = most = 0
    for _, step in sorted(edges):
        running += step
        most = max(most, running)
    return most


def test_any_of_two_is_enough(shared: Daemon):
    first, second = shared.gbatch("false"), shared.gbatch("true")
    last = shared.gbatch("--depends-on-any", f"{first},{second}", "true")
    assert shared.wait_job(last)["state"] == "Finished"
    assert shared.states(first, second) == ["Failed", "Finished"]


def test_all_are_waited_for_and_one_failure_cancels(shared: Daemon):
    good, bad = shared.gbatch("--hold", "true"), shared.gbatch("--hold", "false")
    last = shared.gbatch("--depends-on-all", f"{good},{bad}", "true")
    patient = shared.gbatch("--depends-on-all", f"{good},{bad}", "--no-auto-cancel", "true")
    assert shared.cli("gjob", "release", str(good)).returncode == 0
    assert shared.wait_job(good)["state"] == "Finished"
    assert shared.states(last, patient) == ["Queued", "Queued"]
    assert shared.cli("gjob", "release", str(bad)).returncode == 0
    assert shared.wait_job(last)["reason"] == {"DependencyFailed": bad}
    assert shared.states(last, patient) == ["Cancelled", "Queued"]
    assert "It can never start" in shared.cli("gjob", "why", str(patient)).stdout
    assert shared.cli("gcancel", str(patient)).returncode == 0


def test_any_is_doomed_only_when_all_have_failed(shared: Daemon):
    first, second = shared.gbatch("--hold", "false"), shared.gbatch("--hold", "false")
    last = shared.gbatch("--depends-on-any", f"{first},{second}", "true")
    shared.cli("gjob", "release", str(first))
    assert shared.wait_job(first)["state"] == "Failed"
    assert shared.states(last) == ["Queued"]
    shared.cli("gjob", "release", str(second))
    assert shared.wait_job(last)["state"] == "Cancelled"


def test_latest_job_by_shorthand(shared: Daemon):
    first = shared.gbatch("--hold", "true")
    second = shared.gbatch("--depends-on", "@", "true")
    third = shared.gbatch("--depends-on", "@~1", "true")
    assert [shared.job(job_id)["depends_on_ids"] for job_id in (second, third)] == [[first], [first]]
    assert shared.cli("gcancel", str(first)).returncode == 0
    assert [job["state"] for job in shared.wait_jobs([second, third])] == ["Cancelled", "Cancelled"]


def test_a_dependency_that_does_not_exist_is_refused(shared: Daemon):
    refused = shared.cli("gbatch", "--depends-on", "999999", "true")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "gbatch: Dependency job 999999 does not exist\n"


def test_a_cycle_is_refused(shared: Daemon):
    first = shared.gbatch("--hold", "true")
    second = shared.gbatch("--depends-on", str(first), "true")
    refused = shared.cli("gjob", "update", str(first), "--depends-on", str(second))
    assert refused.returncode == 1
    assert "wait for itself" in refused.stderr
    assert shared.cli("gcancel", str(first)).returncode == 0


def test_a_cancel_cascades_through_held_dependents(shared: Daemon):
    first = shared.gbatch("--hold", "true")
    held = shared.gbatch("--hold", "--depends-on", str(first), "true")
    last = shared.gbatch("--depends-on", str(held), "true")
    free = shared.gbatch("--depends-on", str(last), "--no-auto-cancel", "true")
    preview = shared.cli("gcancel", "--dry-run", str(first))
    assert preview.stdout == (
        f"{first}\tHold\tok\n{held}\tHold\tblocked\t{first}\n{last}\tQueued\tblocked\t{held}\n"
        f"{free}\tQueued\tblocked\t{last}\n"  # it stays, and waits in vain
    )
    assert shared.states(first, held, last) == ["Hold", "Hold", "Queued"]
    assert shared.cli("gcancel", str(first)).returncode == 0
    assert shared.states(first, held, last, free) == ["Cancelled", "Cancelled", "Cancelled", "Queued"]
    assert [shared.job(job_id)["reason"] for job_id in (held, last)] == [
        {"DependencyFailed": first},
        {"DependencyFailed": held},
    ]
    assert shared.cli("gcancel", str(free)).returncode == 0


def test_an_array_never_exceeds_its_limit(shared: Daemon):
    done = shared.cli(
        "gbatch",
        *("--parsable", "--array", "1-10", "--max-concurrent", "3"),
        *("sh", "-c", 'sleep 0.2; echo "$GFLOW_ARRAY_TASK_ID $0"', "$GFLOW_ARRAY_TASK_ID"),
    )
    assert done.returncode == 0, done.stderr
    ids = [int(line) for line in done.stdout.split()]
    jobs = shared.wait_jobs(ids)
    assert [job["state"] for job in jobs] == ["Finished"] * 10
    assert [shared.log(job_id).decode() for job_id in ids] == [f"{task} {task}\n" for task in range(1, 11)]
    assert [job["task_id"] for job in jobs] == list(range(1, 11))
    assert most_at_once(jobs) == 3
    starts = [started(job) for job in jobs]
    assert starts.index(max(starts)) >= 7


def test_raising_the_limit_of_an_array_starts_more_at_once(shared: Daemon):
    ids = shared.submit_all([{"command": "sleep 60"}] * 3, max_concurrent=1)
    until(lambda: shared.states(*ids) == ["Running", "Queued", "Queued"], "the first of the group")
    assert shared.cli("gctl", "set-limit", str(ids[0]), "2").returncode == 0
    until(lambda: shared.states(*ids) == ["Running", "Running", "Queued"], "the second of the group")
    assert shared.cli("gcancel", f"{ids[0]}-{ids[-1]}").returncode == 0
    assert {job["state"] for job in shared.wait_jobs(ids)} == {"Cancelled"}


def test_a_retry_succeeds_and_the_dependent_follows_it(shared: Daemon, tmp_path: Path):
    script = "echo $GFLOW_RESTART_COUNT >>tries; [ $GFLOW_RESTART_COUNT = 1 ] || exit 7"
    first = shared.gbatch("--hold", "--max-retries", "2", "--name", "again", script, cwd=tmp_path)
    dependent = shared.gbatch("--depends-on", str(first), "cat", "tries", cwd=tmp_path)
    assert shared.cli("gjob", "release", str(first)).returncode == 0
    assert shared.wait_job(dependent)["state"] == "Finished"
    assert shared.log(dependent) == b"0\n1\n"
    failed = shared.job(first)
    second = shared.job(failed["retried_as"])
    assert (failed["state"], failed["exit_code"]) == ("Failed", 7)
    assert (second["state"], second["retried_from"], second["restart_count"]) == ("Finished", first, 1)
    assert second["run_name"] == "again"
    assert shared.job(dependent)["depends_on_ids"] == [second["id"]]
    assert shared.get(f"/jobs/{first}/wait?retries=1")["id"] == second["id"]


def test_retries_end(shared: Daemon):
    first = shared.gbatch("--max-retries", "1", "exit 9")
    dependent = shared.gbatch("--depends-on", str(first), "true")
    assert shared.wait_job(dependent)["state"] == "Cancelled"
    last = shared.get(f"/jobs/{first}/wait?retries=1")
    assert (last["restart_count"], last["exit_code"], last["retried_as"]) == (1, 9, None)


def test_hold_and_release(shared: Daemon):
    job_id = shared.gbatch("--begin", "now+1h", "true")
    assert shared.cli("gjob", "hold", str(job_id)).returncode == 0
    assert (shared.job(job_id)["state"], shared.job(job_id)["reason"]) == ("Hold", "JobHeldUser")
    assert shared.cli("gjob", "hold", str(job_id)).returncode == 1
    at = time.time() + 1.0
    assert shared.http("POST", f"/jobs/{job_id}/release?at={at}").status == 200
    assert (shared.job(job_id)["state"], shared.job(job_id)["reason"]) == ("Queued", "WaitingForStartTime")
    job = shared.wait_job(job_id)
    assert 0 <= started(job) - at < 1


def test_a_begin_time_is_kept(shared: Daemon):
    before = time.time()
    job_id = shared.gbatch("--begin", "now+3s", "true")
    assert "(BeginTime)" in shared.cli("gqueue", "-j", str(job_id)).stdout
    job = shared.wait_job(job_id)
    assert before + 1 <= started(job) < time.time() + TICK_SECS
    assert 0 <= started(job) - moment(job["scheduled_at"]) < 1


def test_a_time_of_the_queue_can_be_given_back_in_any_zone(shared: Daemon):
    zone = {"TZ": "Asia/Kathmandu"}
    job_id = str(shared.gbatch("--begin", "2030-11-28T09:00:20", "true", **zone))
    columns = ("-j", job_id, "-f", "START,REASON")
    shown = shared.cli("gqueue", *columns, **zone).stdout.splitlines()[1].split()
    assert shown == ["2030-11-28T09:00:20", "Not", "before", "2030-11-28T09:00:20"]
    assert shared.cli("gqueue", *columns, TZ="UTC").stdout.splitlines()[1].split()[0] == "2030-11-28T03:15:20"
    (job,) = json.loads(shared.cli("gqueue", *columns, "-o", "json").stdout)["jobs"]
    assert job["expected_start"] == "2030-11-28T03:15:20Z"
    assert "before 2030-11-28 09:00:20, in" in shared.cli("gjob", "why", job_id, **zone).stdout
    assert shared.cli("gcancel", job_id).returncode == 0


def test_a_past_begin_time_is_refused(shared: Daemon):
    refused = shared.cli("gbatch", "--begin", "2020-01-01", "true")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "past" in refused.stderr


def test_gpus_are_never_shared_by_exclusive_jobs(shared: Daemon):
    ids = shared.submit_all([{"command": 'sleep 0.3; echo "$CUDA_VISIBLE_DEVICES"'}] * 4, gpus=1)
    both = shared.gbatch("--gpus", "2", "--priority", "1", "echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER")
    jobs = shared.wait_jobs(ids)
    assert most_at_once(jobs) == 2
    assert sorted(job["gpu_ids"] for job in jobs) == [[0], [0], [1], [1]]
    assert [shared.log(job["id"]).decode().strip() for job in jobs] == [str(job["gpu_ids"][0]) for job in jobs]
    assert shared.wait_job(both)["gpu_ids"] == [0, 1]
    assert shared.log(both) == b"0,1 PCI_BUS_ID\n"
    assert most_at_once([*jobs, shared.job(both)]) == 2
    refused = shared.cli("gbatch", "--gpus", "3", "true")
    assert (refused.returncode, "this machine has 2" in refused.stderr) == (1, True)


def test_priority_decides_who_is_next(daemon: Daemon):
    order = {"max_concurrent": 1, "group_id": "8f14e45f-ceea-467f-a0e6-1b0b1c1d2e3f", "hold": True}
    wishes = [{"priority": 5}, {"priority": 200}, {"priority": 200, "time_limit": 60}, {"priority": 5}]
    ids = daemon.submit_all([{"command": "true", **order, **wish} for wish in wishes])
    first = daemon.submit("sleep 60", **{**order, "hold": False, "priority": 0})
    daemon.wait_running(first)
    for job_id in ids:
        assert daemon.http("POST", f"/jobs/{job_id}/release").status == 200
    assert daemon.cli("gcancel", str(first)).returncode == 0
    jobs = daemon.wait_jobs(ids)
    in_order = sorted(jobs, key=lambda job: moment(job["finished_at"]))
    assert [job["id"] for job in in_order] == [ids[2], ids[1], ids[0], ids[3]]
