"""Clients written for gflow 0.4.18: what they send is taken as it is, what they read has the keys and types they know.

The records below are what its own clients put on the wire.
"""

import json

import pytest

from support.desk import eventually
from support.house import House

RECORD = {
    "id": 0,
    "script": None,
    "command": "true",
    "gpus": 0,
    "conda_env": None,
    "run_dir": "/home/alice/w",
    "priority": 10,
    "depends_on": None,
    "depends_on_ids": [],
    "dependency_mode": None,
    "auto_cancel_on_dependency_failure": True,
    "task_id": None,
    "gpu_sharing_mode": "Exclusive",
    "gpu_memory_limit_mb": None,
    "time_limit": None,
    "memory_limit_mb": None,
    "submitted_by": "alice",
    "redone_from": None,
    "retried_from": None,
    "max_retries": 0,
    "auto_close_tmux": False,
    "parameters": {},
    "group_id": None,
    "max_concurrent": None,
    "run_name": None,
    "project": None,
    "state": "Queued",
    "gpu_ids": None,
    "submitted_at": None,
    "started_at": None,
    "finished_at": None,
    "reason": None,
    "scheduled_at": None,
}
"""What a client sends for `gbatch true`: the whole record, also what only the server may set."""

SUBMISSIONS = {
    "gbatch echo hello": {"command": "echo hello"},
    "gbatch --time 0:30 --priority 20 --name n1 --project p --memory 2G true": {
        "priority": 20,
        "time_limit": {"secs": 30, "nanos": 0},
        "memory_limit_mb": 2048,
        "run_name": "n1",
        "project": "p",
    },
    "gbatch --depends-on 1 true": {"depends_on": 1, "depends_on_ids": [1], "dependency_mode": "All"},
    "gbatch --depends-on-any 1,2 --no-auto-cancel true": {
        "depends_on_ids": [1, 2],
        "dependency_mode": "Any",
        "auto_cancel_on_dependency_failure": False,
    },
    "gbatch --gpus 2 sleep 30": {"command": "sleep 30", "gpus": 2},
    "gbatch --gpus 1 --shared --gpu-memory 20G sleep 20": {
        "command": "sleep 20",
        "gpus": 1,
        "gpu_sharing_mode": "Shared",
        "gpu_memory_limit_mb": 20480,
    },
    "gbatch --begin now+2h true": {"scheduled_at": {"secs_since_epoch": None, "nanos_since_epoch": 946188668}},
    "gbatch --auto-close --max-retries 2 false": {"command": "false", "auto_close_tmux": True, "max_retries": 2},
    "gbatch --conda-env base true": {"conda_env": "base"},
    "gbatch --notify-email a@b.c true": {"notifications": {"emails": ["a@b.c"], "events": ["job_failed"]}},
    "gjob redo 1": {"command": "echo hello", "redone_from": 1},
}

MOMENT = {"secs_since_epoch": int, "nanos_since_epoch": int}
TYPES = {
    "id": int,
    "script": (str, None),
    "command": (str, None),
    "gpus": int,
    "conda_env": (str, None),
    "run_dir": str,
    "priority": int,
    "depends_on": (int, None),
    "depends_on_ids": list,
    "dependency_mode": (str, None),
    "auto_cancel_on_dependency_failure": bool,
    "task_id": (int, None),
    "gpu_sharing_mode": str,
    "gpu_memory_limit_mb": (int, None),
    "time_limit": ({"secs": int, "nanos": int}, None),
    "memory_limit_mb": (int, None),
    "submitted_by": str,
    "redone_from": (int, None),
    "retried_from": (int, None),
    "max_retries": int,
    "auto_close_tmux": bool,
    "parameters": dict,
    "group_id": (str, None),
    "max_concurrent": (int, None),
    "run_name": str,
    "project": (str, None),
    "state": str,
    "gpu_ids": (list, None),
    "submitted_at": MOMENT,
    "started_at": (MOMENT, None),
    "finished_at": (MOMENT, None),
    "reason": (str, dict, None),
    "alive": bool,
    "notifications": {"emails": list, "events": list},
    "scheduled_at": (MOMENT, None),
}
"""gflow's record: its fields in their order, with the types its clients expect. `alive` is there while a job runs,
`notifications` if somebody is sent mail."""

