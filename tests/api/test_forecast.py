"""When waiting jobs are expected to start: in the queue, for all of them, and for one."""

import os

import pytest
import trio

from gflow.api import forecast as module
from gflow.api.callers import user_name
from gflow.core.forecast import Future
from support.desk import eventually

HOUR = 3600.0
OWNER = user_name(os.geteuid())


@pytest.fixture
def plays(monkeypatch):
    """One entry for each time the future was played."""
    found, real = [], Future.play
    monkeypatch.setattr(Future, "play", lambda self, awaited=None: found.append(awaited) or real(self, awaited))
    return found


async def blocked(house, **fields):
    """A job that waits for GPUs and has been found to."""
    job_id = await house.submit(gpus=4, **fields)
    await eventually(lambda: house.engine.ready.blocked(job_id) is not None, "the pass")
    return job_id


async def starts(house):
    return {one["id"]: one["expected_start"] for one in await house.get("/forecast")}


async def cells(house, columns):
    answer = await house.client.get(f"/queue?columns={columns}")
    return [line.split("\x1f") for line in answer.text.split("\n")[:-1]]


async def test_the_starts_of_the_queue(house, plays):
    first = await house.start(gpus=4, time_limit=HOUR)
    second = await blocked(house, time_limit=HOUR)
    third = await blocked(house)
    held = await house.submit(hold=True)
    began = house.engine.job(first).started_at
    told = await starts(house)
    assert told == {second: pytest.approx(began + HOUR, abs=1), third: pytest.approx(began + 2 * HOUR, abs=1)}
    shown = dict(await cells(house, "JOBID,START"))
    assert shown[str(held)] == "-"
    assert [shown[str(job_id)][0] for job_id in (first, second, third)] == ["2", "~", "~"]
    for job_id in (second, third):
        assert (await house.get(f"/jobs/{job_id}/why"))["expected_start"] == told[job_id]
    assert len(plays) == 1, "nothing has changed since"


async def test_it_is_played_anew_when_something_has_changed(house, plays):
    first = await house.start(gpus=4, time_limit=HOUR)
    waiting = await blocked(house)
    before = (await starts(house))[waiting]
    await house.ask("PATCH", f"/jobs/{first}", {"time_limit": HOUR / 2})
    assert (await starts(house))[waiting] == pytest.approx(before - HOUR / 2, abs=1)
    assert len(plays) == 2
    house.runtime.engine.resources.set_gpus(())
    assert await starts(house) == {}
    assert len(plays) == 3, "what a probe sees is no transaction"


async def test_it_is_not_kept_for_ever(house, plays, monkeypatch):
    await house.start(gpus=4, time_limit=HOUR)
    await blocked(house)
    monkeypatch.setattr(module, "KEPT_SECS", 0.0)
    assert (await starts(house)).keys() == (await starts(house)).keys()
    assert len(plays) == 2


async def test_a_plain_queue_plays_nothing(house, plays):
    await house.start(gpus=4, time_limit=HOUR)
    await blocked(house)
    await cells(house, "JOBID,NAME,ST,TIME,NODES,NODELIST(REASON)")
    await house.get("/jobs")
    assert plays == []


async def test_an_empty_queue_plays_nothing(house, plays):
    await house.start(gpus=4)
    assert await starts(house) == {}
    assert plays == []


async def test_it_is_played_once_for_many_who_ask_at_once(house, plays):
    await house.start(gpus=4, time_limit=HOUR)
    waiting = await blocked(house)
    found = []

    async def ask():
        found.append(await house.services.forecast.starts())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert [list(one) for one in found] == [[waiting]] * 5
    assert len(plays) == 1


async def test_who_goes_away_meanwhile_leaves_it_to_the_others(house):
    await house.start(gpus=4, time_limit=HOUR)
    waiting = await blocked(house)
    with trio.move_on_after(0) as scope:
        await house.services.forecast.starts()
    assert scope.cancelled_caught
    assert list(await house.services.forecast.starts()) == [waiting]


async def test_a_job_whose_begin_time_has_not_come(house):
    first = await house.start(gpus=4, time_limit=2 * HOUR)
    later = house.runtime.clock().wall + HOUR
    job_id = await house.submit(gpus=1, scheduled_at=later)
    assert await starts(house) == {}
    told = (await house.get(f"/jobs/{job_id}/why"))["expected_start"]
    assert told == pytest.approx(house.engine.job(first).started_at + 2 * HOUR, abs=1)


async def test_the_reason_in_words(house):
    await house.start(gpus=4)
    waiting = await house.submit(gpus=1)
    held = await house.submit(hold=True)
    await eventually(lambda: house.engine.ready.blocked(waiting) is not None, "the pass")
    shown = await cells(house, "JOBID,REASON,NODELIST(REASON)")
    assert shown[1:] == [[str(waiting), "Resources", "(Resources)"], [str(held), "On hold", "(JobHeldUser)"]]
    await house.ask("PUT", "/quotas", {"scope": "user", "name": OWNER, "limits": {"max_running_jobs": 1}})
    over = await house.submit()
    await eventually(lambda: house.engine.ready.blocked(over) == "WaitingForQuota", "the next pass")
    shown = await cells(house, "JOBID,REASON,NODELIST(REASON)")
    assert shown[-1] == [str(over), f"Quota of user {OWNER}: 1 job", "(Quota)"]


async def test_unknown_parameters_of_a_forecast(house):
    await house.refused("GET", "/forecast?limit=1", status=400, code="malformed")
