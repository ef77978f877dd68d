"""The queue has an end; nobody fills it for all."""

import os

import pytest

from gflow.api import room

ANA, BEN = 4001, 4002


@pytest.fixture
def small(house, monkeypatch):
    """Room for eight jobs, two of them kept for administrators, and three of one user."""
    monkeypatch.setattr(room, "MOST", 8)
    monkeypatch.setattr(room, "KEPT", 2)
    monkeypatch.setattr(room, "OF_ONE", 3)
    return house


async def full(house, *, who=None, jobs=1):
    """The sentence by which so many more jobs are refused."""
    batch = [house.request(hold=True) for _ in range(jobs)]
    said = await house.refused("POST", "/jobs/batch", batch, status=429, code="too_many")
    assert who is None or f"of {who} wait" in said
    return said


async def test_one_user_has_his_share(small):
    await small.come_as(ANA)
    await small.ask("POST", "/jobs/batch", [small.request(hold=True)] * 2, 201)
    await full(small, who="uid:4001", jobs=2)
    last = await small.submit(hold=True)
    answer = await small.client.post("/jobs", json=small.request())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    await small.ask("POST", f"/jobs/{last}/cancel")
    await small.submit(hold=True)
    await small.refused("POST", "/jobs?dry_run=1", small.request(), status=429, code="too_many")
    await small.refused("POST", f"/jobs/{last}/redo", {}, status=429, code="too_many")


async def test_all_users_leave_room_for_administrators(small):
    for uid in (ANA, BEN):
        await small.come_as(uid)
        for _ in range(3):
            await small.submit(hold=True)
    await small.come_as(4003)
    assert "6 jobs wait, and at most 6 may" in await full(small)
    await small.come_as(os.geteuid())
    for _ in range(2):
        await small.submit(hold=True)
    assert "8 jobs wait" in await full(small)


async def test_a_repeated_submission_is_answered_however_full_it_is(small):
    await small.come_as(ANA)
    ids = [await small.submit(hold=True, submit_key=str(number)) for number in range(3)]
    assert await small.submit(hold=True, submit_key="1") == ids[1]


async def heavy_refused(house, **request):
    return await house.refused("POST", "/jobs", house.request(**request), status=429, code="too_many")


async def test_what_waiting_jobs_keep_in_memory_has_an_end_for_each_user(house, monkeypatch):
    monkeypatch.setattr(room, "MEMORY_OF_ONE", 100_000)
    await house.come_as(ANA)
    first = await house.submit(hold=True, command=None, argv=["true", "x" * 60_000], submit_key="first")
    second = await house.submit(hold=True, command=None, argv=["true", "x" * 60_000])
    said = await heavy_refused(house)
    assert "what the jobs of uid:4001 were given, lately ended ones included, takes all memory it may" in said
    assert await house.submit(hold=True, submit_key="first") == first
    await house.refused("PATCH", f"/jobs/{second}", {"argv": ["x"]}, status=429, code="too_many")
    await house.ask("PATCH", f"/jobs/{second}", {"priority": 5})
    await house.come_as(BEN)
    await house.submit()
    await house.come_as(os.geteuid())
    await house.submit()


async def test_so_have_scripts_and_environments_on_disk(house, monkeypatch):
    monkeypatch.setattr(room, "FILES_OF_ONE", 10_000)
    await house.come_as(ANA)
    for text in ("#!/bin/sh\n# " + "a" * 6_000, "#!/bin/sh\n# " + "a" * 6_000, "#!/bin/sh\n# " + "b" * 6_000):
        await house.submit(command=None, script_text=text, hold=True)  # the same text is kept once
    assert "the scripts and environments of the jobs of uid:4001" in await heavy_refused(house)
    await house.come_as(BEN)
    monkeypatch.setattr(room, "FILES", 10_000)
    assert "the scripts and environments of the jobs of all users" in await heavy_refused(house)


async def test_what_is_only_tried_is_not_stored(house):
    before = house.spool.total_bytes()
    await house.ask("POST", "/jobs?dry_run=1", house.request(command=None, script_text="#!/bin/sh\ntrue"), 200)
    assert house.spool.total_bytes() == before


async def test_not_everything_waits_for_one_job(house, monkeypatch):
    monkeypatch.setattr(room, "WAITING_FOR_ONE", 3)
    await house.come_as(ANA)
    first = await house.submit(hold=True)
    after = {"depends_on_ids": [first]}
    await house.ask("POST", "/jobs/batch", [house.request(**after)] * 2, 201)
    batch = [house.request(**after)] * 2
    said = await house.refused("POST", "/jobs/batch", batch, status=429, code="too_many")
    assert f"2 jobs wait for job {first}, and at most 3 may" in said
    last = await house.submit(**after)
    other = await house.submit()
    await house.refused("PATCH", f"/jobs/{other}", after, status=429, code="too_many")
    await house.ask("PATCH", f"/jobs/{last}", after)
    await house.come_as(os.geteuid())
    await house.submit(**after)
