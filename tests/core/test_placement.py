"""GPUs and host memory: who gets what, and that nothing is promised twice."""

from collections.abc import Callable

import pytest

from gflow.core.engine import Engine
from gflow.core.model import Gpu, Reason, ReasonKind
from support.jobs import Bench, gpus

NO_GPU, NO_MEMORY = Reason(ReasonKind.GPU), Reason(ReasonKind.MEMORY)
MakeBench = Callable[..., Bench]


def on(bench: Bench, *jobs: int) -> list[tuple[int, ...] | None]:
    return [bench.job(job).gpu_ids for job in jobs]


def test_exclusive_jobs_get_gpus_of_their_own_lowest_first(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    one, two, three = bench.running(gpus=1), bench.running(gpus=2), bench.queued(gpus=2)
    assert on(bench, one, two) == [(0,), (1, 2)]
    assert bench.schedule() == []
    assert bench.reason(three) == NO_GPU
    bench.end(one)
    assert bench.told() == [("completed", one)]
    bench.starts(three)
    assert on(bench, three) == [(0, 3)]


def test_jobs_without_gpus_get_none_and_wait_for_none(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1)
    assert on(bench, bench.running()) == [()]


def test_smaller_jobs_pass_one_that_does_not_fit(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    bench.running(gpus=1)
    large, small = bench.queued(gpus=2, priority=20), bench.queued(gpus=1)
    bench.starts(small)
    assert bench.reason(large) == NO_GPU


def test_the_ledger_of_shared_gpus(make_bench: MakeBench) -> None:
    bench = make_bench(2, gpu_memory_mb=1000)
    shared = {"gpus": 1, "shared": True}
    first, second = bench.running(**shared, gpu_memory_mb=600), bench.running(**shared, gpu_memory_mb=400)
    third = bench.running(**shared, gpu_memory_mb=1)
    assert on(bench, first, second, third) == [(0,), (0,), (1,)]
    assert set(bench.engine.resources.holders(0)) == {first, second}
    fourth = bench.queued(**shared, gpu_memory_mb=1000)
    assert bench.schedule() == []
    assert bench.reason(fourth) == NO_GPU
    bench.end(first)
    assert bench.schedule() == []
    bench.end(second)
    assert bench.told() == [("completed", first), ("completed", second)]
    bench.starts(fourth)


def test_shared_and_exclusive_jobs_do_not_mix(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=1000)
    sharing = bench.running(gpus=1, shared=True, gpu_memory_mb=10)
    alone = bench.queued(gpus=1, priority=20)
    bench.starts(bench.queued(gpus=1, shared=True, gpu_memory_mb=10))
    assert bench.reason(alone) == NO_GPU
    bench.end(sharing)
    bench.end(alone + 1)
    assert bench.told() == [("completed", sharing), ("completed", alone + 1)]
    bench.starts(alone)
    waiting = bench.queued(gpus=1, shared=True, gpu_memory_mb=10)
    assert bench.schedule() == []
    assert bench.reason(waiting) == NO_GPU


def test_a_shared_job_over_several_gpus_has_its_share_on_each(make_bench: MakeBench) -> None:
    bench = make_bench(2, gpu_memory_mb=1000)
    assert on(bench, bench.running(gpus=2, shared=True, gpu_memory_mb=700)) == [(0, 1)]
    waiting = bench.queued(gpus=1, shared=True, gpu_memory_mb=301)
    assert bench.schedule() == []
    assert bench.reason(waiting) == NO_GPU


def test_a_shared_job_is_never_put_on_an_idle_gpu_too_small_for_it(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.set_machine([Gpu(0, "small", memory_mb=1000), Gpu(1, "large", memory_mb=8000)])
    assert on(bench, bench.running(gpus=1, shared=True, gpu_memory_mb=5000)) == [(1,)]
    waiting = bench.queued(gpus=1, shared=True, gpu_memory_mb=5000)
    assert bench.schedule() == []
    assert bench.reason(waiting) == NO_GPU


def test_host_memory_is_promised_once(make_bench: MakeBench) -> None:
    bench = make_bench(memory_mb=1000)
    one = bench.running(memory_mb=600)
    bench.running(memory_mb=400)
    bench.running()
    waiting = bench.queued(memory_mb=1)
    assert bench.schedule() == []
    assert bench.reason(waiting) == NO_MEMORY
    bench.end(one)
    assert bench.told() == [("completed", one)]
    bench.starts(waiting)


def test_without_a_known_total_memory_is_not_limited(make_bench: MakeBench) -> None:
    bench = make_bench(memory_mb=None)
    bench.running(memory_mb=1 << 30)
    bench.running(memory_mb=1 << 30)


def test_memory_is_the_first_to_be_blamed(make_bench: MakeBench) -> None:
    bench = make_bench(1, memory_mb=1000)
    bench.running(gpus=1, memory_mb=600)
    waiting = bench.queued(gpus=1, memory_mb=600)
    assert bench.schedule() == []
    assert bench.reason(waiting) == NO_MEMORY


def test_jobs_on_a_lost_gpu_are_left_alone(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    one, two = bench.running(gpus=1), bench.running(gpus=1)
    waiting = bench.queued(gpus=1)
    bench.set_machine(gpus(1))
    bench.end(two)
    assert bench.told() == [("completed", two)]
    assert bench.schedule() == [], "GPU 1 was freed, but is gone"
    assert on(bench, one) == [(0,)]
    bench.set_machine(gpus(2))
    bench.starts(waiting)
    assert on(bench, waiting) == [(1,)]


def test_a_new_gpu_starts_who_waits_for_it(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1)
    waiting = bench.queued(gpus=1)
    assert bench.schedule() == []
    bench.set_machine([Gpu(3, "three"), *gpus(1)])
    bench.starts(waiting)
    assert on(bench, waiting) == [(3,)]


@pytest.mark.parametrize("wanted", [1, 3])
def test_the_strategy_orders_the_choice_but_not_the_answer(make_bench: MakeBench, wanted: int) -> None:
    bench = make_bench()
    bench.engine = Engine(shuffle=list.reverse)
    bench.set_machine(gpus(4))
    assert on(bench, bench.running(gpus=wanted)) == [tuple(range(4 - wanted, 4))]


def test_what_running_jobs_hold_outlives_a_restart(make_bench: MakeBench) -> None:
    bench = make_bench(2, gpu_memory_mb=1000, memory_mb=1000)
    alone = bench.running(gpus=1, memory_mb=900)
    bench.running(gpus=1, shared=True, gpu_memory_mb=600)
    later = bench.restarted()
    assert later.engine.resources.memory_used_mb == 900
    for fields in ({"gpus": 1}, {"memory_mb": 101}, {"gpus": 1, "shared": True, "gpu_memory_mb": 401}):
        later.queued(**fields)
    assert later.schedule() == []
    later.end(alone)
    assert later.told() == [("completed", alone)]
    later.starts(alone + 2, alone + 3)
