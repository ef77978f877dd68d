"""The expected start: what the limits of running jobs, and of those ahead in the queue, allow to say."""

from collections.abc import Callable
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.engine import Engine
from gflow.core.forecast import MOST_AHEAD, expected_start
from gflow.core.model import Exit, JobId, Now
from support.effort import examples
from support.jobs import HOUR, MINUTE, START, Bench, snapshot, spec

MakeBench = Callable[..., Bench]


def expected_in(bench: Bench, job: int) -> float | None:
    """Seconds from now, asked in the way people do; asking changes nothing."""
    before = snapshot(bench.engine)
    start = expected_start(bench.engine, bench.job(job), bench.now)
    assert snapshot(bench.engine) == before
    return None if start is None else start - bench.now.wall


def test_a_job_with_room_starts_now(bench: Bench) -> None:
    assert expected_in(bench, bench.queued()) == 0


def test_a_job_waits_for_the_first_limit_that_frees_enough(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    for hours in (3, 1, 2):
        bench.running(gpus=1, time_limit_secs=hours * HOUR)
    bench.sleep(600)
    one, two = bench.queued(gpus=1, priority=20), bench.queued(gpus=2, priority=30)
    assert expected_in(bench, two) == 2 * HOUR - 600
    assert expected_in(bench, one) == 3 * HOUR - 600, "it would delay the larger one ahead of it"
    bench.update(one, time_limit_secs=HOUR / 2)
    assert bench.told() == [("updated", one)]
    assert expected_in(bench, one) == HOUR - 600, "it fits where the larger one ahead of it does not"


def test_memory_and_group_slots_count_as_well(make_bench: MakeBench) -> None:
    bench = make_bench(memory_mb=1000)
    bench.running(memory_mb=900, time_limit_secs=HOUR)
    bench.running(group_id="g", groups={"g": 1}, time_limit_secs=2 * HOUR)
    memory, group = bench.queued(memory_mb=500), bench.queued(group_id="g")
    assert expected_in(bench, memory) == HOUR
    assert expected_in(bench, group) == 2 * HOUR


def test_jobs_ahead_come_first(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1, time_limit_secs=HOUR)
    bench.queued(gpus=1, priority=20, time_limit_secs=30 * MINUTE)
    job = bench.queued(gpus=1, time_limit_secs=MINUTE)
    bench.queued(gpus=1, priority=1, time_limit_secs=HOUR)
    assert expected_in(bench, job) == HOUR + 30 * MINUTE


def test_without_a_limit_in_front_of_it_a_job_has_no_expected_start(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    bench.running(gpus=1)
    bench.running(gpus=1, time_limit_secs=HOUR)
    one, two = bench.queued(gpus=1, priority=20), bench.queued(gpus=2)
    assert expected_in(bench, one) == HOUR
    assert expected_in(bench, two) is None
    behind = bench.queued(gpus=1)
    assert expected_in(bench, behind) is None, "the job ahead of it has no limit"


def test_a_job_being_stopped_is_gone_when_the_ladder_ends(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    running = bench.running(gpus=1)
    job = bench.queued(gpus=1)
    bench.cancel(running)
    assert bench.asked() == [("interrupt", running)]
    assert expected_in(bench, job) == 15
    bench.sleep(12)
    assert bench.enforce() == [("signal", running, 15)]
    assert expected_in(bench, job) == 5


def test_a_job_being_started_has_its_whole_limit_before_it(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    starting, job = bench.queued(gpus=1, time_limit_secs=HOUR), bench.queued(gpus=1)
    assert bench.schedule() == [starting]
    assert (bench.told(), bench.asked()) == ([("started", starting)], [("launch", starting)])
    bench.sleep(MINUTE)
    assert expected_in(bench, job) == HOUR


def test_an_overdue_job_ends_now(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1, time_limit_secs=HOUR)
    job = bench.queued(gpus=1)
    bench.sleep(2 * HOUR)
    assert expected_in(bench, job) == 0


def test_a_begin_time_is_the_earliest(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1, time_limit_secs=2 * HOUR)
    at_once, later = (bench.queued(gpus=number, begin_at=bench.now.wall + HOUR) for number in (0, 1))
    assert expected_in(bench, at_once) == HOUR
    assert expected_in(bench, later) == 2 * HOUR


def test_nobody_knows_when_a_hold_or_a_dependency_ends(bench: Bench) -> None:
    held = bench.queued(hold=True)
    waiting = bench.queued(depends_on=(bench.running(time_limit_secs=HOUR),))
    for job in (held, waiting, bench.ended(), bench.running()):
        assert expected_in(bench, job) is None


def test_what_is_known_of_jobs_ahead_does_not_matter(make_bench: MakeBench) -> None:
    """Their retries, begin times and dependencies are behind them."""
    bench = make_bench(1)
    done = bench.ended()
    bench.running(gpus=1, time_limit_secs=HOUR, max_retries=3)
    bench.queued(gpus=1, priority=20, depends_on=(done,), begin_at=bench.now.wall, time_limit_secs=HOUR)
    assert bench.schedule() == []
    assert expected_in(bench, bench.queued(gpus=1)) == 2 * HOUR


def test_far_back_in_the_queue_no_start_is_promised(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1, time_limit_secs=HOUR)
    jobs, _ = bench.engine.submit([spec(gpus=1, time_limit_secs=60.0)] * (MOST_AHEAD + 2), bench.now)
    assert expected_in(bench, jobs[MOST_AHEAD].id) == HOUR + MOST_AHEAD * MINUTE
    assert expected_in(bench, jobs[MOST_AHEAD + 1].id) is None


wanted = st.tuples(st.integers(0, 3), st.sampled_from([0, 200, 700]), st.integers(1, 4), st.integers(0, 2))


@settings(max_examples=examples(60))
@given(st.lists(wanted, min_size=1, max_size=12))
def test_if_all_jobs_take_their_whole_limits_the_forecast_for_the_last_of_them_comes_true(
    requests: list[tuple[int, int, int, int]],
) -> None:
    bench = Bench(3, memory_mb=1000)
    for gpu_count, memory_mb, hours, priority in requests:
        limit = hours * HOUR
        bench.submit(gpus=gpu_count, memory_mb=memory_mb or None, time_limit_secs=limit, priority=priority)
    bench.schedule()
    queue = sorted((key, job_id) for job_id, _, key in bench.engine.ready.items())
    if queue:
        job = bench.engine.jobs[queue[-1][1]]
        assert expected_start(bench.engine, job, bench.now) == played(bench.engine, job.id)


def played(engine: Engine, awaited: JobId) -> float:
    """When the job starts if all run to their limits, found by running the engine itself."""
    run_ids, now = (f"later-{number}" for number in count()), START
    started = dict.fromkeys(engine.running, now.boot)
    while awaited not in started:
        ends = {job_id: started[job_id] + (engine.jobs[job_id].spec.time_limit_secs or 0) for job_id in engine.running}
        first = min(ends, key=lambda job_id: (ends[job_id], job_id))
        now = Now(START.wall + ends[first] - START.boot, ends[first])
        engine.ended(first, Exit(0, now.wall), now)
        engine.schedule(now, run_ids)
        started |= {job_id: now.boot for job_id in engine.running if job_id not in started}
    return now.wall