WORDS = {
    "state": {"Queued", "Hold", "Running", "Finished", "Failed", "Cancelled", "Timeout"},
    "reason": {
        *("WaitingForDependency", "WaitingForStartTime", "WaitingForResources", "WaitingForGpu"),
        *("WaitingForMemory", "WaitingForQuota", "JobHeldUser", "CancelledByUser"),
    },
    "dependency_mode": {"All", "Any"},
    "gpu_sharing_mode": {"Exclusive", "Shared"},
}


def fits(value, kind):
    match kind:
        case tuple():
            return any(fits(value, one) for one in kind)
        case None:
            return value is None
        case dict():
            return (
                isinstance(value, dict) and value.keys() == kind.keys() and all(fits(value[k], kind[k]) for k in kind)
            )
        case _:
            return type(value) is kind


def assert_readable(record):
    """A client of gflow could read this record."""
    known = [name for name in TYPES if name in record]
    assert list(record)[: len(known)] == known, "its fields first, in their order"
    assert set(TYPES) - set(known) <= {"alive", "notifications"}
    assert ("alive" in record) == (record["state"] == "Running")
    for name in known:
        assert fits(record[name], TYPES[name]), (name, record[name])
        if isinstance(record[name], str):
            assert record[name] in WORDS.get(name, {record[name]})
    if isinstance(record["reason"], dict):
        ((word, detail),) = record["reason"].items()
        assert type(detail) is {"DependencyFailed": int, "SystemError": str}[word]
    for moment in (record["submitted_at"], record["started_at"], record["finished_at"], record["scheduled_at"]):
        assert moment is None or 0 <= moment["nanos_since_epoch"] < 10**9


@pytest.fixture
async def older(tmp_path):
    """A daemon with two jobs in it, as the samples suppose."""
    async with House(tmp_path, simulated_gpus=4) as house:
        for _ in range(2):
            await house.submit(hold=True)
        yield house


def sent(house, **fields):
    """The record as the client sends it, from a directory that exists here."""
    record = RECORD | {"run_dir": str(house.root)} | fields
    if record["scheduled_at"] is not None:
        soon = int(house.runtime.clock().wall) + 7200
        record["scheduled_at"] = {**record["scheduled_at"], "secs_since_epoch": soon}
    return record


@pytest.mark.parametrize("fields", SUBMISSIONS.values(), ids=SUBMISSIONS)
async def test_its_submissions_are_taken(older, fields):
    answer = await older.ask("POST", "/jobs", sent(older, **fields), 201)
    assert {"id": 3, "run_name": answer["run_name"]} == {name: answer[name] for name in ("id", "run_name")}
    assert type(answer["run_name"]) is str
    record = await older.get("/jobs/3")
    assert_readable(record)
    assert record["submitted_by"] != "alice", "who calls is not for the caller to say"
    kept = {name: value for name, value in fields.items() if name in TYPES and name != "scheduled_at"}
    assert {name: record[name] for name in kept} == kept


async def test_what_only_the_server_may_set_is_not_looked_at(older):
    forged = {"id": 77, "state": "Finished", "gpu_ids": [0], "retried_from": 1, "reason": "JobHeldUser", "alive": True}
    moment = {"secs_since_epoch": 1, "nanos_since_epoch": 0}
    forged |= {"submitted_at": moment, "started_at": moment, "finished_at": moment, "submitted_by": "root"}
    assert (await older.ask("POST", "/jobs", sent(older, **forged), 201))["id"] == 3
    record = await older.get("/jobs/3")
    assert record["state"] in ("Queued", "Running")
    assert (record["retried_from"], record["finished_at"]) == (None, None)
    assert record["submitted_at"]["secs_since_epoch"] > 1


async def test_its_arrays_and_sweeps_are_taken(older):
    array = [sent(older, task_id=number) for number in (1, 2)]
    answer = await older.ask("POST", "/jobs/batch", array, 201)
    assert [made["id"] for made in answer] == [3, 4]
    group = {"group_id": "b81ea29b-6e23-4630-b851-83e248c459ec", "max_concurrent": 1, "command": "echo '{a}'"}
    sweep = [sent(older, **group, run_name=f"t{a}", parameters={"a": a}) for a in "12"]
    answer = await older.ask("POST", "/jobs/batch", sweep, 201)
    assert [made["id"] for made in answer] == [5, 6]
    path = f"/groups/{group['group_id']}/max-concurrency"
    told = await older.ask("POST", path, {"max_concurrent": 2})
    assert told == {"group_id": group["group_id"], "max_concurrent": 2, "updated_jobs": 2}


