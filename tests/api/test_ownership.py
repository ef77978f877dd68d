"""Who may do what: the kernel says who calls, owners act on their own jobs, administrators on all."""

import os

import pytest

from gflow.api.callers import user_name
from gflow.core.groups import id_of
from gflow.daemon.peer import Peer

ANA, BEN = 20001, 20002


@pytest.fixture
async def job(house):
    """A running job of Ana's, while Ben calls."""
    await house.come_as(ANA)
    job_id = await house.start(time_limit=600)
    await house.come_as(BEN)
    return job_id


async def test_a_job_belongs_to_whoever_the_kernel_says(house):
    await house.come_as(ANA)
    answer = await house.client.post("/jobs", json=house.request(submitted_by="root"), headers={"X-User": "root"})
    assert answer.status_code == 201
    assert (await house.get("/jobs/1"))["submitted_by"] == f"uid:{ANA}"


async def test_names_come_from_the_users_of_the_machine(house):
    await house.come_as(0)
    await house.submit(hold=True)
    assert house.engine.job(1).spec.owner == "root"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/cancel", ...),
        ("POST", "/cancel?dry_run=1", ...),
        ("POST", "/hold", ...),
        ("POST", "/release", ...),
        ("POST", "/finish", ...),
        ("POST", "/fail", ...),
        ("PATCH", "", {"time_limit": 1}),
        ("GET", "/attach", ...),
    ],
)
async def test_others_may_not_touch_it(house, job, method, path, body):
    before = house.engine.job(job)
    sentence = await house.refused(method, f"/jobs/{job}{path}", body, status=403, code="forbidden")
    assert sentence == f"Job {job} belongs to uid:{ANA}; you are uid:{BEN}"
    assert house.engine.job(job) is before


async def test_others_may_look_at_it(house, job):
    for path in (f"/jobs/{job}", "/jobs", f"/jobs/{job}/why", f"/jobs/{job}/log", "/queue?columns=USER"):
        assert (await house.client.get(path)).status_code == 200


@pytest.mark.parametrize("uid", [0, os.geteuid(), ANA])
async def test_its_owner_and_administrators_may(house, job, uid):
    await house.come_as(uid)
    await house.ask("PATCH", f"/jobs/{job}", {"time_limit": 300})
    await house.get(f"/jobs/{job}/attach")
    await house.ask("POST", f"/jobs/{job}/cancel")
    record = await house.get(f"/jobs/{job}/wait")
    assert record["status_detail"] == f"cancelled by {user_name(uid)}"


async def test_only_administrators_raise_the_limit_of_a_running_job(house, job):
    await house.come_as(ANA)
    await house.ask("PATCH", f"/jobs/{job}", {"time_limit_delta": -60})
    for body in ({"time_limit_delta": 60}, {"time_limit": None}, {"time_limit": 10_000}):
        sentence = await house.refused("PATCH", f"/jobs/{job}", body, status=403, code="forbidden")
        assert sentence == f"Only an administrator may raise the time limit of running job {job}"
    await house.come_as(0)
    await house.ask("PATCH", f"/jobs/{job}", {"time_limit_delta": 60})


async def test_groups_are_their_owners_too(house):
    await house.come_as(ANA)
    await house.submit(group_id="ana-1", max_concurrent=5, hold=True)
    await house.come_as(BEN)
    for method, path, body in (
        ("POST", "/jobs", house.request(group_id="ana-1", hold=True)),
        ("POST", "/jobs", house.request(group_id="ana-1", max_concurrent=1, hold=True)),
        ("POST", "/jobs/batch", [house.request(hold=True), house.request(group_id="ana-1", hold=True)]),
    ):
        sentence = await house.refused(method, path, body, status=403, code="forbidden")
        says = f"Job 1 of this group belongs to uid:{ANA}, and only uid:{ANA} adds to it; you are uid:{BEN}"
        assert sentence == says
    limit = {"max_concurrent": 1}
    sentence = await house.refused("POST", "/groups/ana-1/max-concurrency", limit, status=403, code="forbidden")
    assert sentence == f"Job 1 belongs to uid:{ANA}; you are uid:{BEN}"
    assert list(house.engine.jobs) == [1]
    assert house.engine.groups["ana-1"].max_concurrent == 5
    await house.come_as(ANA)
    await house.submit(group_id="ana-1", hold=True)


async def test_an_administrator_changes_a_group_and_adds_nothing_to_it(house):
    await house.come_as(ANA)
    await house.start(group="sweep", max_concurrent=5, key="a")
    group_id = id_of(f"uid:{ANA}", "sweep")
    await house.end(1, 1)
    await house.come_as(0)
    await house.refused("POST", "/jobs", house.request(group_id=group_id), status=422, code="impossible")
    await house.ask("POST", f"/groups/{group_id}/max-concurrency", {"max_concurrent": 1})
    again = await house.ask("POST", "/jobs/1/redo", {}, 201)
    job = await house.get(f"/jobs/{again['id']}")
    assert (job["submitted_by"], job["group_id"], job["group"], job["key"]) == ("root", None, None, None)
    await house.come_as(ANA)
    await house.submit(group="sweep", hold=True)


async def test_nobody_is_in_the_group_of_anothers_name_before_him(house):
    group_id = id_of(f"uid:{ANA}", "sweep")
    await house.come_as(BEN)
    for form in (group_id, group_id.upper()):
        wanted = house.request(group_id=form, hold=True)
        sentence = await house.refused("POST", "/jobs", wanted, status=422, code="impossible")
        assert sentence == f"Group {form} has a name, or may get one: give that (group), or another group_id"
    await house.come_as(ANA)
    await house.submit(group="sweep", hold=True)
    await house.submit(group_id=group_id, hold=True)  # it is hers by now
    assert len(house.engine.members(group_id)) == 2


async def test_keep_alive_does_not_mix_callers_up(house):
    """Who calls is asked once for each connection, and a connection has one caller."""
    await house.come_as(ANA)
    first = house.client
    await house.submit(hold=True)
    house.peer, house.client = Peer(1, BEN, BEN), house.make_client()
    await house.submit(hold=True)
    answer = await first.post("/jobs", json=house.request(hold=True))
    assert answer.status_code == 201
    await first.aclose()
    owners = [house.engine.job(number).spec.owner for number in (1, 2, 3)]
    assert owners == [f"uid:{ANA}", f"uid:{BEN}", f"uid:{ANA}"]
