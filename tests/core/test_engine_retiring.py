"""Ended jobs leave, and come back when somebody is to wait for one of them."""

import pytest

from gflow.core.errors import Impossible
from gflow.core.model import State
from gflow.core.table import Heavy
from support.jobs import Bench


def test_the_first_to_end_leave_first(bench: Bench) -> None:
    for _ in range(5):
        bench.ended()
        bench.sleep(1)
    assert bench.retire(keep=3) == [1, 2]
    assert bench.retire(keep=3) == []
    assert list(bench.engine.finished) == [3, 4, 5]


def test_old_ones_leave_however_few_there_are(bench: Bench) -> None:
    bench.ended()
    bench.sleep(100)
    bench.ended()
    assert bench.retire(keep=10, long_ago=50) == [1]


def test_none_leaves_that_has_just_ended(bench: Bench) -> None:
    bench.ended()
    bench.sleep(9)
    assert bench.retire(keep=0, recently=10) == []
    bench.sleep(2)
    assert bench.retire(keep=0, recently=10) == [1]


def test_at_most_so_many_at_once(bench: Bench) -> None:
    for _ in range(4):
        bench.ended()
    bench.sleep(1)
    assert bench.retire(keep=0, most=3) == [1, 2, 3]


def test_waiting_and_running_jobs_stay(bench: Bench) -> None:
    bench.running()
    bench.queued(hold=True)
    bench.sleep(1)
    assert bench.retire(keep=0) == []


def test_what_a_waiting_job_depends_on_stays_until_it_has_ended(bench: Bench) -> None:
    bench.ended()
    dependent = bench.queued(depends_on=(1,), hold=True)
    bench.sleep(1)
    assert bench.retire(keep=0) == []
    bench.cancel(dependent)
    assert bench.told() == [("cancelled", 2)]
    bench.sleep(1)
    assert bench.retire(keep=0) == [1, 2]


def test_somebody_comes_to_depend_on_a_job_that_was_about_to_leave(bench: Bench) -> None:
    bench.ended()
    bench.sleep(1)
    (chosen,) = bench.engine.retirable(0, 0.0, bench.now.wall, 10)
    bench.queued(depends_on=(1,))
    outcome = bench.step(bench.engine.retire, [chosen.id])
    assert outcome.retired == []
    assert bench.states(1) == ["Finished"]


def test_a_job_that_left_can_still_be_depended_on(bench: Bench) -> None:
    bench.ended()
    bench.sleep(1)
    bench.retire(keep=0)
    assert bench.queued(depends_on=(1,)) == 2
    assert bench.states(1) == ["Finished"]
    bench.starts(2)


def test_depending_on_a_failed_job_that_left_dooms(bench: Bench) -> None:
    bench.ended(code=1)
    bench.sleep(1)
    bench.retire(keep=0)
    bench.submit(depends_on=(1,))
    assert bench.states(1, 2) == ["Failed", "Cancelled"]
    assert bench.told() == [("submitted", 2), ("cancelled", 2)]


def test_an_update_can_name_a_job_that_left(bench: Bench) -> None:
    bench.ended()
    bench.sleep(1)
    bench.retire(keep=0)
    bench.queued(hold=True)
    bench.update(2, depends_on=(1,))
    assert bench.told() == [("updated", 2)]
    assert bench.states(1) == ["Finished"]


def test_a_refused_submission_recalls_nothing(bench: Bench) -> None:
    bench.ended()
    bench.sleep(1)
    bench.retire(keep=0)
    with pytest.raises(Impossible, match="job 99 does not exist"):
        bench.submit(depends_on=(1, 99))
    assert bench.engine.jobs == {}


def test_a_retried_job_leaves_before_its_next_attempt(bench: Bench) -> None:
    bench.running(max_retries=1)
    bench.end(1, 1)
    assert bench.told() == [("submitted", 2), ("failed", 1)]
    bench.starts(2)
    bench.end(2)
    assert bench.told() == [("completed", 2)]
    bench.sleep(1)
    assert bench.retire(keep=1) == [1]
    assert bench.retire(keep=0) == [2]


def test_who_depends_on_a_retried_job_that_left_gets_its_last_attempt(bench: Bench) -> None:
    bench.running(max_retries=1)
    bench.end(1, 1)
    bench.told()
    bench.starts(2)
    bench.end(2)
    bench.told()
    bench.sleep(1)
    assert bench.retire(keep=0) == [1, 2]
    bench.queued(depends_on=(1,))
    assert bench.job(3).spec.depends_on == (2,)
    bench.starts(3)


