"""Groups by name, cells and holds over HTTP: one step decides, whoever else submits at the same time."""

import json
import pwd

import pytest
import trio

from gflow.core.groups import id_of
from gflow.core.model import State


def batch(house, *keys, **fields):
    return {"defaults": house.request(group="lr", **fields), "jobs": [{"key": key} for key in keys]}


async def submit(house, *keys, **fields):
    """The receipts of a batch."""
    return await house.ask("POST", "/jobs/batch", batch(house, *keys, **fields), 201)


async def test_a_group_has_a_name_of_its_owners_and_an_id_clients_of_gflow_can_read(house):
    job_id = await house.submit(group="lr", key="a", hold_after_failures=3, hold=True)
    job = await house.get(f"/jobs/{job_id}")
    assert (job["group"], job["key"], job["hold_after_failures"], job["after_end"]) == ("lr", "a", 3, False)
    assert job["group_id"] == id_of(job["submitted_by"], "lr")
    plain = await house.get(f"/jobs/{await house.submit(hold=True)}")
    assert [plain[field] for field in ("group", "group_id", "key", "hold_after_failures")] == [None] * 4


async def test_the_limit_of_a_group_is_changed_by_its_name(house):
    await submit(house, "a", "b", hold=True, max_concurrent=2, hold_after_failures=3)
    answer = await house.ask("POST", "/groups/lr/max-concurrency", {"max_concurrent": 1})
    assert (answer["max_concurrent"], answer["updated_jobs"]) == (1, 2)
    (group,) = house.engine.groups.values()
    assert (group.id, group.max_concurrent, group.hold_after) == (answer["group_id"], 1, 3)
    await house.refused("POST", "/groups/none/max-concurrency", {"max_concurrent": 1}, status=404, code="not_found")


async def test_the_same_name_of_another_user_is_another_group(house):
    mine = await house.submit(group="lr", key="a", hold=True)
    await house.come_as(pwd.getpwnam("nobody").pw_uid)
    (answer,) = await submit(house, "a", hold=True)
    assert answer["id"] != mine
    assert "already" not in answer


async def test_cells_that_are_there_already_are_named_and_not_made_again(house):
    first = await submit(house, "a", "b", hold=True)
    assert all("already" not in answer for answer in first)
    again = await submit(house, "a", "b", "c", hold=True)
    assert [(answer["id"], answer.get("already")) for answer in again] == [(1, "Hold"), (2, "Hold"), (3, None)]
    answer = await house.ask("POST", "/jobs", house.request(group="lr", key="a"), 201)
    assert (answer["id"], answer["already"], answer["run_name"]) == (1, "Hold", first[0]["run_name"])


async def test_a_repeated_request_is_not_taken_for_another_run(house):
    body = house.request(group="lr", key="a", submit_key="k", hold=True)
    for _ in range(2):
        answer = await house.ask("POST", "/jobs", body, 201)
        assert (answer["id"], "already" in answer) == (1, False)
    answer = await house.ask("POST", "/jobs", body | {"submit_key": "l"}, 201)
    assert (answer["id"], answer["already"]) == (1, "Hold")


