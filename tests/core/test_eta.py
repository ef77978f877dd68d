"""Why nobody can say when a job starts."""

from collections.abc import Callable

from gflow.core.eta import why_unknown
from gflow.core.forecast import MOST_AHEAD, expected_start
from gflow.core.quotas import Limits, Table
from support.jobs import HOUR, Bench, snapshot, spec, with_cap

MakeBench = Callable[..., Bench]


def unknown(bench: Bench, job: int) -> str | None:
    """Why, asked where there is no expected start; asking changes nothing."""
    assert expected_start(bench.engine, bench.job(job), bench.now) is None
    before = snapshot(bench.engine)
    why = why_unknown(bench.engine, bench.job(job), bench.now)
    assert snapshot(bench.engine) == before
    return why


def test_a_running_job_has_no_limit(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    bench.running()
    first, second = bench.running(gpus=1), bench.running(gpus=1)
    assert unknown(bench, bench.queued(gpus=2)) == f"jobs {first}, {second} have no time limit"
    bench.cancel(first)
    assert bench.asked() == [("interrupt", first)]
    assert unknown(bench, bench.queued(gpus=2)) == f"job {second} has no time limit"


def test_a_job_ahead_has_no_limit(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1, time_limit_secs=HOUR)
    ahead = bench.queued(gpus=1, priority=20)
    assert unknown(bench, bench.queued(gpus=1)) == f"job {ahead} ahead of it has no time limit"


def test_long_lists_are_cut(make_bench: MakeBench) -> None:
    bench = make_bench(9)
    for _ in range(9):
        bench.running(gpus=1)
    assert unknown(bench, bench.queued(gpus=9)) == "jobs 1, 2, 3, 4, 5, 6, 7, 8 and others have no time limit"


def test_memory_groups_and_quotas(make_bench: MakeBench) -> None:
    quotas = Table(projects={"p": Limits(max_running_jobs=1)})
    bench = make_bench(memory_mb=1000, quotas=quotas)
    memory = bench.running(memory_mb=900)
    group = bench.running(**with_cap("g", 1))
    project = bench.running(project="p")
    assert unknown(bench, bench.queued(memory_mb=500)) == f"job {memory} has no time limit"
    assert unknown(bench, bench.queued(group_id="g")) == f"job {group} has no time limit"
    assert unknown(bench, bench.queued(project="p")) == f"job {project} has no time limit"


def test_nothing_will_make_room(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    bench.step(bench.engine.allow_gpus, [0], bench.now)
    assert unknown(bench, bench.queued(gpus=2)) == "nothing that is known to end will make room for it"


def test_holds_and_dependencies(bench: Bench) -> None:
    assert unknown(bench, bench.queued(hold=True)) == "it is on hold"
    waiting = bench.queued(depends_on=(bench.running(time_limit_secs=HOUR),))
    assert unknown(bench, waiting) == "nobody knows when what it depends on will have finished"


def test_far_back_in_the_queue(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1, time_limit_secs=HOUR)
    jobs, _ = bench.engine.submit([spec(gpus=1, time_limit_secs=60.0)] * (MOST_AHEAD + 2), bench.now)
    assert unknown(bench, jobs[-1].id) == f"more than {MOST_AHEAD} jobs are ahead of it"


def test_jobs_that_wait_for_nothing(bench: Bench) -> None:
    assert unknown(bench, bench.running()) is None
    assert unknown(bench, bench.ended()) is None
