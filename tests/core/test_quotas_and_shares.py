"""Quotas, fair share and projects: who may have how much, and who comes first."""

from collections.abc import Callable
from typing import Any

import pytest

from gflow.core import quotas
from gflow.core.errors import Impossible, Malformed, NotFound, OverQuota
from gflow.core.fairshare import START_SECS, FairShare
from gflow.core.model import Now, ReasonKind
from gflow.core.placement import keep_order
from gflow.core.policy import Policy
from gflow.core.quotas import Limits, Table
from support.jobs import DAY, HOUR, Bench, spec

MakeBench = Callable[..., Bench]


def kind(bench: Bench, job_id: int) -> ReasonKind | None:
    reason = bench.reason(job_id)
    return reason.kind if reason is not None else None


def ended(bench: Bench, *job_ids: int) -> None:
    for job_id in job_ids:
        bench.end(job_id)
        assert bench.told() == [("completed", job_id)]


# -- quotas ------------------------------------------------------------------------------------------------------------


def test_running_jobs_and_gpus_of_a_user_are_bounded(make_bench: MakeBench) -> None:
    bench = make_bench(4, quotas=Table(users={"ana": Limits(max_running_jobs=2, max_running_gpus=2)}))
    first, second = bench.running(gpus=1), bench.running()
    third = bench.queued(gpus=1)
    other = bench.queued(owner="ben", gpus=1)
    bench.starts(other)
    assert kind(bench, third) is ReasonKind.QUOTA
    ended(bench, second)
    fourth = bench.queued(gpus=2)
    bench.starts(third)
    assert kind(bench, fourth) is ReasonKind.QUOTA
    ended(bench, first, third)
    bench.starts(fourth)


def test_a_projects_quota_counts_over_its_users(make_bench: MakeBench) -> None:
    bench = make_bench(4, quotas=Table(projects={"p": Limits(max_running_gpus=2)}))
    bench.running(gpus=2, project="p")
    waiting = bench.queued(gpus=1, project="p", owner="ben")
    free = bench.queued(gpus=1, owner="ben")
    bench.starts(free)
    assert kind(bench, waiting) is ReasonKind.QUOTA


@pytest.mark.parametrize(
    ("table", "override", "allowed"),
    [
        (Table(default_user=Limits(1)), Table(), 1),
        (Table(default_user=Limits(1), users={"ana": Limits(3)}), Table(), 3),
        (Table(users={"ana": Limits(3)}), Table(default_user=Limits(1)), 3),
        (Table(default_user=Limits(3)), Table(default_user=Limits(2)), 2),
        (Table(users={"ana": Limits(3)}), Table(users={"ana": Limits(2)}), 2),
        (Table(users={"ana": Limits(max_queued_jobs=9)}, default_user=Limits(1)), Table(), 1),
        (Table(users={"ben": Limits(1)}), Table(users={"ben": Limits(1)}), None),
    ],
)
def test_which_limit_counts(table: Table, override: Table, allowed: int | None) -> None:
    limits = quotas.Quotas(table)
    limits.set_overrides(override)
    assert limits.limits("user", "ana").max_running_jobs == allowed


def test_a_queue_is_bounded_at_submission(make_bench: MakeBench) -> None:
    bench = make_bench(quotas=Table(default_user=Limits(max_queued_jobs=2)))
    bench.queued(hold=True)
    with pytest.raises(OverQuota, match="quota exceeded for user 'ana': 3/2 queued jobs"):
        bench.submit_all([spec(), spec()])
    bench.queued(owner="ben")
    bench.queued()
    bench.starts(2, 3)
    bench.queued()


def test_a_job_larger_than_its_owners_quota_is_refused_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(4, quotas=Table(default_user=Limits(max_running_gpus=2)))
    with pytest.raises(OverQuota, match="a job of 3 GPUs is more than the 2 allowed"):
        bench.submit(gpus=3)