def test_a_group_goes_with_its_last_job(bench: Bench) -> None:
    bench.submit(group_id="g", groups={"g": 1})
    bench.submit(group_id="g")
    for job_id in (1, 2):
        assert bench.schedule() == [job_id]
        bench.end(job_id)
    bench.sleep(1)
    assert bench.retire(keep=1) == [1]
    assert bench.engine.groups["g"].max_concurrent == 1
    assert bench.retire(keep=0) == [2]
    assert bench.engine.groups == {}
    bench.events()
    bench.effects()


def test_ids_and_shorthands_go_on(bench: Bench) -> None:
    bench.ended()
    bench.ended()
    bench.sleep(1)
    bench.retire(keep=1)
    assert list(bench.engine.submitted_by("ana")) == [2]
    bench.retire(keep=0)
    assert list(bench.engine.submitted_by("ana")) == []
    assert bench.queued() == 3


def test_the_order_of_ends_survives_a_restart(bench: Bench) -> None:
    first, second = bench.running(), bench.running()
    for job_id in (second, first):
        bench.sleep(1)
        bench.end(job_id)
    bench.told()
    bench.sleep(1)
    after = bench.restarted()
    assert after.retire(keep=1) == [second]
    assert after.job(first).state is State.FINISHED


def test_what_ended_before_a_moment_can_be_pruned_but_for_what_somebody_waits_for(bench: Bench) -> None:
    bench.ended()
    bench.ended(code=1)
    bench.queued(depends_on=(1,), hold=True)
    bench.sleep(10)
    moment = bench.now.wall
    bench.ended()
    assert bench.engine.prunable(moment) == ([2], 1)
    assert bench.engine.prunable(moment - 20) == ([], 0)
    assert bench.engine.prunable(moment + 1) == ([2, 4], 1)


def test_an_attempt_is_not_pruned_before_the_one_it_repeats(bench: Bench) -> None:
    first = bench.running(max_retries=1)
    bench.end(first, 1)
    assert bench.told() == [("submitted", 2), ("failed", 1)]
    bench.step_wall_clock(-100)
    bench.starts(2)
    bench.end(2, 0)
    assert bench.told() == [("completed", 2)]
    assert bench.engine.prunable(bench.now.wall + 50) == ([], 1)
    chosen, kept = bench.engine.prunable(bench.now.wall + 200)
    assert (chosen, kept) == ([1, 2], 0)
    assert bench.step(bench.engine.retire, chosen).retired == [1, 2]


def test_moments_that_a_job_was_waited_for_at_are_forgotten_with_it(bench: Bench) -> None:
    """The begin time and the time limit of a job that has left are still in the lists of moments, and mean nothing."""
    bench.submit(begin_at=bench.now.wall + 10)
    bench.cancel(1)
    bench.told()
    bench.running(time_limit_secs=20)
    bench.end(2)
    bench.told()
    bench.sleep(1)
    assert bench.retire(keep=0) == [1, 2]
    assert bench.engine.next_deadline_boot() is None
    assert bench.engine.next_begin_at() is None


def test_moments_of_jobs_that_have_left_pass(bench: Bench) -> None:
    bench.submit(begin_at=bench.now.wall + 10)
    bench.cancel(1)
    bench.told()
    bench.running(time_limit_secs=20)
    bench.end(2)
    bench.told()
    bench.sleep(1)
    assert bench.retire(keep=0) == [1, 2]
    bench.sleep(60)
    assert bench.schedule() == []
    assert bench.enforce() == []


def test_ended_jobs_of_who_keeps_much_leave_soon(bench: Bench) -> None:
    big = bench.queued(command=None, argv=("true", "x" * 5000))
    bench.cancel(big)
    bench.told()
    other = bench.queued(owner="ben")
    bench.cancel(other)
    bench.told()
    bench.sleep(20)
    wall = bench.now.wall

    def chosen(bytes_: int, ended_before: float) -> list[int]:
        return [job.id for job in bench.engine.retirable(10, 0.0, wall - 300, 10, Heavy(bytes_, ended_before))]

    assert chosen(4000, wall - 10) == [big]
    assert chosen(4000, wall - 30) == []
    assert chosen(6000, wall - 10) == []