async def test_a_record_it_was_given_can_be_sent_back(older):
    """Its clients resubmit what they read."""
    job_id = await older.start(gpus=1, time_limit=60, parameters={"a": "1"})
    record = await older.get(f"/jobs/{job_id}")
    ours = record.keys() - TYPES.keys()
    again = {name: value for name, value in record.items() if name not in ours}
    await older.ask("POST", "/jobs", again, 201)


async def test_jobs_in_every_state_can_be_read(older):
    await older.end(await older.start(), 0)
    await older.end(await older.start(max_retries=1), 1)
    await older.end(await older.start(), None, "the disk was full")
    await older.start(gpus=4, time_limit={"secs": 60, "nanos": 0})
    await older.submit(gpus=1)
    await older.submit(scheduled_at=older.runtime.clock().wall + 99.5)
    failed = next(job.id for job in older.engine.jobs.values() if job.state.value == "Failed" and not job.retried_as)
    await older.submit(depends_on=failed)
    await older.submit(depends_on=1)
    await older.ask("POST", "/jobs/2/cancel")
    await older.get(f"/jobs/{await older.start(time_limit=0.01)}/wait")
    records = await older.get("/jobs")
    assert {record["state"] for record in records} == WORDS["state"]
    for record in records:
        assert_readable(record)
        assert_readable(await older.get(f"/jobs/{record['id']}"))
    reasons = {json.dumps(record["reason"]) for record in records}
    assert {'"JobHeldUser"', '"CancelledByUser"', '"WaitingForStartTime"', "null"} <= reasons
    assert f'{{"DependencyFailed": {failed}}}' in reasons
    assert '{"SystemError": "the disk was full"}' in reasons


async def test_its_questions_are_answered(older):
    await older.submit(scheduled_at=older.runtime.clock().wall + 999)
    assert [job["id"] for job in await older.get("/jobs?state=Queued&limit=1&order=desc")] == [3]
    assert [job["id"] for job in await older.get("/jobs?state=PD,H&offset=1&created_after=0")] == [2, 3]
    user = older.engine.job(1).spec.owner
    assert await older.get(f"/jobs/resolve-dependency?username={user}&shorthand=%40") == {"job_id": 3}
    sentence = await older.refused(
        "GET", "/jobs/resolve-dependency?username=alice&shorthand=%40%7E99", status=400, code="malformed"
    )
    assert sentence == "'@~99' stands for no job of alice"
    path = await older.get("/jobs/1/log")
    assert path.endswith("/logs/1.log")


async def test_its_verbs_answer_null(older):
    running = await older.start()
    for verb in ("1/release", "2/cancel", f"{running}/finish"):
        assert await older.ask("POST", f"/jobs/{verb}") is None
    waiting = await older.submit(scheduled_at=older.runtime.clock().wall + 999)
    assert await older.ask("POST", f"/jobs/{waiting}/hold") is None
    later = int(older.runtime.clock().wall) + 60
    assert await older.ask("POST", f"/jobs/{waiting}/release?at={later}") is None


async def test_its_update_is_answered_with_the_job_and_what_changed(older):
    body = {"priority": 3, "time_limit": {"secs": 60, "nanos": 0}}
    answer = await older.ask("PATCH", "/jobs/1", body)
    assert set(answer) == {"job", "updated_fields"}
    assert answer["updated_fields"] == ["priority", "time_limit"]
    assert_readable(answer["job"])


async def test_its_log_reader_finds_what_it_knows(older):
    job_id = await older.start()
    older.write_log(job_id, b"hello\r\n")
    told = await older.get(f"/jobs/{job_id}/log/content?tail=5")
    kinds = {"job_id": int, "path": str, "size": int, "truncated": bool, "content": str}
    assert fits(told, kinds)


async def test_its_figures_have_their_names(older):
    await older.end(await older.start(gpus=1))
    told = await older.get("/stats")
    number = (int, float)
    kinds = {
        "user": None,
        "since": None,
        **dict.fromkeys(("total_jobs", "completed_jobs", "failed_jobs", "cancelled_jobs", "timeout_jobs"), int),
        **dict.fromkeys(("running_jobs", "queued_jobs", "jobs_with_gpus", "peak_gpu_usage"), int),
        **dict.fromkeys(("avg_wait_secs", "avg_runtime_secs", "total_gpu_hours", "avg_gpus_per_job"), number),
        "success_rate": number,
        "top_jobs": list,
    }
    assert list(told) == [
        *("user", "since", "total_jobs", "completed_jobs", "failed_jobs", "cancelled_jobs", "timeout_jobs"),
        *("running_jobs", "queued_jobs", "avg_wait_secs", "avg_runtime_secs", "total_gpu_hours", "jobs_with_gpus"),
        *("avg_gpus_per_job", "peak_gpu_usage", "success_rate", "top_jobs"),
        *("measured_jobs", "mean_gpu_utilisation_pct", "total_run_hours"),
    ]
    assert fits({name: told[name] for name in kinds}, kinds), told
    assert fits(told["top_jobs"][0], {"id": int, "name": str, "runtime_secs": number, "gpus": int})


