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
