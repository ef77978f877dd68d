"""Where jobs run as their submitters: under whose user id, and what only he may have them do. Needs no root."""

import pytest

from gflow.core.errors import Impossible
from support.house import House
from support.ports import free_port

ANA, BEN = 20001, 20002


class Submitters:
    """All but ben can run jobs."""

    async def check(self, uid: int, name: str) -> None:
        if uid == BEN:
            raise Impossible(f"'{name}' has no shell")


@pytest.fixture
async def house(tmp_path):
    async with House(tmp_path, simulated_gpus=2, host="127.0.0.1", port=free_port()) as opened:
        opened.services.submitters = Submitters()
        await opened.come_as(ANA)
        yield opened


async def test_a_job_keeps_the_user_id_the_kernel_named(house):
    await house.submit(hold=True)
    (made,) = await house.ask("POST", "/jobs/batch", {"defaults": house.request(hold=True), "jobs": [{}]}, 201)
    assert [house.engine.job(job_id).spec.uid for job_id in (1, made["id"])] == [ANA, ANA]
    assert "uid" not in await house.get("/jobs/1")


async def test_nobody_claims_one(house):
    sentence = await house.refused("POST", "/jobs", house.request(uid=0), status=400, code="malformed")
    assert "uid" in sentence


async def test_who_could_not_run_it_is_told_at_once(house):
    await house.come_as(BEN)
    sentence = await house.refused("POST", "/jobs", house.request(), status=422, code="impossible")
    assert sentence.endswith("has no shell")
    assert not house.engine.jobs


async def test_a_name_without_a_user_id_runs_nothing(house):
    """A token of somebody who has no account here says who it is, and that is not enough."""
    await house.come_as(0)
    token = await house.token("alice")
    async with house.remote(token) as client:
        answer = await client.post("/jobs", json=house.request())
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert not house.engine.jobs


async def test_directories_are_not_looked_for(house):
    await house.submit(run_dir="/no/such/directory", hold=True)


@pytest.mark.parametrize(
    "change",
    [
        {"command": "id"},
        {"argv": ["id"]},
        {"script_text": "id"},
        {"run_dir": "/"},
        {"conda_env": "x"},
        {"parameters": {"a": "b"}},
        {"parameter_changes": {"a": "b"}},
        {"script_args": ["x"]},
        {"run_name": "$(id)"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_only_its_user_changes_what_a_job_runs(house, change):
    await house.submit(hold=True)
    before = house.engine.job(1)
    await house.come_as(0)
    sentence = await house.refused("PATCH", "/jobs/1", change, status=403, code="forbidden")
    assert f"runs as uid:{ANA}, who alone may change its" in sentence
    assert house.engine.job(1) is before


async def test_administrators_change_the_rest(house):
    await house.submit(hold=True)
    await house.come_as(0)
    await house.ask("PATCH", "/jobs/1", {"priority": 20, "project": "x"})
    assert house.engine.job(1).spec.priority == 20


async def test_only_its_user_does_a_job_again_or_comes_to_its_terminal(house):
    job_id = await house.start()
    await house.come_as(0)
    await house.refused("GET", f"/jobs/{job_id}/attach", status=403, code="forbidden")
    await house.come_as(ANA)
    await house.get(f"/jobs/{job_id}/attach")
    await house.end(job_id, 1)
    await house.come_as(0)
    await house.refused("POST", f"/jobs/{job_id}/redo", {}, status=403, code="forbidden")
    await house.come_as(ANA)
    again = await house.ask("POST", f"/jobs/{job_id}/redo", {"hold": True}, 201)
    assert house.engine.job(again["id"]).spec.uid == ANA


async def test_a_retry_is_under_the_same_user_id(house):
    job_id = await house.start(max_retries=1)
    await house.end(job_id, 1)
    assert house.engine.job(house.engine.job(job_id).retried_as).spec.uid == ANA


async def test_a_script_comes_as_text_only(house):
    body = house.request(script="/etc/hostname")
    sentence = await house.refused("POST", "/jobs", body, status=422, code="impossible")
    assert "script_text" in sentence
    await house.submit(script="/etc/hostname", script_text="id", hold=True)
