"""POST /jobs/ID/redo."""

import os


async def failed(house, **fields):
    """A job that has failed."""
    job_id = await house.start(**fields)
    await house.end(job_id, 1)
    return job_id


async def redo(house, job_id, **body):
    return await house.ask("POST", f"/jobs/{job_id}/redo", body, 201)


async def test_a_job_done_again_with_changes(house):
    old = await failed(house, gpus=1, priority=7, time_limit=600, parameters={"lr": "1", "n": "2"}, run_name="train")
    answer = await redo(
        house, old, time_limit_delta=60, priority=20, parameter_changes={"lr": "3", "n": None}, memory_limit_mb=64
    )
    assert answer == {"id": 2, "run_name": "train", "redone_from": old, "dropped_env": [], "cascade": []}
    record = await house.get("/jobs/2")
    assert (record["gpus"], record["priority"], record["parameters"]) == (1, 20, {"lr": "3"})
    assert (record["time_limit"]["secs"], record["memory_limit_mb"]) == (660, 64)
    assert (await house.get(f"/jobs/{old}"))["redone_as"] == 2


async def test_scripts_are_kept_for_it_and_may_be_replaced(house, tmp_path):
    old = await failed(house, script="train.sh", script_text="echo one", script_args=["a"])
    digest = house.engine.job(old).spec.script_digest
    again = house.engine.job((await redo(house, old, hold=True))["id"]).spec
    assert (again.script, again.script_digest, again.script_args) == ("train.sh", digest, ("a",))
    other = house.engine.job((await redo(house, old, script_text="echo two", script="x.sh", hold=True))["id"]).spec
    assert (other.script, other.script_args) == ("x.sh", ())
    assert house.spool.path("script", other.script_digest).read_text() == "echo two"
    line = house.engine.job((await redo(house, old, command="true", hold=True))["id"]).spec
    assert (line.command, line.script_digest) == ("true", None)
    for job_id in (2, 3):
        await house.ask("POST", f"/jobs/{job_id}/cancel")
    os.remove(house.spool.path("script", digest))
    sentence = await house.refused("POST", f"/jobs/{old}/redo", {}, status=422, code="impossible")
    assert sentence == f"The script of job {old} is not kept any more: give it again (--script PATH)"


async def test_a_job_that_had_an_environment_gets_that_of_the_caller(house):
    had, none = await failed(house, environment={"A": "1"}), await failed(house)
    new = [(await redo(house, job_id, environment={"B": "2"}, hold=True))["id"] for job_id in (had, none)]
    kept = [house.engine.job(job_id).spec.environment for job_id in new]
    assert house.spool.path("env", kept[0]).read_bytes() == b"export B=2\n"
    assert kept[1] is None


async def test_a_cascade_does_again_what_had_fallen_also_long_ago(house):
    root = await house.start()
    middle = await house.submit(depends_on=root)
    leaf = await house.submit(depends_on_ids=[root, middle], dependency_mode="All")
    lone = await house.submit(depends_on=root, auto_cancel_on_dependency_failure=False)
    await house.end(root, 1)
    await house.ask("POST", f"/jobs/{lone}/cancel")
    await house.retire(leaf, middle, root)
    answer = await redo(house, root, cascade=True, priority=77)
    assert [(job["id"], job["redone_from"]) for job in answer["cascade"]] == [(6, middle), (7, leaf)]
    records = {job["id"]: job for job in await house.get("/jobs?ids=5-7")}
    assert {job_id: job["depends_on_ids"] for job_id, job in records.items()} == {5: [], 6: [5], 7: [5, 6]}
    assert [job["priority"] for job in records.values()] == [77, 10, 10]
    assert [(await house.get(f"/jobs/{job_id}"))["redone_as"] for job_id in (root, middle, leaf)] == [5, 6, 7]


async def test_those_named_are_changed_alike_when_they_go_along(house):
    root = await house.start()
    named, _ = await house.submit(depends_on=root), await house.submit(depends_on=root)
    await house.end(root, 1)
    answer = await redo(house, root, cascade=True, priority=77, alike=[named, 99])
    assert [house.engine.job(job["id"]).spec.priority for job in (answer, *answer["cascade"])] == [77, 77, 10]


async def test_jobs_that_cannot_be_done_again(house):
    waiting, running = await house.submit(hold=True), await house.start(max_retries=1)
    for job_id, state in ((waiting, "Hold"), (running, "Running")):
        sentence = await house.refused("POST", f"/jobs/{job_id}/redo", {}, status=409, code="wrong_state")
        assert sentence == f"Job {job_id} has not ended: it is {state}"
    house.launcher.finish(running, 1)
    await house.get(f"/jobs/{running}/wait")
    sentence = await house.refused("POST", f"/jobs/{running}/redo", {}, status=409, code="wrong_state")
    assert f"Job {running} has not ended, and is being tried again as job 3: it is " in sentence
    await house.refused("POST", "/jobs/99/redo", {}, status=404, code="not_found")


REFUSED = [
    ({"gpus": 99}, 422, "impossible", "asks for 99 GPUs"),
    ({"depends_on_ids": [77]}, 422, "impossible", "Dependency job 77 does not exist"),
    ({"time_limit_delta": 5}, 400, "malformed", "no time limit to add to"),
    ({"max_concurrent": 5}, 400, "malformed", "gctl set-limit"),
    ({"cascade": 1}, 400, "malformed", "Expected `bool`"),
    ({"state": "Queued"}, 400, "malformed", "unknown field"),
]


async def test_changes_that_are_refused_make_no_job(house):
    old = await failed(house)
    for body, status, code, says in REFUSED:
        assert says in await house.refused("POST", f"/jobs/{old}/redo", body, status=status, code=code)
    assert list(house.engine.jobs) == [old]


async def test_only_who_may_act_on_it(house):
    await house.come_as(20001)
    old = await failed(house)
    await house.come_as(20002)
    await house.refused("POST", f"/jobs/{old}/redo", {}, status=403, code="forbidden")
