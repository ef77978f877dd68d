"""PATCH /jobs/ID and the limits of groups."""

import pytest

from support.desk import eventually

EVERYTHING = {
    "conda_env": "torch",
    "gpus": 2,
    "gpu_indices": [1, 3],
    "gpu_sharing_mode": "Shared",
    "retry_on_oom": True,
    "priority": 99,
    "parameters": {"a": "1"},
    "time_limit": {"secs": 60, "nanos": 0},
    "memory_limit_mb": 64,
    "gpu_memory_limit_mb": 128,
    "depends_on_ids": [1],
    "dependency_mode": "Any",
    "auto_cancel_on_dependency_failure": False,
    "max_retries": 3,
    "run_name": "other",
    "project": "p",
    "auto_close_tmux": True,
    "keep_session": True,
    "notifications": {"emails": ["a@b"], "events": ["job_failed"]},
}
CLEARED = {
    "conda_env": None,
    "gpus": 0,
    "gpu_indices": [],
    "gpu_sharing_mode": "Exclusive",
    "retry_on_oom": False,
    "priority": 10,
    "parameters": {},
    "time_limit": None,
    "memory_limit_mb": None,
    "gpu_memory_limit_mb": None,
    "depends_on_ids": [],
    "dependency_mode": None,
    "auto_cancel_on_dependency_failure": True,
    "max_retries": 0,
    "project": None,
    "auto_close_tmux": False,
    "keep_session": False,
    "early_signal": None,
    "scheduled_at": None,
}


@pytest.fixture
async def job(house):
    """A job on hold that may depend on job 1, which waits for ever."""
    await house.submit(scheduled_at=house.runtime.clock().wall + 99_999)
    return f"/jobs/{await house.submit(hold=True)}"


async def test_every_field_changes_and_is_named(house, job):
    answer = await house.ask("PATCH", job, EVERYTHING)
    assert set(answer) == {"job", "updated_fields"}
    assert sorted(answer["updated_fields"]) == sorted(EVERYTHING)
    assert {name: answer["job"][name] for name in EVERYTHING} == EVERYTHING
    assert await house.get(job) == answer["job"]


async def test_null_clears_what_may_be_cleared(house, job):
    later = house.runtime.clock().wall + 3600
    await house.ask(
        "PATCH", job, EVERYTHING | {"early_signal": {"signal": 10, "secs_before": 5}, "scheduled_at": later}
    )
    answer = await house.ask("PATCH", job, dict.fromkeys(CLEARED))
    assert {name: answer["job"][name] for name in CLEARED} == CLEARED
    answer = await house.ask("PATCH", job, {"run_name": None})
    assert answer["job"]["run_name"] not in ("other", None), "a name is made up"


async def test_blanks_are_no_name(house, job):
    answer = await house.ask("PATCH", job, {"project": " p ", "run_name": " x ", "conda_env": "  "})
    assert [answer["job"][name] for name in ("project", "run_name", "conda_env")] == ["p", "x", None]


async def test_what_is_not_named_stays(house, job):
    before = await house.get(job)
    await house.ask("PATCH", job, {"priority": 20})
    assert await house.get(job) == before | {"priority": 20}


@pytest.mark.parametrize(
    ("changes", "gpus", "indices"),
    [
        ({"gpus": 3}, 3, []),
        ({"gpu_indices": [2, 0, 2]}, 2, [0, 2]),
        ({"gpu_indices": None}, 1, []),
        ({"priority": 5}, 1, [3]),
    ],
)
async def test_gpus_by_number_and_by_index_replace_each_other(house, job, changes, gpus, indices):
    job_id = await house.submit(gpu_indices=[3], hold=True)
    record = (await house.ask("PATCH", f"/jobs/{job_id}", changes))["job"]
    assert (record["gpus"], record["gpu_indices"]) == (gpus, indices)


@pytest.mark.parametrize("work", [{"command": "echo x"}, {"argv": ["echo", "x y"]}])
async def test_another_command_replaces_the_work_whatever_it_was(house, job, work):
    job_id = await house.submit(script_text="echo", hold=True)
    record = (await house.ask("PATCH", f"/jobs/{job_id}", work))["job"]
    assert (record["argv"], record["script"]) == (work.get("argv"), None)
    assert record["command"] == work.get("command", "echo 'x y'")


