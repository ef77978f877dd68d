"""Quotas over the API: what counts for whom, what is used, and changing it at run time."""

import os

import pytest

from gflow import config
from gflow.api.callers import user_name
from support.desk import eventually
from support.house import House

ANA = 12345
OWNER = user_name(os.geteuid())


def row(told, scope, name=""):
    """One of the rows told."""
    (found,) = [one for one in told["quotas"] if (one["scope"], one["name"]) == (scope, name)]
    return found


async def put(house, scope, name=None, expect=200, **limits):
    return await house.ask("PUT", "/quotas", {"scope": scope, "name": name, "limits": limits}, expect)


async def test_nothing_is_limited_to_begin_with(house):
    told = await house.get("/quotas")
    nothing = {"limits": {}, "running_jobs": 0, "running_gpus": 0, "queued_jobs": 0}
    defaults = [{"scope": f"default_{scope}", "name": "", **nothing} for scope in ("user", "project")]
    assert told == {"overrides": {}, "configured": {}, "quotas": defaults}


async def test_what_everybody_uses_is_told(house):
    await house.start(gpus=2, project="vision")
    await house.submit(hold=True, project="vision")
    await house.come_as(ANA)
    await house.submit(hold=True)
    told = await house.get("/quotas")
    assert [(one["scope"], one["name"]) for one in told["quotas"]] == [
        *[
            ("user", OWNER),
            ("user", f"uid:{ANA}"),
            ("project", "vision"),
            ("default_user", ""),
            ("default_project", ""),
        ]
    ]
    used = {"running_jobs": 1, "running_gpus": 2, "queued_jobs": 1}
    assert row(told, "user", OWNER) == {"scope": "user", "name": OWNER, "limits": {}, **used}
    assert row(told, "project", "vision") == {"scope": "project", "name": "vision", "limits": {}, **used}
    assert row(told, "user", f"uid:{ANA}")["queued_jobs"] == 1


async def test_a_change_at_run_time_counts_at_once_and_after_a_restart(tmp_path):
    async with House(tmp_path, simulated_gpus=4) as house:
        overrides = {"users": {OWNER: {"max_running_jobs": 1}}}
        told = await put(house, "user", OWNER, max_running_jobs=1)
        assert told == {"scope": "user", "name": OWNER, "overrides": overrides}
        await house.start()
        waiting = await house.submit()
        assert (await house.get(f"/jobs/{waiting}"))["reason"] == "WaitingForQuota"
        told = await put(house, "user", OWNER, max_queued_jobs=1)
        overrides["users"][OWNER]["max_queued_jobs"] = 1
        assert told["overrides"] == overrides, "what is not given stays"
        sentence = await house.refused("POST", "/jobs", house.request(), status=422, code="over_quota")
        assert sentence == f"quota exceeded for user '{OWNER}': 2/1 queued jobs"
    async with House(tmp_path, house.launcher, simulated_gpus=4) as house:
        told = await house.get("/quotas")
        assert told["overrides"] == overrides
        assert row(told, "user", OWNER)["limits"] == {"max_running_jobs": 1, "max_queued_jobs": 1}
        assert house.engine.job(waiting).state.value == "Queued"
        told = await house.ask("DELETE", f"/quotas?scope=user&name={OWNER}")
        assert told == {"scope": "user", "name": OWNER, "removed": True, "overrides": {}}
        await eventually(lambda: house.engine.job(waiting).state.value == "Running", "the start")


async def test_configured_limits_are_told_with_what_counts(tmp_path):
    limits = config.QuotaLimits
    quota = config.Quota(
        default_user=limits(max_running_jobs=5, max_running_gpus=2), users={"ana": limits(max_running_gpus=3)}
    )
    async with House(tmp_path, simulated_gpus=4, quota=quota) as house:
        await put(house, "default_user", max_running_gpus=1)
        told = await house.get("/quotas")
        assert told["configured"] == {
            "users": {"ana": {"max_running_gpus": 3}},
            "default_user": {"max_running_jobs": 5, "max_running_gpus": 2},
        }
        assert told["overrides"] == {"default_user": {"max_running_gpus": 1}}
        assert row(told, "user", "ana")["limits"] == {"max_running_jobs": 5, "max_running_gpus": 3}
        assert row(told, "default_user")["limits"] == {"max_running_jobs": 5, "max_running_gpus": 1}
        sentence = await house.refused("POST", "/jobs", house.request(gpus=2), status=422, code="over_quota")
        assert sentence == f"quota of user '{OWNER}': a job of 2 GPUs is more than the 1 allowed"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"scope": "user", "name": "ana"},
        {"scope": "user", "name": "ana", "limits": {}},
        {"scope": "user", "name": "ana", "limits": {"max_running_gpus": None}},
        {"scope": "user", "name": "ana", "limits": {"max_running_gpus": -1}},
        {"scope": "user", "name": "ana", "limits": {"max_running_gpus": 10**7}},
        {"scope": "user", "name": "ana", "limits": {"max_gpus": 1}},
        {"scope": "user", "limits": {"max_running_gpus": 1}},
        {"scope": "user", "name": " ", "limits": {"max_running_gpus": 1}},
        {"scope": "default_user", "name": "ana", "limits": {"max_running_gpus": 1}},
        {"scope": "group", "name": "ana", "limits": {"max_running_gpus": 1}},
        {"scope": "user", "name": "ana", "limits": {"max_running_gpus": 1}, "until": 0},
    ],
)
async def test_what_cannot_be_meant_is_refused(house, body):
    await house.refused("PUT", "/quotas", body, status=400, code="malformed")
    assert (await house.get("/quotas"))["overrides"] == {}


@pytest.mark.parametrize("asked", ["", "scope=user", "scope=group&name=ana", "scope=user&name=ana&all=1"])
async def test_what_cannot_be_removed(house, asked):
    await house.refused("DELETE", f"/quotas?{asked}", status=400, code="malformed")


async def test_what_was_not_set_cannot_be_removed(house):
    for asked in ("scope=user&name=ana", "scope=default_project"):
        sentence = await house.refused("DELETE", f"/quotas?{asked}", status=404, code="not_found")
        assert sentence == "no matching quota override"


async def test_only_administrators_change_quotas(house):
    await house.come_as(ANA)
    body = {"scope": "user", "name": "ana", "limits": {"max_running_gpus": 1}}
    for method, path, sent in (("PUT", "/quotas", body), ("DELETE", "/quotas?scope=user&name=ana", ...)):
        sentence = await house.refused(method, path, sent, status=403, code="forbidden")
        assert sentence == f"Only an administrator may change quotas; you are uid:{ANA}"
    assert (await house.get("/quotas"))["overrides"] == {}
