"""No starving: what is planned for a blocked job, what may go ahead of it, and for how long."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.claims import Claim
from gflow.core.errors import Conflict
from gflow.core.model import GpuStatus, ReasonKind
from gflow.core.planner import choose
from gflow.core.quotas import Limits, Table
from gflow.core.reservations import gpu_set
from support.effort import examples
from support.jobs import DAY, HOUR, MINUTE, Bench, gpus, spec

MakeBench = Callable[..., Bench]
LADDER = 15.0
"""From the limit to the last SIGKILL."""


def planned(bench: Bench) -> list[tuple[int, float | None]]:
    """The jobs that must not be delayed, with their starts in seconds from now."""
    now = bench.now.wall
    return [(plan.id, None if plan.start_at is None else plan.start_at - now) for plan in bench.engine.planned]


def queue(bench: Bench, *jobs: dict[str, Any]) -> list[int]:
    return [bench.queued(**job) for job in jobs]


def done(bench: Bench, job_id: int) -> None:
    """A job ends well."""
    bench.end(job_id)
    assert bench.told() == [("completed", job_id)]


# -- backfill ----------------------------------------------------------------------------------------------------------


def test_a_large_job_is_planned_at_the_limits_of_the_running_ones(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    for hours in (1, 2, 3):
        bench.running(gpus=1, time_limit_secs=hours * HOUR)
    large = bench.queued(gpus=3)
    assert bench.schedule() == []
    assert planned(bench) == []
    small = bench.queued(gpus=1, owner="ben")
    assert bench.schedule() == []
    assert planned(bench) == [(large, 2 * HOUR + LADDER)]
    assert bench.reason(small) is not None


def test_a_short_job_goes_ahead_and_a_long_one_does_not(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    bench.running(gpus=1, time_limit_secs=HOUR)
    large = bench.queued(gpus=2, priority=20)
    long_, short = queue(bench, {"gpus": 1, "time_limit_secs": HOUR + 1}, {"gpus": 1, "time_limit_secs": HOUR})
    bench.starts(short)
    assert planned(bench) == [(large, HOUR + LADDER)]
    done(bench, short)
    assert bench.schedule() == []
    assert bench.job(long_).state == "Queued"


def test_what_the_planned_job_can_do_without_is_given_out(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    bench.running(gpus=2, time_limit_secs=HOUR)
    bench.queued(gpus=3, priority=20)
    first, second = queue(bench, {"gpus": 1}, {"gpus": 1})
    bench.starts(first)
    assert bench.job(second).state == "Queued"


def test_only_certain_gpus_are_kept_for_a_job_that_wants_those(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    bench.running(gpus=1, gpu_indices=(1,), time_limit_secs=HOUR)
    bench.queued(gpus=2, gpu_indices=(0, 1), priority=20)
    elsewhere, short, here = queue(
        bench, {"gpus": 1}, {"gpus": 1, "time_limit_secs": MINUTE}, {"gpus": 1, "gpu_indices": (0,)}
    )
    bench.starts(short, elsewhere)
    assert bench.job(elsewhere).gpu_ids == (2,)
    assert bench.job(here).state == "Queued"


def test_memory_is_kept_as_well(make_bench: MakeBench) -> None:
    bench = make_bench(memory_mb=1000)
    bench.running(memory_mb=600, time_limit_secs=HOUR)
    large = bench.queued(memory_mb=800, priority=20)
    spoils, leaves, short = queue(
        bench, {"memory_mb": 300}, {"memory_mb": 200}, {"memory_mb": 100, "time_limit_secs": MINUTE}
    )
    bench.starts(short, leaves)
    assert planned(bench) == [(large, HOUR + LADDER)]
    assert bench.job(spoils).state == "Queued"


def test_shared_devices_count_with_what_is_left_on_them(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=1000)
    share = {"gpus": 1, "shared": True}
    bench.running(gpu_memory_mb=500, time_limit_secs=HOUR, **share)
    bench.queued(gpu_memory_mb=800, priority=20, **share)
    spoils, leaves = queue(bench, {"gpu_memory_mb": 300, **share}, {"gpu_memory_mb": 200, **share})
    bench.starts(leaves)
    assert bench.job(spoils).state == "Queued"


def test_a_job_that_waits_for_its_own_groups_limit_holds_nobody_up(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    bench.running(gpus=1, group_id="g", groups={"g": 1})
    bench.queued(gpus=1, group_id="g", priority=20)
    other = bench.queued(gpus=1)
    bench.starts(other)


def test_nor_when_its_group_is_filled_in_the_same_pass(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    bench.running(gpus=1, time_limit_secs=HOUR)
    grouped = {"group_id": "g", "groups": {"g": 1}}
    large, one, last = queue(bench, {"gpus": 2, **grouped}, {"gpus": 1}, {"group_id": "g"})
    bench.starts(last, one)  # the first of these has filled the group that the large one waits for
    assert planned(bench) == []
    assert bench.job(large).planned_for is None


def test_nor_when_its_quota_is_reached_in_the_same_pass(make_bench: MakeBench) -> None:
    bench = make_bench(2, quotas=Table(users={"ana": Limits(max_running_jobs=1)}))
    bench.running(owner="bob", gpus=1, time_limit_secs=HOUR)
    large, one, last = queue(bench, {"gpus": 2}, {"owner": "bob", "gpus": 1}, {})
    bench.starts(last, one)
    assert planned(bench) == []
    assert bench.job(large).planned_for is None


def test_a_job_for_a_broken_device_holds_nobody_up(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    bench.step(bench.engine.observe_gpus, gpus(2), {1: GpuStatus(fault="lost")}, bench.now)
    bench.queued(gpus=2, priority=20)
    other = bench.queued(gpus=1)
    bench.starts(other)


# -- without limits ----------------------------------------------------------------------------------------------------


def test_without_limits_others_may_pass_for_a_while_only(make_bench: MakeBench) -> None:
    bench = make_bench(2, max_bypass_secs=600.0)
    holder = bench.running(gpus=1)
    large = bench.queued(gpus=2, priority=20)
    first = bench.queued(gpus=1, time_limit_secs=MINUTE)
    bench.starts(first)
    assert bench.job(large).bypassed_at == bench.now.wall
    done(bench, first)
    bench.sleep(599)
    second = bench.queued(gpus=1, time_limit_secs=MINUTE)
    bench.starts(second)
    done(bench, second)
    bench.sleep(1)
    third, without = queue(bench, {"gpus": 1, "time_limit_secs": MINUTE}, {"gpus": 0})
    bench.starts(without)
    assert bench.engine.planned[0].closed
    done(bench, holder)
    bench.starts(large)
    done(bench, large)
    bench.starts(third)


def test_how_long_a_job_was_passed_outlives_a_restart(make_bench: MakeBench) -> None:
    bench = make_bench(2, max_bypass_secs=600.0)
    bench.running(gpus=1)
    bench.queued(gpus=2, priority=20)
    bench.starts(bench.queued(gpus=1))
    bench.sleep(700)
    later = bench.restarted()
    done(later, 3)
    later.queued(gpus=1)
    assert later.schedule() == []


def test_a_job_that_takes_other_devices_does_not_pass(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    bench.running(gpus=1, gpu_indices=(0,))
    waiting = bench.queued(gpus=2, gpu_indices=(0, 1), priority=20)
    bench.starts(bench.queued(gpus=1, gpu_indices=(2,)))
    assert bench.job(waiting).bypassed_at is None


def test_jobs_behind_one_with_an_unknown_start_are_protected_too(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    bench.running(gpus=1, gpu_indices=(0,))
    bench.running(gpus=1, gpu_indices=(1,), time_limit_secs=HOUR)
    bench.queued(gpus=1, gpu_indices=(0,), priority=30)
    large = bench.queued(gpus=2, gpu_indices=(1, 2), priority=20)
    bench.queued(gpus=1)
    assert bench.schedule() == []
    assert (large, HOUR + LADDER) in planned(bench)


def test_a_job_that_waits_for_a_quota_is_passed_for_a_while_only(make_bench: MakeBench) -> None:
    quota = Table(projects={"p": Limits(max_running_gpus=2)})
    bench = make_bench(8, quotas=quota, max_bypass_secs=600.0)
    for _ in range(2):
        bench.running(gpus=1, project="p")
    large = bench.queued(gpus=2, project="p", owner="ben", priority=20)
    small = [bench.queued(gpus=1, project="p") for _ in range(3)]
    elsewhere = bench.queued(gpus=1)
    bench.starts(elsewhere)
    assert bench.job(large).bypassed_at is None, "it does not count to the project"
    done(bench, 1)
    bench.starts(small[0])
    assert bench.job(large).bypassed_at == bench.now.wall
    bench.sleep(600)
    done(bench, 2)
    bench.starts()
    without = bench.queued(project="p")
    bench.starts(without)
    done(bench, small[0])
    bench.starts(large)


# -- reservations ------------------------------------------------------------------------------------------------------


def reserve(bench: Bench, user: str, begins_in: float, lasts: float, **what: Any) -> int:
    """A reservation on the grid nearest to so many seconds from now."""
    start = bench.now.wall - bench.now.wall % 1800 + 1800 + begins_in
    made, _ = bench.step(bench.engine.reserve, user, start, start + lasts, bench.now, **what)
    bench.told()
    return int(made.id)


def on_the_grid(bench: Bench) -> Bench:
    """The clocks at a full half hour."""
    bench.sleep(1800 - bench.now.wall % 1800)
    return bench


def test_a_job_that_reaches_into_a_reservation_does_not_start_on_its_devices(make_bench: MakeBench) -> None:
    bench = on_the_grid(make_bench(2))
    reserve(bench, "ben", 0, HOUR, gpu_indices=[0])
    until = 1800 - LADDER
    unlimited, long_, short = queue(
        bench,
        {"gpus": 1, "gpu_indices": (0,)},
        {"gpus": 1, "gpu_indices": (0,), "time_limit_secs": until + 1},
        {"gpus": 1, "gpu_indices": (0,), "time_limit_secs": until},
    )
    bench.starts(short)
    done(bench, short)
    assert bench.schedule() == []
    reason = bench.reason(long_)
    assert reason is not None
    assert reason.kind is ReasonKind.GPU
    bench.sleep(1800 + HOUR)
    bench.starts(long_)
    assert bench.job(unlimited).state == "Queued"


def test_reservations_by_number_hold_over_all_jobs_together(make_bench: MakeBench) -> None:
    bench = on_the_grid(make_bench(4))
    reserve(bench, "ben", 0, HOUR, gpu_count=2)
    ids = [bench.queued(gpus=1) for _ in range(4)]
    bench.starts(*ids[:2])
    bench.sleep(1800)
    own = [bench.queued(gpus=1, owner="ben") for _ in range(3)]
    bench.starts(*own[:2])
    assert bench.job(own[2]).state == "Queued", "beyond what is reserved, its owner waits as all do"


def test_what_is_reserved_by_number_may_be_joined_while_there_is_another_for_it(make_bench: MakeBench) -> None:
    bench = on_the_grid(make_bench(4, gpu_memory_mb=1000))
    reserve(bench, "ben", 0, HOUR, gpu_count=1)
    bench.sleep(1800)
    both = {"gpus": 2, "shared": True, "gpu_memory_mb": 300, "gpu_indices": (0, 1)}
    bench.starts(bench.queued(owner="ben", **both))
    bench.starts(bench.queued(**both))
    bench.queued(gpus=2)
    assert bench.schedule() == [], "one of the last two is ben's, whose own are shared by now"


def test_an_owner_is_not_shut_out_of_other_devices(make_bench: MakeBench) -> None:
    bench = on_the_grid(make_bench(3))
    reserve(bench, "ben", 0, HOUR, gpu_indices=[2])
    bench.sleep(1800)
    first, second = queue(bench, {"gpus": 1, "owner": "ben"}, {"gpus": 1, "owner": "ben"})
    bench.starts(first, second)
    assert (bench.job(first).gpu_ids, bench.job(second).gpu_ids) == ((2,), (0,)), "what only it can have comes first"


def test_the_edges_of_reservations_are_moments_to_look_again(make_bench: MakeBench) -> None:
    bench = on_the_grid(make_bench(1))
    reserve(bench, "ben", 0, HOUR, gpu_count=1)
    now = bench.now.wall
    assert bench.engine.next_moment(bench.now) == now + 1800
    bench.sleep(1800)
    assert bench.engine.next_moment(bench.now) == now + 1800 + HOUR
    waiting = bench.queued(gpus=1)
    assert bench.schedule() == []
    bench.sleep(HOUR)
    assert bench.engine.next_moment(bench.now) is None
    bench.starts(waiting)


def test_a_running_job_keeps_a_reservation_from_being_made(make_bench: MakeBench) -> None:
    bench = on_the_grid(make_bench(2))
    endless = bench.running(gpus=1)
    bench.running(gpus=1, time_limit_secs=HOUR)
    with pytest.raises(Conflict, match=f"job {endless} of ana, which has no time limit"):
        reserve(bench, "ben", 2 * HOUR, HOUR, gpu_indices=[0])
    with pytest.raises(Conflict, match="may run until then"):
        reserve(bench, "ben", 0, HOUR, gpu_count=1)
    reserve(bench, "ben", 2 * HOUR, HOUR, gpu_count=1)
    with pytest.raises(Conflict, match="reservation 1 of ben"):
        reserve(bench, "cy", 2.5 * HOUR, HOUR, gpu_count=1)
    reserve(bench, "cy", 3 * HOUR, HOUR, gpu_count=1)
    reserve(bench, "ana", 2 * HOUR, HOUR, gpu_indices=[0])


def test_a_reservation_by_number_gets_devices_it_can_keep(make_bench: MakeBench) -> None:
    bench = on_the_grid(make_bench(4))
    reserve(bench, "ben", 0, 1800, gpu_indices=[0])
    reserve(bench, "cy", 1800, 1800, gpu_indices=[1])
    with pytest.raises(Conflict, match="3 GPUs cannot be reserved"):
        reserve(bench, "ana", 0, HOUR, gpu_count=3)
    reserve(bench, "ana", 0, HOUR, gpu_count=2)
    with pytest.raises(Conflict):
        reserve(bench, "dee", 1800, 1800, gpu_indices=[2])
    reserve(bench, "dee", HOUR, 1800, gpu_indices=[2])
    bench.sleep(1800)
    bench.starts(bench.queued(gpus=2, time_limit_secs=HOUR - LADDER))


def test_a_limit_is_not_raised_into_a_reservation(make_bench: MakeBench) -> None:
    bench = on_the_grid(make_bench(2))
    running = bench.running(gpus=2, time_limit_secs=HOUR)
    reserve(bench, "ben", HOUR, HOUR, gpu_count=1)
    for limit in (2 * HOUR, None):
        with pytest.raises(Conflict, match="reservation 1 of ben"):
            bench.update(running, admin=True, time_limit_secs=limit)
    bench.update(running, admin=True, time_limit_secs=1.25 * HOUR)
    assert bench.told() == [("updated", running)]


def test_a_plan_goes_around_reservations(make_bench: MakeBench) -> None:
    bench = on_the_grid(make_bench(2))
    bench.running(gpus=1, time_limit_secs=HOUR)
    reserve(bench, "ben", HOUR, 2 * HOUR, gpu_count=1)
    large = bench.queued(gpus=2, time_limit_secs=DAY, priority=20)
    bench.queued(gpus=1)
    assert bench.schedule() == []
    assert planned(bench) == [(large, 1800 + 3 * HOUR)]


# -- choosing devices --------------------------------------------------------------------------------------------------

sets = st.integers(0, 2**6 - 1)
claims = st.lists(st.builds(lambda gpus, most: Claim(0.0, gpus, most), sets, st.integers(0, 4)), max_size=4)


@settings(max_examples=examples(400))
@given(st.permutations(range(6)), st.integers(1, 5), claims)
def test_devices_are_found_whenever_there_are_any_and_the_first_ones_first(
    candidates: list[int], number: int, claims: list[Claim]
) -> None:
    possible = [
        choice
        for choice in combinations(candidates, number)
        if all((gpu_set(choice) & claim.gpus).bit_count() <= claim.allowance for claim in claims)
    ]
    found = choose(candidates, number, claims)
    assert found == (list(possible[0]) if possible else None)


# -- promises ----------------------------------------------------------------------------------------------------------

jobs = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([None, 600.0, HOUR, 2 * HOUR, 3 * HOUR]), st.floats(0.05, 1.0)),
    min_size=2,
    max_size=14,
)


@settings(max_examples=examples(150))
@given(jobs)
def test_a_planned_job_never_starts_later_than_planned(jobs: list[tuple[int, float | None, float]]) -> None:
    bench = Bench(4)
    bench.submit_all([spec(gpus=number, time_limit_secs=limit) for number, limit, _ in jobs])
    lasts = {job_id: part * (limit or 5 * HOUR) for job_id, (_, limit, part) in enumerate(jobs, 1)}
    promised: dict[int, float] = {}
    while bench.engine.counts["Queued"] or bench.engine.running:
        for job_id in bench.schedule():
            bench.launched(job_id)
            assert bench.now.wall <= promised.get(job_id, bench.now.wall), f"job {job_id} starts late"
        for plan in bench.engine.planned:
            if plan.start_at is None:
                break  # what is behind it may be put off, for its sake
            assert plan.start_at <= promised.get(plan.id, plan.start_at) + 1e-6, f"job {plan.id} was put off"
            promised[plan.id] = plan.start_at
        ends = ((bench.job(job_id).started_at or 0.0) + lasts[job_id] for job_id in bench.engine.running)
        due, job_id = min(zip(ends, bench.engine.running, strict=True))
        bench.sleep(due - bench.now.wall)
        bench.end(job_id)
