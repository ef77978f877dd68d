"""POST /jobs and POST /jobs/batch."""

import errno
import os
import stat

import pytest
import trio

from gflow.api import spooled
from gflow.core.model import DependencyMode
from gflow.launch.script import render_environment
from support.desk import eventually
from support.house import House


async def refused(house, status, code, **fields):
    """Nothing is queued, and the sentence says why."""
    sentence = await house.refused("POST", "/jobs", house.request(**fields), status=status, code=code)
    assert house.engine.jobs == {}
    assert not house.spool._pins
    return sentence


# -- what is queued --------------------------------------------------------------------------------------------------


async def test_the_answer_names_the_job(house):
    answer = await house.ask("POST", "/jobs", house.request(run_name="train"), 201)
    assert answer == {"id": 1, "run_name": "train", "dropped_env": []}
    answer = await house.ask("POST", "/jobs", house.request(), 201)
    assert answer["id"] == 2
    assert answer["run_name"].count("-") == 2, "made up: adjective, noun, number"


async def test_every_field_reaches_the_job(house):
    await house.submit(hold=True)
    await house.submit(hold=True)
    later = house.runtime.clock().wall + 3600
    await house.submit(
        command="python train.py",
        umask=0o27,
        run_name="train",
        project="vision",
        conda_env="torch",
        gpus=2,
        gpu_sharing_mode="Shared",
        gpu_memory_limit_mb=4096,
        gpu_indices=[3, 1],
        retry_on_oom=True,
        memory_limit_mb=512,
        priority=20,
        depends_on_ids=[1, 2],
        dependency_mode="Any",
        auto_cancel_on_dependency_failure=False,
        task_id=3,
        group_id="7f2c1f6e-2f7c-4a43-8a53-dcb1a4a9a9c0",
        max_concurrent=2,
        parameters={"lr": "0.1"},
        time_limit={"secs": 90, "nanos": 500_000_000},
        early_signal={"signal": 10, "secs_before": 30},
        max_retries=2,
        auto_close_tmux=True,
        keep_session=True,
        scheduled_at=later,
        submit_key="k",
    )
    spec = house.engine.job(3).spec
    assert (spec.command, spec.run_dir, spec.umask, spec.name) == ("python train.py", str(house.root), 0o27, "train")
    assert (spec.project, spec.conda_env, spec.gpus, spec.shared) == ("vision", "torch", 2, True)
    assert (spec.gpu_indices, spec.retry_on_oom) == ((1, 3), True)
    assert (spec.gpu_memory_mb, spec.memory_mb, spec.priority) == (4096, 512, 20)
    assert (spec.depends_on, spec.dependency_mode, spec.auto_cancel) == ((1, 2), DependencyMode.ANY, False)
    assert (spec.task_id, spec.group_id[:8], house.engine.groups[spec.group_id].max_concurrent) == (3, "7f2c1f6e", 2)
    assert (spec.parameters, spec.time_limit_secs, spec.max_retries) == ({"lr": "0.1"}, 90.5, 2)
    assert (spec.early_signal.signal, spec.early_signal.secs_before) == (10, 30)
    assert (spec.auto_close, spec.keep_session, spec.begin_at, spec.submit_key) == (True, True, later, "k")


async def test_a_job_without_wishes_has_the_defaults(house):
    await house.submit()
    spec = house.engine.job(1).spec
    assert (spec.priority, spec.gpus, spec.auto_cancel, spec.max_retries) == (10, 0, True, 0)
    assert (spec.time_limit_secs, spec.environment, spec.depends_on, spec.submit_key) == (None, None, (), None)


@pytest.mark.parametrize(
    "work",
    [
        {"command": "make data && python train.py | tee 'out put.txt' # done"},
        {"argv": ["python", "-c", "print('{a}', \"$HOME\")", "", "ü", "\udcff", ";", "line\nbreak"]},
        {"script_text": "#!/bin/sh\necho hi\n", "script_args": ["--lr", "0.1", ""]},
    ],
)
async def test_every_character_of_the_work_is_kept(house, work):
    await house.submit(**work, hold=True)
    spec = house.engine.job(1).spec
    record = await house.get("/jobs/1")
    assert spec.command == work.get("command")
    assert list(spec.argv or ()) == work.get("argv", [])
    assert record["argv"] == work.get("argv")
    assert record["script_args"] == work.get("script_args", [])


