"""The order of the queue, as the documents of gflow state it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.model import Job, JobId, State
from gflow.core.order import queue_key, time_bonus
from support.jobs import DAY, HOUR, MINUTE, Bench, spec


@pytest.mark.parametrize(
    ("limit_secs", "bonus"),
    [
        (None, 100),
        (1, 299),
        (10 * MINUTE, 299),
        (HOUR, 295),
        (8 * HOUR, 266),
        (12 * HOUR, 250),
        (DAY - 1, 200),
        (DAY, 200),
        (7 * DAY, 200),
    ],
)
def test_the_bonus_for_a_time_limit(limit_secs: float | None, bonus: int) -> None:
    assert time_bonus(limit_secs) == bonus


limits = st.none() | st.floats(min_value=1e-3, max_value=366 * DAY)


@given(limits, limits)
def test_a_shorter_limit_is_never_worse_and_none_is_always_last(one: float | None, other: float | None) -> None:
    short, long = sorted((one, other), key=lambda limit: float("inf") if limit is None else limit)
    assert 300 >= time_bonus(short) >= time_bonus(long) >= 100
    assert long is not None or short is None or time_bonus(short) > time_bonus(long)


def a_job(job_id: int, priority: int, limit: float | None) -> Job:
    wanted = spec(priority=priority, time_limit_secs=limit)
    return Job(id=JobId(job_id), spec=wanted, run_name="", state=State.QUEUED, submitted_at=0.0)


@given(st.integers(0, 254), limits, limits)
def test_no_bonus_beats_a_higher_priority(priority: int, one: float | None, other: float | None) -> None:
    assert queue_key(a_job(2, priority + 1, one)) < queue_key(a_job(1, priority, other))


@given(st.integers(0, 255), limits)
def test_equal_jobs_start_in_the_order_of_submission(priority: int, limit: float | None) -> None:
    keys = [queue_key(a_job(job_id, priority, limit)) for job_id in (1, 2, 10)]
    assert all(before < after for before, after in pairwise(keys))


def test_the_example_of_the_documents(bench: Bench) -> None:
    first = bench.running(group_id="g", groups={"g": 1}, priority=255)
    unlimited = bench.queued(priority=10, group_id="g")
    long = bench.queued(priority=10, group_id="g", time_limit_secs=8 * HOUR)
    medium = bench.queued(priority=10, group_id="g", time_limit_secs=HOUR)
    quick = bench.queued(priority=10, group_id="g", time_limit_secs=10 * MINUTE)
    generous = bench.queued(priority=10, group_id="g", time_limit_secs=DAY)
    urgent = bench.queued(priority=11, group_id="g")
    running = first
    for expected in (urgent, quick, medium, long, generous, unlimited):
        bench.end(running)
        assert bench.told() == [("completed", running)]
        bench.starts(expected)
        running = expected