async def test_a_script_replaces_the_work_and_its_text_is_kept(house, job):
    changes = {"script": "/x/train.sh", "script_text": "echo hello", "script_args": ["1"]}
    record = (await house.ask("PATCH", job, changes))["job"]
    assert (record["script"], record["command"], record["script_args"]) == ("/x/train.sh", None, ["1"])
    digest = house.engine.job(record["id"]).spec.script_digest
    assert house.spool.path("script", digest).read_text() == "echo hello"


async def test_single_parameters_are_set_and_taken_away(house, job):
    await house.ask("PATCH", job, {"parameters": {"a": "1", "b": "2"}})
    answer = await house.ask("PATCH", job, {"parameter_changes": {"b": None, "c": "3"}})
    assert answer["job"]["parameters"] == {"a": "1", "c": "3"}
    assert answer["updated_fields"] == ["parameters"]
    assert (await house.ask("PATCH", job, {"run_dir": "/"}))["job"]["run_dir"] == "/"


async def test_limits_are_changed_by_a_difference(house, job):
    await house.ask("PATCH", job, {"time_limit": 600})
    answer = await house.ask("PATCH", job, {"time_limit_delta": 60.5})
    assert answer["job"]["time_limit"] == {"secs": 660, "nanos": 500_000_000}
    assert answer["updated_fields"] == ["time_limit"]
    answer = await house.ask("PATCH", job, {"time_limit_delta": -60.5})
    assert answer["job"]["time_limit"] == {"secs": 600, "nanos": 0}


MALFORMED = [
    ({}, "names no field"),
    ([], "Expected `object`, got `array`"),
    (None, "Expected `object`, got `null`"),
    ({"priority": 999}, "use 0 to 255"),
    ({"priority": "1"}, "Expected `int | null`, got `str`"),
    ({"command": None}, "Expected `str`, got `null`"),
    ({"command": "a", "argv": ["b"]}, "exactly one of"),
    ({"time_limit": 60, "time_limit_delta": 60}, "not both"),
    ({"parameters": {}, "parameter_changes": {"a": "1"}}, "not both"),
    ({"command": "a", "script_text": "b"}, "exactly one of"),
    ({"run_dir": "here"}, "is not an absolute path"),
    ({"time_limit_delta": 60}, "no time limit to add to"),
    ({"time_limit": 0}, "time limit"),
    ({"state": "Running"}, "unknown field `state`"),
    ({"submitted_by": "root"}, "unknown field `submitted_by`"),
    ({"early_signal": {"signal": 10, "secs_before": 5}}, "needs a time limit"),
    ({"depends_on": 1, "depends_on_ids": [2]}, "disagree"),
    ({"gpus": 2**80}, "at `$.gpus`"),
    ({"gpus": 1, "gpu_indices": [0, 1]}, "gpus is 1, but gpu_indices names 2"),
    ({"gpu_indices": [-1]}, "Invalid GPU index -1"),
    ({"gpu_indices": "0,1"}, "Expected `array | null`, got `str`"),
    ({"gpu_sharing_mode": "shared"}, "use Exclusive or Shared"),
    ({"retry_on_oom": 1}, "Expected `bool | null`, got `int`"),
]


async def test_changes_that_cannot_be_understood(house, job):
    for body, says in MALFORMED:
        before = await house.get(job)
        assert says in await house.refused("PATCH", job, body, status=400, code="malformed")
        assert await house.get(job) == before


IMPOSSIBLE = [
    ({"gpus": 99}, "asks for 99 GPUs"),
    ({"gpu_indices": [0, 2**53 - 1]}, "asks for GPU 9007199254740991, but gflow has only 0-3"),
    ({"gpu_sharing_mode": "Shared"}, "how much GPU memory it needs (--gpu-memory)"),
    ({"gpus": 2, "gpu_memory_limit_mb": 24577}, "2 GPUs with 24577M of memory each, but the largest here has 24G"),
    ({"command": " "}, "The command is empty"),
    ({"depends_on_ids": [77]}, "Dependency job 77 does not exist"),
    ({"depends_on": 2}, "wait for itself"),
    ({"scheduled_at": 1000}, "begin time is in the past"),
    ({"max_concurrent": 2}, "is in no group"),
    ({"priority": 1, "max_concurrent": None}, "is in no group"),
]


