"""The ready queue: one look at each lane, in queue order, and nothing lost on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.model import JobId, ReasonKind
from gflow.core.queue import ReadyQueue, Shape


def shape(gpus: int) -> Shape:
    return Shape(
        "ana",
        None,
        gpus,
        (),
        shared=False,
        gpu_memory_mb=None,
        memory_mb=None,
        cpus=None,
        group_id=None,
        limit_secs=None,
    )


def key(job_id: int, weight: int = 0) -> tuple[int, JobId]:
    return -weight, JobId(job_id)


entries = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=30)


def filled(jobs: list[tuple[int, int]]) -> ReadyQueue:
    queue = ReadyQueue()
    for job_id, (gpus, weight) in enumerate(jobs, 1):
        queue.add(shape(gpus), key(job_id, weight))
    return queue


@given(entries)
def test_with_room_for_all_every_job_comes_in_order(jobs: list[tuple[int, int]]) -> None:
    queue, taken = filled(jobs), []
    for _, job_id in queue.turns():
        queue.discard(job_id)
        taken.append(job_id)
    order = sorted(key(job_id, weight) for job_id, (_, weight) in enumerate(jobs, 1))
    assert taken == [job_id for _, job_id in order]
    assert len(queue) == 0


@given(entries, st.sets(st.integers(0, 3)))
def test_a_blocked_lane_is_asked_once_and_stops_no_other(jobs: list[tuple[int, int]], full: set[int]) -> None:
    queue, asked, taken = filled(jobs), [], set()
    for wanted, job_id in queue.turns():
        asked.append(wanted.gpus)
        if wanted.gpus in full:
            queue.block(wanted, ReasonKind.GPU)
        else:
            queue.discard(job_id)
            taken.add(job_id)
    assert taken == {job_id for job_id, (gpus, _) in enumerate(jobs, 1) if gpus not in full}
    assert all(asked.count(gpus) == 1 for gpus in full & {gpus for gpus, _ in jobs})
    assert all(queue.blocked(job_id) is ReasonKind.GPU for job_id, _, _ in queue.items())


@given(entries, st.data())
def test_positions_count_the_jobs_of_all_lanes(jobs: list[tuple[int, int]], data: st.DataObject) -> None:
    queue = filled(jobs)
    gone = data.draw(st.sets(st.integers(1, max(1, len(jobs)))))
    for job_id in gone:
        queue.discard(JobId(job_id))
        assert job_id not in queue
    left = sorted(k for _, _, k in queue.items())
    assert len(queue) == len(left) == len(jobs) - len(gone & set(range(1, len(jobs) + 1)))
    for ahead, each in enumerate(left):
        assert queue.position(each) == ahead
        assert set(queue.before(each)) == {job_id for _, job_id in left[:ahead]}


def test_a_new_pass_forgets_why_a_lane_was_blocked() -> None:
    queue = filled([(1, 0)])
    for wanted, _ in queue.turns():
        queue.block(wanted, ReasonKind.GPU)
    turns = iter(queue.turns())
    next(turns)
    assert queue.blocked(JobId(1)) is None


def test_taking_out_a_job_that_is_not_in_is_nothing() -> None:
    queue = filled([(1, 0)])
    queue.discard(JobId(99))
    assert JobId(1) in queue
    with pytest.raises(KeyError):
        queue.blocked(JobId(99))
