"""Jobs that ask for CPUs have them alone as far as there are enough."""

import os
from concurrent.futures import ThreadPoolExecutor

from gflow.launch.cpu_sets import CpuSets, usable_cpus


def test_each_has_its_own_while_there_are_enough() -> None:
    sets = CpuSets({0, 1, 2, 5})
    assert sets.take("a", 2) == "0,1"
    assert sets.take("b", 1) == "2"
    assert sets.take("c", 1) == "5"
    sets.free("a")
    assert sets.take("d", 2) == "0,1"


def test_where_there_are_too_few_the_least_used_are_shared() -> None:
    sets = CpuSets(range(4))
    assert [sets.take("a", 3), sets.take("b", 2), sets.take("c", 9)] == ["0,1,2", "0,3", "0,1,2,3"]
    assert sets.take("d", 2) == "1,2"


def test_what_an_earlier_launch_has_is_asked_of_the_kernel() -> None:
    sets = CpuSets(usable_cpus())
    sets.note("mine", os.getpid())
    sets.note("gone", 1 << 30)
    assert sets.take("next", 1) == str(min(os.sched_getaffinity(0)))


def test_launches_in_threads_do_not_get_in_each_others_way() -> None:
    sets = CpuSets(range(64))
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda number: sets.take(str(number), 1), range(64)))
    assert sorted(map(int, taken)) == list(range(64))
