"""Jobs that ended long ago: found wherever a job is, and never changed."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from gflow.api import jobs as jobs_api
from gflow.core.days import day_of
from gflow.core.model import GpuStatus, JobId, State
from gflow.core.outcome import Outcome
from gflow.store.history import KEPT, NAME
from support.desk import eventually
from support.house import House


@pytest.fixture
async def past(house):
    """1 finished, 2 failed and was retried as 3, which finished; all of them have left. 4 is at hand."""
    house.write_log(1, b"epoch 1\nepoch 2\n")
    await house.end(await house.start(run_name="first", project="p", gpus=2), 0)
    await house.start(run_name="second", max_retries=1)
    await house.end(2, 7)
    await eventually(lambda: house.engine.job(3).started_boot is not None, "the second attempt")
    await house.end(3, 0)
    await house.submit(hold=True)
    await house.retire(1, 2, 3)
    return house


async def test_a_job_looks_as_before(house):
    await house.end(await house.start(run_name="x", gpus=1), 3)
    before = await house.get("/jobs/1")
    await house.retire(1)
    assert await house.get("/jobs/1") == before
    assert (await house.get("/jobs/1/wait")) == before


async def test_why(past):
    assert (await past.get("/jobs/2/why"))["reasons"][0]["text"] == (
        "It is Failed: exit code 7. Job 3 is the next attempt."
    )


async def test_wait_follows_its_attempts(past):
    assert (await past.get("/jobs/2/wait?retries=1"))["id"] == 3


async def test_its_log(past):
    assert (await past.get("/jobs/1/log")).endswith("/logs/1.log")
    assert (await past.get("/jobs/1/log/content?tail=1"))["content"] == "epoch 2\n"
    for follow in (0, 1):
        answer = await past.client.get(f"/jobs/1/log/stream?follow={follow}")
        assert answer.content == b"epoch 1\nepoch 2\n"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [1, 2, 3, 4]),
        ("order=desc", [4, 3, 2, 1]),
        ("limit=2", [1, 2]),
        ("limit=2&offset=1", [2, 3]),
        ("order=desc&limit=2", [4, 3]),
        ("limit=2&offset=3", [4]),
        ("offset=9", []),
        ("state=Failed", [2]),
        ("state=Hold,CD", [1, 3, 4]),
        ("state=Queued", []),
        ("ids=2-4", [2, 3, 4]),
        ("ids=1-9&state=CD", [1, 3]),
        ("ids=1-9&order=desc", [4, 3, 2, 1]),
        ("name=second", [2, 3]),
        ("project=p", [1]),
        ("user=nobody-such", []),
        ("created_after=1", [1, 2, 3, 4]),
        ("created_after=99999999999", []),
    ],
)
async def test_lists(past, query, ids):
    assert [job["id"] for job in await past.get(f"/jobs?{query}")] == ids


async def test_the_moment_itself_is_not_after_it(past):
    job = await past.get("/jobs/1")
    submitted_at = job["submitted_at"]["secs_since_epoch"] + job["submitted_at"]["nanos_since_epoch"] / 1e9
    assert 1 not in [job["id"] for job in await past.get(f"/jobs?created_after={submitted_at + 1e-6}")]


@pytest.mark.parametrize("whole", [100, jobs_api.WHOLE], ids=["streamed", "at once"])
async def test_more_than_a_page(house, monkeypatch, whole):
    """Jobs at hand lie before, between and after those in the history."""
    monkeypatch.setattr(jobs_api, "WHOLE", whole)
    await house.end(await house.start(), 0)
    job = house.engine.job(1)
    house.history.add([replace(job, id=JobId(number)) for number in range(2, 1500) if number != 700])
    for number in (700, 1500):
        house.engine.next_job_id = JobId(number)
        assert await house.submit(hold=True) == number
    everything = list(range(1, 1501))
    assert [job["id"] for job in await house.get("/jobs")] == everything
    assert [job["id"] for job in await house.get("/jobs?order=desc")] == everything[::-1]
    assert [job["id"] for job in await house.get("/jobs?order=desc&limit=700")] == everything[:-701:-1]
    assert [job["id"] for job in await house.get("/jobs?offset=600&limit=600")] == everything[600:1200]
    for limit in (jobs_api.CHUNK, jobs_api.CHUNK + 1, 2 * jobs_api.CHUNK):
        assert [job["id"] for job in await house.get(f"/jobs?limit={limit}")] == everything[:limit]
    answer = await house.client.get("/queue?columns=JOBID&states=all")
    assert (answer.text.split(), answer.headers["x-total"]) == ([str(number) for number in everything], "1500")
    answer = await house.client.get("/queue?columns=JOBID&states=all&limit=-3")
    assert (answer.text, answer.headers["x-total"]) == ("1498\n1499\n1500\n", "1500")
    assert (await house.get("/stats"))["total_jobs"] == 1500


def look(house, **status):
    """A probe saw this on every GPU."""
    gpus = tuple(house.engine.resources.gpus.values())
    seen = {gpu.index: GpuStatus(**status) for gpu in gpus}
    house.runtime.commit(house.engine.observe_gpus(gpus, seen, house.runtime.clock()))


async def test_what_a_running_job_was_seen_to_use_counts_at_once(house):
    await house.start(gpus=1)
    await house.start(gpus=1)
    look(house, utilisation_pct=60)
    told = await house.get("/stats")
    assert (told["measured_jobs"], told["mean_gpu_utilisation_pct"]) == (2, pytest.approx(60))


async def test_usage_is_the_same_as_before(house):
    for code in (0, 1, 0):
        job_id = await house.start(gpus=1)
        look(house, utilisation_pct=10 * job_id)
        await house.end(job_id, code)
    await house.submit(hold=True)
    before = await house.get("/stats")
    mean = before.pop("mean_gpu_utilisation_pct")
    assert (before["measured_jobs"], 10 <= mean <= 30) == (3, True)
    await house.retire(1, 2)
    for user in (None, "root"):
        after = await house.get("/stats" + (f"?user={user}" if user else ""))
        assert after.pop("mean_gpu_utilisation_pct") == pytest.approx(mean)
        assert after == {**before, "user": user}
    assert (await house.get("/stats?user=nobody-such"))["total_jobs"] == 0


async def test_figures_of_users_projects_and_days_come_from_both_places(house):
    await house.end(await house.start(gpus=1, project="p"), 0)
    await house.end(await house.start(project="p"), 1)
    await house.end(await house.start(), 0)
    await house.submit(hold=True)
    await house.retire(1, 3)
    counts = ("total_jobs", "completed_jobs", "failed_jobs", "queued_jobs")
    for by, expected in (
        ("user", {"root": (4, 2, 1, 1)}),
        ("project", {"-": (2, 1, 0, 1), "p": (2, 1, 1, 0)}),
        ("day", {day_of(house.runtime.clock().wall): (4, 2, 1, 1)}),
    ):
        told = await house.get(f"/stats?by={by}")
        assert told["by"] == by
        assert {row[by]: tuple(row[count] for count in counts) for row in told["rows"]} == expected
    assert [row["total_jobs"] for row in (await house.get("/stats?by=user&project=p"))["rows"]] == [2]
    assert (await house.get("/stats?by=user&user=nobody-such"))["rows"] == []
    assert (await house.get("/stats?by=day&since=99999999999"))["rows"] == []
    assert "allowed: user, project, day" in await house.refused("GET", "/stats?by=x", status=400, code="malformed")


CHANGES = [
    ("POST", "/jobs/1/hold", ...),
    ("POST", "/jobs/1/release", ...),
    ("POST", "/jobs/1/cancel", ...),
    ("POST", "/jobs/1/cancel?dry_run=1", ...),
    ("POST", "/jobs/1/finish", ...),
    ("POST", "/jobs/1/fail", ...),
    ("PATCH", "/jobs/1", {"priority": 5}),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_it_cannot_be_changed(past, method, path, body):
    says = await past.refused(method, path, body, status=409, code="wrong_state")
    assert says == "Job 1 is Finished and cannot be changed any more"


async def test_nobody_else_learns_more_than_of_any_job(past):
    await past.come_as(12345)
    await past.refused("POST", "/jobs/1/cancel", status=403, code="forbidden")
    await past.refused("GET", "/jobs/1/attach", status=403, code="forbidden")


async def test_a_terminal_is_gone(past):
    await past.refused("GET", "/jobs/1/attach", status=409, code="wrong_state")


async def test_new_jobs_can_depend_on_it(past):
    dependent = await past.start(depends_on_ids=[1, 2], dependency_mode="All")
    assert dependent == 5
    assert past.engine.job(5).spec.depends_on == (1, 3), "on the attempt that stands for job 2"
    assert past.engine.jobs.keys() >= {1, 2, 3}
    assert [job["id"] for job in await past.get("/jobs")] == [1, 2, 3, 4, 5]
    answer = await past.client.get("/queue?columns=JOBID&states=all&limit=2")
    assert (answer.text, answer.headers["x-total"]) == ("1\n2\n", "5")
    assert (await past.get("/stats"))["total_jobs"] == 5


async def test_a_held_job_can_come_to_depend_on_it(past):
    await past.ask("PATCH", "/jobs/4", {"depends_on_ids": [2]})
    assert past.engine.job(4).spec.depends_on == (3,)


async def test_what_came_back_survives_a_restart(past, tmp_path):
    await past.submit(depends_on=1, hold=True)
    past.terminate()
    await past.ended.wait()
    async with House(tmp_path, past.launcher, simulated_gpus=4) as again:
        assert sorted(again.engine.jobs) == [1, 4, 5]
        assert again.engine.jobs[JobId(1)].state is State.FINISHED
        assert [job["id"] for job in await again.get("/jobs")] == [1, 2, 3, 4, 5]
        assert await again.submit() == 6


@pytest.mark.parametrize(("shorthand", "job_id"), [("@", 4), ("@~1", 3), ("@~2", 1)])
async def test_shorthands_count_it(past, shorthand, job_id):
    assert (await past.get(f"/jobs/resolve-dependency?shorthand={shorthand}"))["job_id"] == job_id


async def test_a_shorthand_beyond_all_of_them(past):
    says = await past.refused("GET", "/jobs/resolve-dependency?shorthand=@~3", status=400, code="malformed")
    assert says.startswith("'@~3' stands for no job of ")


async def test_a_history_that_cannot_be_read_is_said_to_be(past):
    past.history.close()
    (past.data_dir / NAME).write_bytes(b"\x81" * 5000)
    for path in ("/jobs", "/jobs/1", "/queue?columns=JOBID&states=all", "/stats", "/jobs/1/log"):
        says = await past.refused("GET", path, status=503, code="unavailable")
        assert says.startswith("The history of ended jobs cannot be used: ")
    assert [job["id"] for job in await past.get("/jobs?state=Hold")] == [4]
    assert await past.start() == 5, "everything else goes on"


async def test_one_record_that_has_rotted_does_not_hide_the_others(past, caplog):
    past.history.close()
    with closing(sqlite3.connect(past.data_dir / NAME)) as database, database:
        database.execute("UPDATE job SET gpus = 9 WHERE id = 2")
    for path in ("/queue?columns=JOBID&states=all", "/queue?columns=JOBID&states=all&limit=9"):
        answer = await past.client.get(path)
        assert (answer.text.split(), answer.headers["x-unreadable"]) == (["1", "3", "4"], "1")
    assert [job["id"] for job in await past.get("/jobs")] == [1, 3, 4]
    assert caplog.text.count("the record of job 2 in the history cannot be read") == 1
    says = await past.refused("GET", "/jobs/2", status=503, code="unavailable")
    assert "the record of job 2 has changed since it was written" in says


async def test_a_history_that_was_lost_is_noticed_at_the_next_start(past, tmp_path, caplog):
    past.runtime.commit(Outcome(settings={KEPT: past.history.count()}))
    past.terminate()
    await past.ended.wait()
    (past.data_dir / NAME).unlink()
    says = f"{NAME}: has 0 of at least 3 jobs: it was lost, or put back from an earlier day"
    async with House(tmp_path, past.launcher, simulated_gpus=4) as again:
        health = await again.get("/health")
        assert health["status"] == "ok"
        assert health["detail"].endswith(says)
    assert says in caplog.text


async def test_what_was_pruned_is_not_missed(past, tmp_path):
    past.runtime.commit(Outcome(settings={KEPT: past.history.count()}))
    await past.ask("POST", "/state/prune", {"before": past.runtime.clock().wall})
    past.terminate()
    await past.ended.wait()
    async with House(tmp_path, past.launcher, simulated_gpus=4) as again:
        assert await again.get("/health") == {"status": "ok", "pid": os.getpid()}
