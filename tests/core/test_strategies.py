"""How GPUs are picked when several would do: in order, or by chance, and by chance anew for each job."""

import random
from collections import Counter
from collections.abc import Callable
from itertools import combinations

from gflow.core.engine import Engine
from support.jobs import Bench, gpus

MakeBench = Callable[..., Bench]
JOBS = 160


def picked(bench: Bench, **fields: object) -> Counter[tuple[int, ...]]:
    """What so many jobs are given, each of which has all GPUs to choose from."""
    found: Counter[tuple[int, ...]] = Counter()
    for _ in range(JOBS):
        job = bench.running(**{"gpus": 1, **fields})
        found[bench.job(job).gpu_ids or ()] += 1
        bench.end(job)
        assert bench.told() == [("completed", job)]
    return found


def by_chance(make_bench: MakeBench, number: int) -> Bench:
    bench = make_bench()
    bench.engine = Engine(shuffle=random.Random(1729).shuffle)
    bench.set_machine(gpus(number))
    return bench


def test_in_order_the_lowest_are_always_first(make_bench: MakeBench) -> None:
    assert picked(make_bench(4)) == {(0,): JOBS}
    assert picked(make_bench(4), gpus=3) == {(0, 1, 2): JOBS}


def test_by_chance_every_gpu_has_its_share(make_bench: MakeBench) -> None:
    found = picked(by_chance(make_bench, 4))
    assert set(found) == {(0,), (1,), (2,), (3,)}
    assert all(abs(number - JOBS / 4) < JOBS / 10 for number in found.values()), found


def test_by_chance_every_set_of_gpus_comes_up(make_bench: MakeBench) -> None:
    found = picked(by_chance(make_bench, 4), gpus=2)
    assert set(found) == set(combinations(range(4), 2))
    assert min(found.values()) > JOBS / 6 / 2, found


def test_chance_has_no_say_where_gpus_are_named(make_bench: MakeBench) -> None:
    assert picked(by_chance(make_bench, 4), gpus=2, gpu_indices=(1, 3)) == {(1, 3): JOBS}


def test_jobs_of_one_pass_never_meet_by_chance(make_bench: MakeBench) -> None:
    bench = by_chance(make_bench, 8)
    for _ in range(50):
        jobs = [bench.queued(gpus=2) for _ in range(4)]
        bench.starts(*jobs)
        given = [index for job in jobs for index in bench.job(job).gpu_ids or ()]
        assert sorted(given) == list(range(8))
        for job in jobs:
            bench.end(job)
            assert bench.told() == [("completed", job)]