async def test_the_text_of_a_script_is_taken_at_submission(house, tmp_path):
    script = tmp_path / "train me.sh"
    script.write_text("echo one\n")
    for path in (str(script), "train me.sh"):
        await house.submit(script=path, hold=True)
    script.write_text("echo two\n")
    first, second = house.engine.job(1).spec, house.engine.job(2).spec
    assert first.script_digest == second.script_digest
    assert house.spool.path("script", first.script_digest).read_text() == "echo one\n"
    assert (first.script, second.script) == (str(script), "train me.sh")
    await house.submit(script=str(script), script_text="echo three\n", hold=True)
    assert house.spool.path("script", house.engine.job(3).spec.script_digest).read_text() == "echo three\n"


async def test_an_environment_is_kept_once_in_a_private_file_and_nowhere_else(house):
    variables = {"PATH": "/bin", "SECRET": "hunter2", "BYTES": "\udcff", "LINES": "a\nb"}
    for _ in range(2):
        await house.submit(environment=variables, hold=True)
    digests = {house.engine.job(number).spec.environment for number in (1, 2)}
    (digest,) = digests
    path = house.spool.path("env", digest)
    assert path.read_bytes() == render_environment(variables)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "hunter2" not in str(await house.get("/jobs"))
    assert b"hunter2" not in b"".join(file.read_bytes() for file in house.data_dir.glob("wal-*"))


async def test_dropped_variables_are_named_and_not_kept(tmp_path):
    async with House(tmp_path, env_drop=["GFLOW_TOKEN", "*_SECRET"]) as house:
        variables = {"A": "1", "GFLOW_TOKEN": "t", "X_SECRET": "s"}
        for _ in range(2):  # the second time the environment is known already
            answer = await house.ask("POST", "/jobs", house.request(environment=variables, hold=True), 201)
            assert answer["dropped_env"] == ["GFLOW_TOKEN", "X_SECRET"]
        kept = house.spool.path("env", house.engine.job(2).spec.environment).read_bytes()
        assert kept == render_environment({"A": "1"})


async def test_a_group_is_made_for_jobs_that_ask_for_a_limit_without_naming_one(house):
    body = {"defaults": house.request(max_concurrent=2, hold=True), "jobs": [{}, {}, {}]}
    await house.ask("POST", "/jobs/batch", body, 201)
    (group_id,) = {job.spec.group_id for job in house.engine.jobs.values()}
    assert house.engine.groups[group_id].max_concurrent == 2
    await house.submit(max_concurrent=1, hold=True)
    assert house.engine.job(4).spec.group_id != group_id


async def test_blanks_around_names_do_not_count(house):
    await house.submit(run_name="  train ", project="   ", conda_env="", hold=True)
    record = await house.get("/jobs/1")
    assert (record["run_name"], record["project"], record["conda_env"]) == ("train", None, None)


# -- batches ---------------------------------------------------------------------------------------------------------


async def test_a_batch_is_a_list_or_defaults_and_what_differs(house):
    plain = await house.ask("POST", "/jobs/batch", [house.request(), house.request(priority=3)], 201)
    assert [made["id"] for made in plain] == [1, 2]
    defaults = house.request(priority=7, task_id=0, environment={"A": "1"})
    body = {"defaults": defaults, "jobs": [{"task_id": 1}, {"task_id": 2, "priority": 9, "environment": {}}, {}]}
    made = await house.ask("POST", "/jobs/batch", body, 201)
    assert [(set(one), one["id"]) for one in made] == [({"id", "run_name", "dropped_env"}, n) for n in (3, 4, 5)]
    specs = [house.engine.job(number).spec for number in (3, 4, 5)]
    assert [(spec.task_id, spec.priority) for spec in specs] == [(1, 7), (2, 9), (0, 7)]
    assert specs[0].environment == specs[2].environment != specs[1].environment


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        ({"gpus": 99}, 422, "impossible"),
        ({"priority": 256}, 400, "malformed"),
        ({"depends_on": 77}, 422, "impossible"),
        ({"script": "missing.sh", "command": None}, 422, "impossible"),
        ({"nonsense": 1}, 400, "malformed"),
        ({"max_concurrent": 0}, 400, "malformed"),
    ],
)
async def test_one_bad_job_and_nothing_is_queued(house, bad, status, code):
    body = {"defaults": house.request(environment={"A": "1"}), "jobs": [*[{}] * 5, bad, *[{}] * 5]}
    await house.refused("POST", "/jobs/batch", body, status=status, code=code)
    assert house.engine.jobs == {}
    assert house.engine.groups == {}
    assert not house.spool._pins
    assert await house.submit() == 1, "and no id is used up"


