"""What is asked about running jobs: progress, processes, terminals."""

import pytest
import trio

from gflow.api import gauge
from support.hanging import hanging

BAR = b"\r 45%|####  | 45/100 [00:10<00:12,  4.50it/s]"


@pytest.fixture
async def two(house, tmp_path):
    """Two running jobs and one that waits; the first has drawn a bar."""
    house.launcher.progress_dir = tmp_path / "progress"
    house.launcher.progress_dir.mkdir()
    jobs = [await house.start(), await house.start(), await house.submit(hold=True)]
    house.write_log(jobs[0], BAR)
    return jobs


async def test_how_far_running_jobs_are(house, two, monkeypatch):
    monkeypatch.setattr(gauge, "FRESH_SECS", 0.0)
    (told,) = await house.get("/progress")
    assert (told["id"], told["percent"], told["told_by"]) == (two[0], 45, "terminal")
    assert told["left_secs"] <= 12.0
    assert told["expected_end"] is not None
    (house.launcher.progress_dir / str(two[1])).write_text("3/4 epoch 3")
    _, second = await house.get("/progress")
    assert (second["id"], second["percent"], second["note"]) == (two[1], 75, "epoch 3")
    assert [job["id"] for job in await house.get(f"/progress?ids={two[1]},99")] == [two[1]]
    await house.end(two[1])
    assert [job["id"] for job in await house.get("/progress")] == [two[0]]


async def test_files_are_looked_at_once_a_second_however_many_ask(house, two, monkeypatch):
    looks = []
    real = gauge.read_progress
    monkeypatch.setattr(gauge, "read_progress", lambda log, file: looks.append(log) or real(log, file))
    monkeypatch.setattr(gauge, "FRESH_SECS", 3600.0)
    for _ in range(3):
        rows = (await house.client.get("/queue?columns=JOBID,PROGRESS")).text.splitlines()
    assert len(looks) == 2, "the running ones, once"
    assert rows[0].startswith(f"{two[0]}\x1f45% ~00:00:1")
    assert rows[1:] == [f"{two[1]}\x1f-", f"{two[2]}\x1f-"]


async def test_a_list_without_progress_looks_at_no_file(house, two, monkeypatch):
    def look(*_places):
        raise AssertionError

    monkeypatch.setattr(gauge, "read_progress", look)
    assert (await house.client.get("/queue?columns=JOBID,TIME")).status_code == 200
    assert len(await house.get("/jobs")) == 3


async def test_the_processes_of_a_running_job(house):
    job_id = await house.start(gpus=1, run_name="train")
    house.launcher.enter(700, job_id)
    house.launcher.enter(800)
    answer = await house.get(f"/jobs/{job_id}/processes")
    assert (answer["id"], answer["name"]) == (job_id, "train")
    (process,) = answer["processes"]
    assert (process["pid"], process["command"], process["cpu_secs"]) == (700, "program 700", 7.0)
    assert [gpu["index"] for gpu in answer["gpus"]] == [0]
    await house.end(job_id)
    sentence = await house.refused("GET", f"/jobs/{job_id}/processes", status=409, code="wrong_state")
    assert sentence == f"Job {job_id} is Finished, so no process of it runs"


async def test_terminals_of_ended_jobs_are_closed_and_no_others(house):
    running, ended = await house.start(run_name="a"), await house.start(run_name="b", keep_session=True)
    await house.end(ended)
    house.launcher.kept.add(ended)
    terminals = await house.get("/terminals")
    assert [(job["id"], job["name"], job["state"]) for job in terminals] == [
        (running, "a", "Running"),
        (ended, "b", "Finished"),
    ]
    assert terminals[1]["session"] == f"gjob-{ended}"
    assert (await house.ask("DELETE", f"/jobs/{ended}/terminal"))["closed"] is True
    assert (await house.ask("DELETE", f"/jobs/{ended}/terminal"))["closed"] is False
    sentence = await house.refused("DELETE", f"/jobs/{running}/terminal", status=409, code="wrong_state")
    assert sentence == f"Job {running} is Running: its terminal is in use; gcancel {running} ends it"
    await house.come_as(20002)
    await house.refused("DELETE", f"/jobs/{ended}/terminal", status=403, code="forbidden")


async def test_jobs_of_a_group_are_found_also_those_of_the_past(house):
    for group_id in ("a", "b", "a"):
        await house.end(await house.start(group_id=group_id))
    await house.retire(1, 2)
    assert [job["id"] for job in await house.get("/jobs?group=a")] == [1, 3]
    answer = await house.client.get("/queue?columns=JOBID&states=all&group=a&limit=1")
    assert (answer.text, answer.headers["x-total"]) == ("1\n", "2")


async def test_files_that_hang_keep_nobody_waiting_for_long(house, two, monkeypatch):
    (told,) = await house.get("/progress")
    monkeypatch.setattr(gauge, "FRESH_SECS", 0.0)
    monkeypatch.setattr(gauge, "MOST_SECS", 0.05)
    with hanging() as read:
        monkeypatch.setattr(gauge, "read_progress", read)
        with trio.fail_after(20):
            (again,) = await house.get("/progress")
    assert (again["id"], again["percent"]) == (told["id"], told["percent"]), "as it was"