def test_quotas_change_at_run_time_and_survive_a_restart(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.step(bench.engine.set_quota, "user", "ana", Limits(max_running_jobs=1))
    bench.step(bench.engine.set_quota, "user", "ana", Limits(max_running_gpus=4))
    bench.running()
    waiting = bench.queued()
    later = bench.restarted()
    assert later.schedule() == []
    assert kind(later, waiting) is ReasonKind.QUOTA
    later.step(later.engine.remove_quota, "user", "ana")
    later.starts(waiting)
    with pytest.raises(NotFound):
        later.step(later.engine.remove_quota, "user", "ana")


@pytest.mark.parametrize(
    ("scope", "name", "limits"),
    [
        ("users", "ana", Limits(1)),
        ("user", None, Limits(1)),
        ("user", " ", Limits(1)),
        ("default_user", "ana", Limits(1)),
        ("user", "ana", Limits()),
        ("user", "ana", Limits(-1)),
    ],
)
def test_quotas_nobody_can_mean_are_refused(bench: Bench, scope: str, name: str | None, limits: Limits) -> None:
    with pytest.raises(Malformed):
        bench.step(bench.engine.set_quota, scope, name, limits)


def test_a_table_of_limits_comes_back_from_its_plain_form() -> None:
    table = Table({"a": Limits(1)}, {"p": Limits(None, 2)}, Limits(max_queued_jobs=3), Limits())
    assert quotas.table_from_map(quotas.table_to_map(table)) == table
    assert quotas.table_to_map(Table()) == {}


# -- fair share --------------------------------------------------------------------------------------------------------


def test_who_had_less_lately_comes_first(make_bench: MakeBench) -> None:
    bench = make_bench(1, fair_share_half_life_secs=DAY)
    long_ = bench.running(gpus=1)
    bench.sleep(HOUR)
    ended(bench, long_)
    again, bens = bench.queued(gpus=1), bench.queued(gpus=1, owner="ben")
    bench.starts(bens)
    ended(bench, bens)
    bench.starts(again)


def test_priority_still_comes_before_the_share(make_bench: MakeBench) -> None:
    bench = make_bench(1, fair_share_half_life_secs=DAY)
    ended(bench, bench.running(gpus=1))
    bench.queued(gpus=1, owner="ben")
    bench.starts(bench.queued(gpus=1, priority=11))


def test_the_share_comes_before_the_time_bonus(make_bench: MakeBench) -> None:
    bench = make_bench(1, fair_share_half_life_secs=DAY)
    ended(bench, bench.running(gpus=1))
    bench.queued(gpus=1, time_limit_secs=60.0)
    bench.starts(bench.queued(gpus=1, owner="ben"))


def test_nobody_takes_every_free_slot_of_one_pass(make_bench: MakeBench) -> None:
    bench = make_bench(4, fair_share_half_life_secs=DAY)
    anas = [bench.queued(gpus=1) for _ in range(4)]
    bens = [bench.queued(gpus=1, owner="ben") for _ in range(4)]
    bench.starts(anas[0], bens[0], anas[1], bens[1])


def test_jobs_without_gpus_are_not_free(make_bench: MakeBench) -> None:
    bench = make_bench(quotas=Table(), fair_share_half_life_secs=DAY)
    bench.running()
    assert bench.engine.fair_share.usage("ana", bench.now) == pytest.approx(0.1 * START_SECS)
    bench.sleep(100)
    assert bench.engine.fair_share.usage("ana", bench.now) == pytest.approx(0.1 * (100 + START_SECS))


def test_usage_halves_and_survives_a_restart(make_bench: MakeBench) -> None:
    bench = make_bench(2, fair_share_half_life_secs=DAY)
    job = bench.running(gpus=2)
    bench.sleep(1000)
    ended(bench, job)
    full = 2 * (1000 + START_SECS)
    assert bench.engine.fair_share.usage("ana", bench.now) == pytest.approx(full)
    later = bench.restarted()
    later.sleep(DAY)
    assert later.engine.fair_share.usage("ana", later.now) == pytest.approx(full / 2)


def test_without_fair_share_the_order_is_as_ever(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    ended(bench, bench.running(gpus=1))
    first = bench.queued(gpus=1)
    bench.queued(gpus=1, owner="ben")
    bench.starts(first)
    assert "fair_share_usage" not in bench.stored_settings


def test_the_order_is_that_of_gflows_factor() -> None:
    share = FairShare(DAY)
    share.restore({"a": {"usage": 10.0, "last_update": 0.0}, "b": {"usage": 20.0, "last_update": 0.0}}, 0.0)
    assert share.to_map()["a"] == {"usage": 10.0, "last_update": 0.0}


# -- other settings ----------------------------------------------------------------------------------------------------


def configure(bench: Bench, **policy: Any) -> None:
    """As a reload of the configuration does."""
    bench.engine.configure(Policy(**policy), 10.0, keep_order, bench.now)


def test_another_quota_counts_from_the_next_pass_on(make_bench: MakeBench) -> None:
    bench = make_bench(quotas=Table(users={"ana": Limits(max_running_jobs=1)}))
    bench.running()
    waiting, last = bench.queued(), bench.queued()
    bench.starts()
    configure(bench, quotas=Table(users={"ana": Limits(max_running_jobs=2)}))
    bench.starts(waiting)
    configure(bench)
    bench.starts(last)


def test_another_half_life_leaves_the_past_as_it_decayed() -> None:
    share = FairShare(DAY)
    share.restore({"a": {"usage": 8.0, "last_update": 0.0}}, 0.0)
    share.configure(HOUR, DAY)
    assert share.usage("a", Now(DAY, 0.0)) == pytest.approx(4.0)
    assert share.usage("a", Now(DAY + HOUR, 0.0)) == pytest.approx(2.0)
    share.configure(None, DAY + HOUR)
    assert not share.ordering
    assert share.usage("a", Now(DAY + HOUR, 0.0)) == pytest.approx(2.0)


def test_projects_can_be_required_later(make_bench: MakeBench) -> None:
    bench = make_bench()
    early = bench.queued()
    configure(bench, require_project=True)
    with pytest.raises(Impossible, match="needs a project"):
        bench.queued()
    bench.starts(early)


# -- projects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "project", "refusal"),
    [
        ({}, "anything", None),
        ({}, None, None),
        ({"require_project": True}, None, "needs a project"),
        ({"require_project": True}, "any", None),
        ({"known_projects": frozenset({"a", "b"})}, "c", "Unknown project 'c'; known projects: a, b"),
        ({"known_projects": frozenset({"a"})}, None, None),
        ({"known_projects": frozenset({"a"}), "require_project": True}, None, "known projects: a"),
        ({"known_projects": frozenset({"a"}), "require_project": True}, "a", None),
    ],
)
def test_projects(make_bench: MakeBench, policy: dict[str, Any], project: str | None, refusal: str | None) -> None:
    bench = make_bench(**policy)
    if refusal is None:
        bench.queued(project=project)
        return
    with pytest.raises(Impossible, match=refusal):
        bench.submit(project=project)