async def test_a_batch_of_a_thousand_and_not_one_more(house):
    body = {"defaults": house.request(hold=True), "jobs": [{"task_id": number} for number in range(1000)]}
    made = await house.ask("POST", "/jobs/batch", body, 201)
    assert [one["id"] for one in made] == list(range(1, 1001))
    body["jobs"].append({})
    sentence = await house.refused("POST", "/jobs/batch", body, status=413, code="too_large")
    assert sentence == "Batch size exceeds maximum of 1000 jobs"


@pytest.mark.parametrize(
    "body", [{}, [], "x", 7, None, {"jobs": []}, {"jobs": [], "defaults": []}, [1], [[]], {"defaults": {}, "jobs": {}}]
)
async def test_what_is_no_batch_is_refused(house, body):
    await house.refused("POST", "/jobs/batch", body, status=400, code="malformed")


async def test_a_short_request_cannot_blow_up(house):
    """The defaults of a batch are written out for each of its jobs."""
    body = {"defaults": house.request(argv=["x"] + [""] * 500_000), "jobs": [{}] * 1000}
    sentence = await house.refused("POST", "/jobs/batch", body, status=413, code="too_large")
    assert "put long texts into a script" in sentence
    text = {"defaults": house.request(script_text="#" * 3_000_000, environment={"A": "x" * 100_000}, hold=True)}
    assert len(await house.ask("POST", "/jobs/batch", {**text, "jobs": [{}] * 1000}, 201)) == 1000


# -- asking twice ----------------------------------------------------------------------------------------------------


async def test_the_same_key_is_the_same_job(house):
    first = await house.ask("POST", "/jobs", house.request(submit_key="k", run_name="one"), 201)
    again = await house.ask("POST", "/jobs", house.request(submit_key="k", run_name="two"), 201)
    assert again == first
    assert list(house.engine.jobs) == [1]
    assert await house.submit(submit_key="other") == 2


async def test_an_empty_key_is_none(house):
    assert [await house.submit(submit_key="") for _ in range(2)] == [1, 2]
    body = {"defaults": house.request(submit_key=""), "jobs": [{}, {}]}
    assert [job["id"] for job in await house.ask("POST", "/jobs/batch", body, 201)] == [3, 4]


async def test_the_same_key_is_the_same_job_after_a_restart_and_after_its_end(tmp_path):
    async with House(tmp_path) as house:
        job_id = await house.start(submit_key="k")
        await house.end(job_id)
    async with House(tmp_path, house.launcher) as again:
        assert await again.submit(submit_key="k") == job_id


async def test_the_same_key_of_another_user_is_another_job(house):
    assert await house.submit(submit_key="k") == 1
    await house.come_as(12345)
    assert await house.submit(submit_key="k") == 2


async def test_the_same_key_again_though_the_directory_is_gone(house, tmp_path):
    directory = tmp_path / "gone"
    directory.mkdir()
    assert await house.submit(submit_key="k", run_dir=str(directory)) == 1
    directory.rmdir()
    assert await house.submit(submit_key="k", run_dir=str(directory)) == 1


async def test_a_batch_with_keys_can_be_sent_again(house):
    body = {"defaults": house.request(), "jobs": [{"submit_key": f"k{number}"} for number in range(3)]}
    first = await house.ask("POST", "/jobs/batch", body, 201)
    body["jobs"].append({"submit_key": "k3"})
    again = await house.ask("POST", "/jobs/batch", body, 201)
    assert again[:3] == first
    assert [made["id"] for made in again] == [1, 2, 3, 4]


# -- what is refused -------------------------------------------------------------------------------------------------