async def test_two_runs_at_once_submit_no_cell_twice(house):
    keys = [f"k{number}" for number in range(20)]
    answers = []

    async def run_script(order):
        async with house.make_client() as client:
            for key in order:
                body = json.dumps(house.request(group="lr", key=key, hold=True))
                answer = await client.post("/jobs", content=body, headers={"content-type": "application/json"})
                answers.append((key, answer.json()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_script, keys)
        nursery.start_soon(run_script, keys[::-1])
        nursery.start_soon(run_script, keys)
    assert sorted(job.spec.key for job in house.engine.jobs.values()) == sorted(keys)
    assert sum("already" not in answer for _, answer in answers) == len(keys)
    for key, answer in answers:
        assert house.engine.job(answer["id"]).spec.key == key


async def test_cells_in_the_history_count_and_those_that_failed_do_not(house):
    done, failed = await house.start(group="lr", key="a"), await house.start(group="lr", key="b")
    await house.end(done)
    await house.end(failed, 1)
    await house.retire(done, failed)
    answers = await submit(house, "a", "b", hold=True)
    assert [(answer["id"], answer.get("already")) for answer in answers] == [(done, "Finished"), (3, None)]
    (answer,) = await submit(house, "b", hold=True)
    assert (answer["id"], answer["already"]) == (3, "Hold")


async def test_a_failed_cell_at_hand_may_have_a_later_one_in_the_history(house):
    """The first is still here, because another job waits for it."""
    failed = await house.start(group="lr", key="a")
    await house.submit(depends_on_ids=[failed], auto_cancel_on_dependency_failure=False)
    await house.end(failed, 1)
    done = await house.start(group="lr", key="a")
    await house.end(done)
    await house.retire(done)
    assert failed in house.engine.jobs
    (answer,) = await submit(house, "a")
    assert (answer["id"], answer["already"]) == (done, "Finished")


async def test_a_dry_run_tells_what_would_be_and_queues_nothing(house):
    await submit(house, "a", hold=True)
    body = batch(house, "a", "b", run_name="x")
    answers = await house.ask("POST", "/jobs/batch?dry_run=1", body)
    assert [(answer["id"], answer.get("already")) for answer in answers] == [(1, "Hold"), (None, None)]
    assert await house.ask("POST", "/jobs?dry_run=1", house.request(run_name="x")) == {"id": None, "run_name": "x"}
    assert list(house.engine.jobs) == [1]
    for path, wish in (("/jobs?dry_run=1", house.request(gpus=99)), ("/jobs?dry_run=1", house.request(depends_on=7))):
        await house.refused("POST", path, wish, status=422, code="impossible")
    assert not house.spool._pins


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"key": "a"}, "A key needs a group"),
        ({"group": "lr", "group_id": "g"}, "Give group (a name) or group_id, not both"),
        ({"group": "\n"}, "Invalid group"),
        ({"group": "lr", "hold_after_failures": 0}, "Invalid hold_after_failures 0: use 1 to 1000"),
        ({"group": 7}, "Invalid request"),
    ],
)
async def test_bad_groups_and_keys_are_malformed(house, fields, sentence):
    said = await house.refused("POST", "/jobs", house.request(**fields), status=400, code="malformed")
    assert said.startswith(sentence)
    assert house.engine.jobs == {}


async def test_different_wishes_for_one_group_are_refused(house):
    body = [house.request(group="lr", hold_after_failures=number) for number in (1, 2)]
    said = await house.refused("POST", "/jobs/batch", body, status=400, code="malformed")
    assert "two different limits" in said


async def test_jobs_that_are_to_be_held_together_share_a_group(house):
    body = {"defaults": house.request(hold_after_failures=2, hold=True), "jobs": [{}, {}]}
    await house.ask("POST", "/jobs/batch", body, 201)
    (group_id,) = {job.spec.group_id for job in house.engine.jobs.values()}
    assert house.engine.groups[group_id].hold_after == 2


async def test_a_hold_is_told_and_is_lifted_by_a_release(house):
    first = await house.start(group="lr", key="a", max_concurrent=1, hold_after_failures=1)
    await submit(house, "b", "c")
    await house.end(first, 1)
    assert (await house.get("/jobs/2"))["state"] == "Hold"
    (answer,) = await submit(house, "d")
    why = f"a job of its group 'lr' failed within a minute (the last: job {first}, exit code 1)"
    assert (answer["held"], (await house.get("/jobs/4"))["status_detail"]) == (why, why)
    await house.ask("POST", "/jobs/2/release")
    (answer,) = await submit(house, "e")
    assert "held" not in answer
    assert house.engine.job(2).state is not State.HOLD
    assert house.engine.job(3).state is State.HOLD


async def test_any_end_of_a_dependency_will_do_and_an_update_forgets_that(house):
    first = await house.start()
    waiting, changed = [await house.submit(depends_on=first, after_end=True) for _ in range(2)]
    assert (await house.get(f"/jobs/{waiting}"))["after_end"] is True
    answer = await house.ask("PATCH", f"/jobs/{changed}", {"depends_on_ids": [first]})
    assert answer["job"]["after_end"] is False
    await house.end(first, 1)
    assert (await house.get(f"/jobs/{changed}"))["state"] == "Cancelled"
    assert house.engine.job(waiting).state in (State.QUEUED, State.RUNNING)
    assert (await house.get(f"/jobs/{await house.submit(after_end=True, hold=True)}"))["after_end"] is False


async def test_a_value_that_would_be_no_data_is_refused_when_it_comes(house):
    good, bad = {"command": "echo {x}", "parameters": {"x": "a[$(id)]"}}, {"command": "echo $(({x}))"}
    await house.refused("POST", "/jobs", house.request(**{**good, **bad}), status=422, code="impossible")
    job_id = await house.submit(**good, hold=True)
    await house.refused("PATCH", f"/jobs/{job_id}", bad, status=422, code="impossible")
    await house.ask("POST", "/jobs/cancel", {"ids": [job_id]})
    await house.refused("POST", f"/jobs/{job_id}/redo", bad, status=422, code="impossible")
    await house.ask("POST", f"/jobs/{job_id}/redo", {"hold": True}, 201)