async def test_changes_that_could_never_be(house, job):
    for body, says in IMPOSSIBLE:
        before = await house.get(job)
        assert says in await house.refused("PATCH", job, body, status=422, code="impossible")
        assert await house.get(job) == before


async def test_a_running_job_takes_a_new_limit_and_nothing_else(house):
    job_id = await house.start(time_limit=600)
    answer = await house.ask("PATCH", f"/jobs/{job_id}", {"time_limit_delta": 60})
    assert answer["job"]["time_limit"]["secs"] == 660
    assert answer["job"]["state"] == "Running"
    sentence = await house.refused("PATCH", f"/jobs/{job_id}", {"priority": 1}, status=409, code="wrong_state")
    assert sentence == f"Job {job_id} is Running; only its limits of time and memory can be changed"
    await house.end(job_id)
    sentence = await house.refused("PATCH", f"/jobs/{job_id}", {"time_limit": 1}, status=409, code="wrong_state")
    assert sentence == f"Job {job_id} is Finished; cannot be updated"


async def test_a_limit_lowered_below_what_has_passed_strikes_at_once(house):
    job_id = await house.start(time_limit=600)
    await house.ask("PATCH", f"/jobs/{job_id}", {"time_limit": 0.001})
    assert (await house.get(f"/jobs/{job_id}/wait"))["state"] == "Timeout"


async def test_a_change_frees_a_job_that_waited_for_something(house):
    await house.start(gpus=4)
    job_id = await house.submit(gpus=1)
    await house.ask("PATCH", f"/jobs/{job_id}", {"gpus": 0})
    await eventually(lambda: job_id in house.launcher.running(), "the launch")


# -- groups ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def group(house):
    """A group of four jobs of which one may run."""
    body = {"defaults": house.request(max_concurrent=1), "jobs": [{}] * 4}
    await house.ask("POST", "/jobs/batch", body, 201)
    await eventually(lambda: house.launcher.running() == {1}, "the first")
    return house.engine.job(1).spec.group_id


async def test_a_higher_limit_of_a_group_starts_jobs(house, group):
    answer = await house.ask("POST", f"/groups/{group}/max-concurrency", {"max_concurrent": 3})
    assert answer == {"group_id": group, "max_concurrent": 3, "updated_jobs": 4}
    await eventually(lambda: house.launcher.running() == {1, 2, 3}, "two more")
    assert {record["max_concurrent"] for record in await house.get("/jobs")} == {3}


async def test_a_limit_of_a_group_is_lifted_by_null(house, group):
    await house.ask("POST", f"/groups/{group}/max-concurrency", {"max_concurrent": None})
    await eventually(lambda: house.launcher.running() == {1, 2, 3, 4}, "all of them")


async def test_a_limit_of_a_group_is_changed_through_any_of_its_jobs(house, group):
    answer = await house.ask("PATCH", "/jobs/4", {"max_concurrent": 2, "priority": 99})
    assert answer["updated_fields"] == ["priority", "max_concurrent"]
    assert (answer["job"]["max_concurrent"], answer["job"]["priority"]) == (2, 99)
    await eventually(lambda: house.launcher.running() == {1, 4}, "the one that is first now")


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_under_which_nothing_would_run_changes_nothing(house, group, limit):
    before = await house.get("/jobs")
    body = {"max_concurrent": limit}
    await house.refused("POST", f"/groups/{group}/max-concurrency", body, status=400, code="malformed")
    await house.refused("PATCH", "/jobs/4", {"priority": 1, **body}, status=400, code="malformed")
    assert await house.get("/jobs") == before


async def test_a_group_that_is_not_there(house):
    sentence = await house.refused(
        "POST", "/groups/nonsense/max-concurrency", {"max_concurrent": 1}, status=404, code="not_found"
    )
    assert sentence == "Group 'nonsense' does not exist"


@pytest.mark.parametrize("body", [{}, {"max_concurrent": "2"}, {"max_concurrent": 1, "x": 2}, 3])
async def test_limits_that_are_none(house, group, body):
    await house.refused("POST", f"/groups/{group}/max-concurrency", body, status=400, code="malformed")