MALFORMED = [
    ({"command": None}, "exactly one of command, argv, script and script_text"),
    ({"argv": ["true"], "command": "true"}, "exactly one of"),
    ({"run_dir": None}, "run_dir is missing"),
    ({"priority": 256}, "use 0 to 255"),
    ({"priority": "high"}, "Expected `int`, got `str` - at `$.priority`"),
    ({"priority": True}, "Expected `int`, got `bool`"),
    ({"gpus": 1.5}, "Expected `int`, got `float`"),
    ({"gpus": -1}, "Invalid GPU count -1"),
    ({"gpus": 2**70}, "at `$.gpus`"),
    ({"gpus": 3, "gpu_indices": [0, 1]}, "gpus is 3, but gpu_indices names 2"),
    ({"gpu_indices": [0, -2]}, "Invalid GPU index -2"),
    ({"gpu_indices": [0.5]}, "Expected `int`, got `float`"),
    ({"gpu_indices": [2**70]}, "at `$.gpu_indices[0]`"),
    ({"retry_on_oom": None}, "Expected `bool`, got `null`"),
    ({"task_id": 2**64}, "at `$.task_id`"),
    ({"redone_from": 2**64}, "at `$.redone_from`"),
    ({"time_limit": 0}, "time limit"),
    ({"time_limit": -5}, "time limit"),
    ({"time_limit": 1e300}, "time limit"),
    ({"time_limit": {"secs": 10**400}}, "at `$.time_limit.secs`"),
    ({"time_limit": {"secs": 1, "days": 2}}, "unknown field `days`"),
    ({"max_retries": -1}, "max_retries"),
    ({"memory_limit_mb": 0}, "memory request"),
    ({"umask": 0o1000}, "Invalid umask"),
    ({"gpu_sharing_mode": "Maybe"}, "use Exclusive or Shared"),
    ({"dependency_mode": "Some"}, "Invalid enum value 'Some'"),
    ({"depends_on": 1, "depends_on_ids": [2]}, "disagree"),
    ({"max_concurrent": 0}, "use 1 or more"),
    ({"early_signal": {"signal": 10, "secs_before": 5}}, "needs a time limit"),
    ({"early_signal": {"signal": 999, "secs_before": 5}, "time_limit": 60}, "Invalid signal 999"),
    ({"parameters": {"a b": "1"}}, "Invalid parameter name 'a b'"),
    ({"parameters": {"a": 1}}, "Expected `str`, got `int`"),
    ({"environment": ["A=1"]}, "environment is an object of strings"),
    ({"environment": {"A": 1}}, "environment is an object of strings"),
    ({"environment": {"A": "\0"}}, "environment"),
    ({"command": "echo \0"}, "NUL"),
    ({"run_name": "a\nb"}, "Invalid name"),
    ({"project": "p" * 65}, "Invalid project"),
    ({"colour": "red"}, "unknown field `colour`"),
]


async def test_what_cannot_be_understood(house):
    for fields, says in MALFORMED:
        assert says in await refused(house, 400, "malformed", **fields)


IMPOSSIBLE = [
    ({"command": ""}, "The command is empty"),
    ({"command": " \n"}, "The command is empty"),
    ({"argv": []}, "The command is empty"),
    ({"argv": [""]}, "The command is empty"),
    ({"command": "x" * 200_000}, "longer than 128 KiB"),
    ({"script_text": "  \n"}, "is empty"),
    ({"script": "missing.sh"}, "cannot be read: No such file"),
    ({"script": "/dev/zero"}, "is not a regular file"),
    ({"script": "."}, "cannot be read: Is a directory"),
    ({"gpus": 5}, "asks for 5 GPUs, but this machine has 4"),
    ({"gpus": 1, "gpu_sharing_mode": "Shared"}, "how much GPU memory"),
    ({"gpus": 1, "gpu_sharing_mode": "Shared", "gpu_memory_limit_mb": 10**6}, "but the largest here has 24G"),
    ({"gpu_indices": [1, 4]}, "asks for GPU 4, but gflow has only 0-3"),
    ({"memory_limit_mb": 2**33}, "of memory, but this machine has"),
    ({"depends_on": 99}, "Dependency job 99 does not exist"),
    ({"scheduled_at": 1000}, "begin time is in the past"),
    ({"scheduled_at": 1e300}, "more than ten years away"),
    ({"scheduled_at": {"secs_since_epoch": 2**53 - 1}}, "more than ten years away"),
    ({"run_dir": "/no/such/directory"}, "'/no/such/directory' does not exist"),
]