async def test_its_status_and_info_have_their_names(older):
    status = await older.get("/status")
    kinds = {"version": str, "pid": int, "uptime_secs": int, "executor": str, "gpu_total": int, "gpu_available": int}
    assert all(fits(status[name], kind) for name, kind in kinds.items())
    info = await older.get("/info")
    assert list(info)[:4] == ["gpus", "allowed_gpu_indices", "gpu_allocation_strategy", "executor"]
    assert list(info["gpus"][0])[:4] == ["uuid", "index", "available", "reason"]
    assert all(fits(info["gpus"][0][name], kind) for name, kind in (("uuid", str), ("index", int), ("available", bool)))


async def test_its_event_reader_finds_what_it_knows(older):
    """The first event is `connected`, and every event's data has its name and the job's id."""
    async with await older.stream() as stream:
        await stream.send_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        text = ""
        while "data: {}" not in text:
            text += (await stream.receive_some()).decode()
        assert "event: connected\ndata: {}\n\n" in text
        job_id = await older.start(memory_limit_mb=64)
        await older.end(job_id)
        while "event: job_completed" not in text or not text.endswith("\r\n"):
            text += (await stream.receive_some()).decode()
    data = [json.loads(line.removeprefix("data: ")) for line in text.split("\n") if line.startswith('data: {"')]
    assert [(one["type"], one["job_id"]) for one in data] == [
        *[("job_submitted", job_id), ("job_started", job_id), ("job_completed", job_id)],
    ]
    final = {"final_state": "Finished", "gpu_ids": [], "job_id": job_id, "memory_mb": 64, "type": "job_completed"}
    assert final.items() <= data[-1].items()


async def test_a_dependency_that_is_not_there_is_an_error_with_its_sentence(older):
    body = sent(older, depends_on=999, depends_on_ids=[999], dependency_mode="All")
    sentence = await older.refused("POST", "/jobs", body, status=422, code="impossible")
    assert sentence == "Dependency job 999 does not exist"
    await eventually(lambda: not older.spool._pins, "the release of the pins")


# -- gctl --------------------------------------------------------------------------------------------------------------


async def test_its_set_gpus_is_answered_as_it_was(older):
    for indices in ([0, 1], None):
        assert await older.ask("POST", "/gpus", {"allowed_indices": indices}) == {"allowed_gpu_indices": indices}
    sentence = await older.refused("POST", "/gpus", {"allowed_indices": [0, 9]}, status=422, code="impossible")
    assert sentence == "Invalid GPU indices [9] (only 4 GPUs detected)"


async def test_its_gpu_process_is_answered_as_it_was(older):
    assert await older.get("/gpu-processes") == []
    older.services.start_ticks = lambda pid: 1
    sentence = await older.refused(
        "POST", "/gpu-processes/ignore", {"gpu_index": 1, "pid": 77}, status=422, code="impossible"
    )
    assert sentence == "PID 77 is not currently running on GPU 1"


async def test_its_quota_is_answered_as_it_was(older):
    limits = {"max_running_gpus": 2}
    answer = await older.ask("PUT", "/quotas", {"limits": limits, "name": "alice", "scope": "user"})
    assert answer == {"name": "alice", "overrides": {"users": {"alice": limits}}, "scope": "user"}
    told = await older.get("/quotas")
    assert told["overrides"] == {"users": {"alice": limits}}
    used = {"queued_jobs": 0, "running_gpus": 0, "running_jobs": 0}
    rows = [
        {"limits": limits, "name": "alice", **used, "scope": "user"},
        {"limits": {}, "name": "", **used, "scope": "default_user"},
        {"limits": {}, "name": "", **used, "scope": "default_project"},
    ]
    assert [row for row in told["quotas"] if row["name"] in ("alice", "")] == rows
    answer = await older.ask("DELETE", "/quotas?scope=user&name=alice")
    assert answer == {"name": "alice", "overrides": {}, "removed": True, "scope": "user"}
