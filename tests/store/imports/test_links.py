"""What imported jobs say of each other holds together, whatever the file says."""

import pytest

from gflow.core.model import State
from support.older import (
    convert,
    notes,
    old_job,
    old_state,
    one,
    only,
    stamp,
)

# -- attempts ----------------------------------------------------------------------------------------------------------


def failed(job_id: int, **fields):
    return old_job(job_id, state="Failed", started_at=stamp(5), finished_at=stamp(6), **fields)


def test_attempts_know_of_each_other():
    jobs = only(
        failed(1, max_retries=2),
        failed(2, max_retries=2, retried_from=1, redone_from=1),
        old_job(3, max_retries=2, retried_from=2, redone_from=1),
        old_job(4, depends_on_ids=[1]),
    )
    assert [(jobs[n].retried_as, jobs[n].spec.retried_from, jobs[n].spec.restart_count) for n in (1, 2, 3)] == [
        (2, None, 0),
        (3, 1, 1),
        (None, 2, 2),
    ]
    assert jobs[3].spec.redone_from == 1
    assert jobs[4].spec.depends_on == (3,)


@pytest.mark.parametrize(
    "jobs",
    [
        [old_job(1, retried_from=1)],
        [old_job(1, retried_from=9)],
        [old_job(1, retried_from=2), failed(2)],
        [old_job(1, state="Finished"), old_job(2, retried_from=1)],
    ],
    ids=["itself", "nobody", "a later one", "one that did not fail"],
)
def test_an_attempt_that_cannot_be_one_is_a_job_of_its_own(jobs):
    plan = convert(old_state(*jobs))
    assert all(job.retried_as is None and job.spec.retried_from is None for job in plan.jobs)
    assert sum("which cannot be" in text for _, text in plan.notes) == 1


def test_a_failed_job_is_repeated_once():
    plan = convert(old_state(failed(1), old_job(2, retried_from=1), old_job(3, retried_from=1)))
    assert (plan.jobs[0].retried_as, plan.jobs[2].spec.retried_from) == (2, None)


# -- dependencies ------------------------------------------------------------------------------------------------------


def test_the_single_dependency_of_old_counts_besides_the_list():
    plan = convert(old_state(old_job(1), old_job(2), old_job(3, depends_on=1, depends_on_ids=[2, 2])))
    assert plan.jobs[2].spec.depends_on == (2, 1)
    assert "waits for job 1, too" in notes(plan, 3)


def test_a_job_that_would_start_too_early_is_put_on_hold():
    plan = convert(old_state(old_job(1), old_job(2, depends_on_ids=[1, 99])))
    job = plan.jobs[1]
    assert (job.state, job.spec.depends_on) == (State.HOLD, (1,))
    assert "job 99, which the file does not have" in notes(plan, 2)
    assert "release it to run it" in notes(plan, 2)


def test_one_of_several_dependencies_may_be_missing_where_any_will_do():
    plan = convert(
        old_state(
            old_job(1),
            old_job(2, depends_on_ids=[1, 99], dependency_mode="Any"),
            old_job(3, depends_on_ids=[98, 99], dependency_mode="Any"),
        )
    )
    assert [(job.state, job.spec.depends_on) for job in plan.jobs[1:]] == [(State.QUEUED, (1,)), (State.HOLD, ())]
    assert plan.jobs[2].spec.dependency_mode is None


def test_an_ended_job_only_forgets_dependencies_that_are_missing():
    job = one(state="Finished", depends_on_ids=[99], finished_at=stamp(5))
    assert (job.state, job.spec.depends_on) == (State.FINISHED, ())


def test_a_job_that_waits_for_itself_is_put_on_hold():
    plan = convert(old_state(old_job(1, depends_on=1)))
    assert (plan.jobs[0].state, plan.jobs[0].spec.depends_on) == (State.HOLD, ())
    assert "depends on itself" in notes(plan, 1)


def test_jobs_that_wait_for_each_other_are_taken_apart_at_one_place():
    plan = convert(
        old_state(
            old_job(1, depends_on_ids=[3]),
            old_job(2, depends_on_ids=[1]),
            old_job(3, depends_on_ids=[2, 4]),
            old_job(4),
        )
    )
    held = [job for job in plan.jobs if job.state is State.HOLD]
    assert len(held) == 1
    assert len(plan.notes) == 1
    assert sum(len(job.spec.depends_on) for job in plan.jobs) == 3


def test_a_long_chain_is_no_matter():
    length = 20_000
    jobs = [old_job(n, depends_on_ids=[n - 1] if n > 1 else [length]) for n in range(1, length + 1)]
    plan = convert(old_state(*jobs))
    assert [job.id for job in plan.jobs if job.state is State.HOLD] == [2]
