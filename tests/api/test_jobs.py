"""Looking at jobs, waiting for them and deciding about them."""

import pytest
import trio
import trio.testing

from gflow.api.services import Services
from gflow.core.model import GpuStatus, StopCause
from gflow.wire.jobs import job_json
from support.desk import eventually

idle = trio.testing.wait_all_tasks_blocked


async def states(house, *job_ids):
    return [(await house.get(f"/jobs/{job_id}"))["state"] for job_id in job_ids]


# -- looking ---------------------------------------------------------------------------------------------------------


async def test_a_job_is_told_whole(house):
    job_id = await house.start(gpus=1, run_name="train", argv=["python", "a b.py"], time_limit=60)
    record = await house.get(f"/jobs/{job_id}")
    job = house.engine.job(job_id)
    log_path = str(house.data_dir / "logs" / "1.log")
    use = house.engine.measuring.now(job)
    assert record == job_json(job, None, None, use, session="gjob-1", log_path=log_path)
    assert (record["state"], record["alive"], record["gpu_ids"]) == ("Running", True, [0])
    assert (record["command"], record["argv"]) == ("python 'a b.py'", ["python", "a b.py"])
    assert record["submitted_by"] == record["submitted_by"].strip() != ""


async def test_what_is_measured_on_gpus_is_told_while_the_job_runs(house):
    job_id = await house.start(gpu_indices=[2], gpu_memory_limit_mb=20480)
    assert (await house.get(f"/jobs/{job_id}"))["gpu_memory_verdict"] is None
    gpus = tuple(house.engine.resources.gpus.values())
    for held_mb in (9000, 11469, 5000):
        status = {2: GpuStatus(utilisation_pct=held_mb // 200, job_mb={job_id: held_mb})}
        house.runtime.commit(house.engine.observe_gpus(gpus, status, house.runtime.clock()))
        record = await house.get(f"/jobs/{job_id}")
        assert record["gpu_use"]["peak_mb"] == max(held_mb, 11469 if held_mb == 5000 else 0)
    assert record["gpu_memory_verdict"] == "declared 20G, peak 11.2G"
    assert record["gpu_use"]["peak_pct"] == 57
    ended = await house.end(job_id)
    assert ended["gpu_memory_verdict"] == "declared 20G, peak 11.2G"
    await house.retire(job_id)
    assert (await house.get(f"/jobs/{job_id}"))["gpu_use"] == ended["gpu_use"]


async def test_a_change_shows_at_once(house):
    job_id = await house.submit(hold=True)
    assert (await house.get("/jobs"))[0]["reason"] == "JobHeldUser"
    await house.ask("PATCH", f"/jobs/{job_id}", {"priority": 77})
    assert (await house.get("/jobs"))[0]["priority"] == 77
    await house.ask("POST", f"/jobs/{job_id}/release")
    await eventually(house.launcher.running, "the launch")
    await house.end(job_id, 3)
    (record,) = await house.get("/jobs")
    assert (record["state"], record["exit_code"], record["reason"]) == ("Failed", 3, None)


async def test_why_a_job_waits_is_told_by_its_reason(house):
    blocker = await house.start(gpus=4)
    waiting = [await house.submit(**fields) for fields in ({"gpus": 1}, {"depends_on": blocker})]
    waiting.append(await house.submit(scheduled_at=house.runtime.clock().wall + 999))
    await idle(0.01)
    reasons = [record["reason"] for record in (await house.get("/jobs"))[1:]]
    assert reasons == ["WaitingForGpu", "WaitingForDependency", "WaitingForStartTime"]


async def test_a_job_that_is_not_there(house):
    for method, path in (
        *(("GET", path) for path in ("", "/wait", "/why", "/log", "/log/content", "/log/stream", "/attach")),
        *(("POST", path) for path in ("/cancel", "/cancel?dry_run=1", "/hold", "/release", "/finish", "/fail")),
    ):
        sentence = await house.refused(method, f"/jobs/99{path}", status=404, code="not_found")
        assert sentence == "Job 99 does not exist"
    await house.refused("PATCH", "/jobs/99", {"priority": 1}, status=404, code="not_found")


@pytest.mark.parametrize("number", ["abc", "-1", "1.5", "9" * 30, "9" * 5000, "%31%00", "\u0661"])
async def test_what_is_no_number_of_a_job_is_not_found(house, number):
    await house.refused("GET", f"/jobs/{number}", status=404, code="not_found")


# -- lists -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def crowd(house):
    """1 running, 2 finished, 3 and 4 on hold, 5 waiting; 4 is somebody else's."""
    await house.start(run_name="one", project="p")
    await house.end(await house.start(run_name="two", gpus=1), 0)
    await house.submit(run_name="three", hold=True, project="p")
    await house.come_as(12345)
    await house.submit(run_name="four", hold=True, priority=50)
    await house.come_as(0)
    await house.submit(run_name="five", depends_on=1)
    return house


LISTS = [
    ("", [1, 2, 3, 4, 5]),
    ("order=asc", [1, 2, 3, 4, 5]),
    ("order=desc", [5, 4, 3, 2, 1]),
    ("limit=2", [1, 2]),
    ("limit=2&order=desc", [5, 4]),
    ("limit=2&offset=1", [2, 3]),
    ("offset=4", [5]),
    ("offset=99", []),
    ("limit=999999999999999999999", [1, 2, 3, 4, 5]),
    ("state=Running", [1]),
    ("state=R,CD", [1, 2]),
    ("state=hold,%20queued", [3, 4, 5]),
    ("state=all", [1, 2, 3, 4, 5]),
    ("user=uid:12345", [4]),
    ("user=nobody-of-that-name", []),
    ("ids=2-4", [2, 3, 4]),
    ("ids=5,1,77", [1, 5]),
    ("name=one,five", [1, 5]),
    ("project=p", [1, 3]),
    ("created_after=1", [1, 2, 3, 4, 5]),
    ("created_after=99999999999", []),
    ("state=H&ids=1-3", [3]),
    ("state=&user=&ids=&limit=", [1, 2, 3, 4, 5]),
]


async def test_lists(crowd):
    for query, found in LISTS:
        assert [record["id"] for record in await crowd.get(f"/jobs?{query}")] == found, query


NO_LISTS = [
    ("state=Sleeping", "Unknown state 'Sleeping'; allowed: Queued (PD), "),
    ("state=R,Sleeping", "Unknown state 'Sleeping'"),
    ("order=up", "Invalid order 'up': use asc or desc"),
    ("limit=0", "Invalid limit 0"),
    ("limit=-1", "Invalid limit -1"),
    ("limit=many", "Invalid limit 'many': use a whole number"),
    (f"limit={'9' * 5000}", "use a whole number"),
    ("offset=-1", "Invalid offset -1"),
    ("ids=a", "Invalid job ID or range: a"),
    ("ids=5-3", "Invalid job ID or range: 5-3"),
    ("ids=1-99999999", "names more than"),
    ("created_after=yesterday", "Invalid created_after 'yesterday': use a number"),
    ("created_after=nan", "Invalid created_after 'nan'"),
    ("sort=id", "Unknown parameter 'sort'; allowed: state, user, ids"),
]


async def test_lists_nobody_can_make(house):
    for query, says in NO_LISTS:
        assert says in await house.refused("GET", f"/jobs?{query}", status=400, code="malformed")


async def test_a_list_is_one_state_of_the_queue_however_long_it_is(house):
    """Jobs are encoded some at a time. One that changes meanwhile is told as it was when the list was made."""
    await house.start(gpus=4)
    body = {"defaults": house.request(gpus=1), "jobs": [{}] * 1000}
    await house.ask("POST", "/jobs/batch", body, 201)
    await idle(0.01)
    job_bytes, calls = Services.job_bytes, []

    def encode(services, job):
        calls.append(job.id)
        if len(calls) == 400:
            house.runtime.commit(house.engine.hold(1001, house.runtime.clock()))
        return job_bytes(services, job)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Services, "job_bytes", encode)
        records = await house.get("/jobs?state=Queued")
    assert [record["id"] for record in records] == list(range(2, 1002))
    assert {record["state"] for record in records} == {"Queued"}
    assert {record["reason"] for record in records[:-1]} == {"WaitingForGpu"}
    assert records[-1]["reason"] is None, "which of its reasons held then is not known any more"
    assert (await house.get("/jobs/1001"))["reason"] == "JobHeldUser"


# -- waiting ---------------------------------------------------------------------------------------------------------


async def wait_in_background(house, path):
    answers = []

    async def wait():
        client = house.make_client()
        async with client:
            answers.append((await client.get(path)).json())

    house.nursery.start_soon(wait)
    await idle(0.02)
    return answers


async def test_waiting_answers_when_the_job_is_over(house):
    job_id = await house.start()
    answers = await wait_in_background(house, f"/jobs/{job_id}/wait")
    await house.submit(hold=True)  # something else happens
    await idle(0.02)
    assert answers == []
    house.launcher.finish(job_id, 7)
    await eventually(lambda: answers, "the answer")
    assert (answers[0]["state"], answers[0]["exit_code"]) == ("Failed", 7)
    assert await house.get(f"/jobs/{job_id}/wait") == answers[0]


async def test_waiting_follows_retries_only_if_asked_to(house):
    job_id = await house.start(max_retries=1)
    first = await wait_in_background(house, f"/jobs/{job_id}/wait")
    last = await wait_in_background(house, f"/jobs/{job_id}/wait?retries=1")
    house.launcher.finish(job_id, 1)
    await eventually(lambda: first, "the first answer")
    assert (first[0]["id"], first[0]["retried_as"]) == (job_id, 2)
    await eventually(lambda: house.launcher.running() == {2}, "the retry")
    assert last == []
    house.launcher.finish(2, 0)
    await eventually(lambda: last, "the last answer")
    assert (last[0]["id"], last[0]["state"], last[0]["restart_count"]) == (2, "Finished", 1)


# -- why -------------------------------------------------------------------------------------------------------------


async def test_why(house):
    blocker = await house.start(gpus=4, time_limit=600)
    job_id = await house.submit(gpus=1)
    await idle(0.01)
    told = await house.get(f"/jobs/{job_id}/why")
    assert set(told) == {"id", "state", "reasons", "expected_start", "expected_start_unknown"}
    (reason,) = told["reasons"]
    assert (told["id"], told["state"], reason["reason"]) == (job_id, "Queued", "WaitingForGpu")
    assert reason["text"]
    assert set(reason) == {"reason", "text", "help"}
    started = house.engine.job(blocker).started_at
    assert (told["expected_start"], told["expected_start_unknown"]) == (pytest.approx(started + 600, abs=1), None)
    told = await house.get(f"/jobs/{blocker}/why")
    assert (told["expected_start"], told["expected_start_unknown"]) == (None, None)


async def test_why_nobody_knows_when(house):
    blocker = await house.start(gpus=4)
    waiting, held = await house.submit(gpus=1), await house.submit(hold=True)
    told = await house.get(f"/jobs/{waiting}/why")
    assert (told["expected_start"], told["expected_start_unknown"]) == (None, f"job {blocker} has no time limit")
    assert (await house.get(f"/jobs/{held}/why"))["expected_start_unknown"] == "it is on hold"


async def test_why_of_a_job_that_may_not_begin_yet(house):
    later = house.runtime.clock().wall + 3600
    job_id = await house.submit(scheduled_at=later)
    assert (await house.get(f"/jobs/{job_id}/why"))["expected_start"] == pytest.approx(later)


# -- hold and release ------------------------------------------------------------------------------------------------


async def test_hold_and_release(house):
    blocker = await house.start(gpus=4)
    job_id = await house.submit(gpus=1)
    assert await house.ask("POST", f"/jobs/{job_id}/hold") is None
    await house.end(blocker)
    assert await states(house, job_id) == ["Hold"]
    assert await house.ask("POST", f"/jobs/{job_id}/release") is None
    await eventually(lambda: house.launcher.running() == {job_id}, "the launch")


async def test_release_at_a_moment(house):
    job_id = await house.submit(hold=True)
    later = int(house.runtime.clock().wall) + 3600
    await house.ask("POST", f"/jobs/{job_id}/release?at={later}")
    record = await house.get(f"/jobs/{job_id}")
    assert (record["state"], record["reason"]) == ("Queued", "WaitingForStartTime")
    assert record["scheduled_at"] == {"secs_since_epoch": later, "nanos_since_epoch": 0}


@pytest.mark.parametrize(
    ("at", "status"), [("soon", 400), ("nan", 400), ("inf", 400), ("-5", 422), ("1000", 422), ("1e15", 422)]
)
async def test_release_at_no_moment(house, at, status):
    job_id = await house.submit(hold=True)
    code = "malformed" if status == 400 else "impossible"
    await house.refused("POST", f"/jobs/{job_id}/release?at={at}", status=status, code=code)
    assert await states(house, job_id) == ["Hold"]


@pytest.mark.parametrize(
    ("verb", "state", "says"),
    [
        ("hold", "Running", "Job 1 is Running and cannot become Hold"),
        ("hold", "Hold", "Job 1 is on hold already"),
        ("hold", "Finished", "Job 1 has ended already: Finished"),
        ("release", "Running", "Job 1 is not on hold: it is Running"),
        ("release", "Finished", "Job 1 has ended already: Finished"),
        ("cancel", "Finished", "Job 1 has ended already: Finished"),
        ("cancel?dry_run=1", "Finished", "Job 1 has ended already: Finished"),
        ("finish", "Finished", "Job 1 is Finished, not Running"),
        ("fail", "Hold", "Job 1 is Hold, not Running"),
    ],
)
async def test_what_the_state_of_a_job_does_not_allow(house, verb, state, says):
    await (house.submit(hold=True) if state == "Hold" else house.start())
    if state == "Finished":
        await house.end(1)
    before, events = house.engine.job(1), house.runtime.bus.last_id
    assert await house.refused("POST", f"/jobs/1/{verb}", status=409, code="wrong_state") == says
    assert house.engine.job(1) is before
    assert house.runtime.bus.last_id == events, "and nobody is told of anything"


# -- stopping --------------------------------------------------------------------------------------------------------


async def test_cancelling_a_waiting_job_takes_its_dependents_along(house):
    job_id = await house.submit(hold=True)
    await house.submit(depends_on=job_id)
    await house.submit(depends_on=2, hold=True)
    await house.submit(depends_on=job_id, auto_cancel_on_dependency_failure=False)
    told = await house.ask("POST", f"/jobs/{job_id}/cancel?dry_run=1")
    assert told == {
        "id": 1,
        "state": "Hold",
        "dependents": [
            {"id": 2, "state": "Queued", "blocked_by": 1},
            {"id": 3, "state": "Hold", "blocked_by": 2},
        ],
    }
    assert await states(house, 1, 2, 3, 4) == ["Hold", "Queued", "Hold", "Queued"]
    assert await house.ask("POST", f"/jobs/{job_id}/cancel") is None
    assert await states(house, 1, 2, 3, 4) == ["Cancelled", "Cancelled", "Cancelled", "Queued"]
    record = await house.get("/jobs/1")
    assert record["reason"] == "CancelledByUser"
    assert record["status_detail"] == f"cancelled by {record['submitted_by']}"


async def test_cancelling_a_running_job_stops_it_and_it_keeps_its_gpus_until_it_is_gone(house):
    house.launcher.manners[1] = {}
    job_id = await house.start(gpus=4)
    assert await house.ask("POST", f"/jobs/{job_id}/cancel") is None
    await eventually(lambda: ("interrupt", job_id) in house.launcher.calls, "the Ctrl-C")
    record = await house.get(f"/jobs/{job_id}")
    assert (record["state"], record["stopping"], record["gpu_ids"]) == ("Running", "cancel", [0, 1, 2, 3])
    assert await house.ask("POST", f"/jobs/{job_id}/cancel") is None, "asking again is no error"
    assert house.launcher.calls.count(("interrupt", job_id)) == 1
    record = await house.end(job_id, 130)
    assert (record["state"], record["exit_code"], record["signal"]) == ("Cancelled", 130, "SIGINT")
    assert record["stopping"] is None


@pytest.mark.parametrize(("verb", "state"), [("finish", "Finished"), ("fail", "Failed")])
async def test_a_running_job_is_declared_over(house, verb, state):
    job_id = await house.start()
    assert await house.ask("POST", f"/jobs/{job_id}/{verb}") is None
    record = await house.get(f"/jobs/{job_id}/wait")
    assert record["state"] == state


async def test_a_job_over_its_limit_is_a_timeout(house):
    job_id = await house.start(time_limit=0.05)
    record = await house.get(f"/jobs/{job_id}/wait")
    assert (record["state"], record["exit_code"], record["signal"]) == ("Timeout", 130, "SIGINT")
    assert "time limit" in record["status_detail"]


# -- attaching -------------------------------------------------------------------------------------------------------


async def test_attaching_to_a_running_job(house):
    job_id = await house.start()
    argv = (await house.get(f"/jobs/{job_id}/attach"))["argv"]
    assert (await house.get(f"/jobs/{job_id}/attach?read_only=1"))["argv"] == [*argv, "-r"]
    await house.end(job_id)
    sentence = await house.refused("GET", f"/jobs/{job_id}/attach", status=409, code="wrong_state")
    assert sentence == f"Job {job_id} is Finished and has no terminal to attach to"


# -- shorthands ------------------------------------------------------------------------------------------------------


async def test_shorthands(crowd):
    async def resolve(query):
        return (await crowd.get(f"/jobs/resolve-dependency?{query}"))["job_id"]

    assert await resolve("shorthand=@") == 5
    assert await resolve("shorthand=%40~0") == 5
    assert await resolve("shorthand=@~1") == 3, "the caller's own"
    assert await resolve("shorthand=@&username=uid:12345") == 4


@pytest.mark.parametrize("shorthand", ["@~99", "@~", "@1", "~1", "", "7", "@~-1", "@~1x", "@~" + "9" * 99])
async def test_shorthands_of_nothing(crowd, shorthand):
    sentence = await crowd.refused(
        "GET", f"/jobs/resolve-dependency?username=ana&shorthand={shorthand}", status=400, code="malformed"
    )
    assert sentence == f"'{shorthand}' stands for no job of ana"


async def test_a_retry_is_no_job_of_its_own_but_what_became_of_one(house):
    """Who cancels `@` after a job ran out of memory means the attempt that is under way."""
    before = await house.submit(hold=True)
    job_id = await house.start(max_retries=1)
    await house.end(job_id, 1)
    again = house.engine.job(job_id).retried_as
    assert again not in (None, job_id)
    assert (await house.get("/jobs/resolve-dependency?shorthand=@"))["job_id"] == again
    assert (await house.get("/jobs/resolve-dependency?shorthand=@~1"))["job_id"] == before


def test_every_cause_of_a_stop_is_a_word():
    assert {cause.value for cause in StopCause} == set("cancel timeout finish fail leftovers lost memory".split())