async def test_what_could_never_be_done(house):
    for fields, says in IMPOSSIBLE:
        work = {"command": None} if fields.keys() & {"argv", "script", "script_text"} else {}
        assert says in await refused(house, 422, "impossible", **(work | fields))


async def test_half_a_surrogate_pair_stands_for_nothing(house):
    for body in (b'{"command": "\\ud800"}', b'{"command": "\\uD800x"}', b'{"command": "\xed\xa0\x80"}'):
        sentence = await house.refused("POST", "/jobs", body, status=400, code="malformed")
        assert "not valid JSON" in sentence
    await house.submit(command="echo \U0001f600 \ud55c\uad6d", hold=True)
    assert house.engine.job(1).spec.command == "echo \U0001f600 \ud55c\uad6d"


async def test_a_named_pipe_is_not_waited_for(house, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with trio.fail_after(10):
        assert "not a regular file" in await refused(house, 422, "impossible", script="pipe", command=None)


async def test_a_script_that_is_too_long(house, monkeypatch):
    monkeypatch.setattr(spooled, "MAX_SCRIPT_BYTES", 1 << 20)
    assert "longer than 1 MiB" in await refused(
        house, 422, "impossible", script_text="#" * (1 << 20) + "x", command=None
    )


# -- what follows ----------------------------------------------------------------------------------------------------


async def test_a_job_is_started_at_once(house):
    job_id = await house.start(gpus=2)
    assert house.launcher.calls == [("launch", job_id)]
    assert house.engine.job(job_id).gpu_ids == (0, 1)


async def test_a_job_on_hold_is_not_started(house):
    await house.submit(hold=True)
    await house.start()
    assert house.launcher.calls == [("launch", 2)]
    assert (await house.get("/jobs/1"))["state"] == "Hold"


async def test_a_job_that_depends_on_a_failure_is_cancelled_at_once(house):
    job_id = await house.start()
    await house.end(job_id, 1)
    await house.submit(depends_on=job_id)
    record = await house.get("/jobs/2")
    assert (record["state"], record["reason"]) == ("Cancelled", {"DependencyFailed": 1})
    await house.submit(depends_on=job_id, auto_cancel_on_dependency_failure=False)
    assert (await house.get("/jobs/3"))["state"] == "Queued"


@pytest.mark.parametrize(
    ("fields", "what"), [({"environment": {"A": "1"}}, "environment"), ({"script_text": "true\n"}, "script")]
)
async def test_a_spool_that_cannot_be_written(house, monkeypatch, fields, what):
    def full(kind, data):
        raise OSError(errno.ENOSPC, "No space left on device", "/x")

    with monkeypatch.context() as patch:
        patch.setattr(house.spool, "put", full)
        says = await house.refused("POST", "/jobs", house.request(**fields), status=503, code="unavailable")
        assert says == f"The {what} of the job cannot be stored in /x: No space left on device"
        assert house.engine.jobs == {}
    assert await house.submit(**fields) == 1


@pytest.mark.parametrize("kind", ["task_id", "parameters"])
async def test_the_jobs_of_an_array_or_a_sweep_are_a_group_without_a_limit(house, kind):
    tasks = [house.request(**{kind: n if kind == "task_id" else {"n": str(n)}}) for n in (1, 2)]
    made = await house.ask("POST", "/jobs/batch", [*tasks, house.request()], 201)
    first, second, other = [house.engine.job(one["id"]).spec.group_id for one in made]
    assert first == second is not None
    assert other is None
    (alone,) = await house.ask("POST", "/jobs/batch", tasks[:1], 201)
    assert house.engine.job(alone["id"]).spec.group_id is None
    for job_id in house.engine.members(first):
        await eventually(lambda job_id=job_id: house.engine.job(job_id).started_boot is not None, "the launch")
        await house.end(job_id, 0)
    assert house.runtime.latest_events(1)[0][1].kind == "group_completed"
