"""Hold, release, begin times, groups with limits, and changes to jobs that wait."""

import pytest

from gflow.core.errors import Malformed, WrongState
from gflow.core.model import Reason, ReasonKind
from support.jobs import HOUR, Bench, spec


def test_a_held_job_waits_until_it_is_released(bench: Bench) -> None:
    job = bench.queued()
    bench.hold(job)
    assert bench.told() == [("held", job)]
    assert bench.reason(job) == Reason(ReasonKind.HELD)
    assert bench.schedule() == []
    bench.release(job)
    assert bench.told() == [("released", job)]
    bench.starts(job)


def test_a_job_can_be_born_on_hold(bench: Bench) -> None:
    job = bench.queued(hold=True)
    assert bench.states(job) == ["Hold"]
    assert bench.schedule() == []
    bench.release(job)
    assert bench.told() == [("released", job)]
    bench.starts(job)


def test_hold_and_release_in_the_wrong_state_are_refused(bench: Bench) -> None:
    running, held, queued = bench.running(), bench.queued(hold=True), bench.queued()
    done = bench.queued()
    bench.cancel(done)
    assert bench.told() == [("cancelled", done)]
    for job, why in (
        (running, "is Running and cannot become Hold"),
        (held, "is on hold already"),
        (done, "has ended already: Cancelled"),
    ):
        with pytest.raises(WrongState, match=f"Job {job} {why}"):
            bench.hold(job)
    for job, why in (
        (running, "is not on hold: it is Running"),
        (queued, "is not on hold: it is Queued"),
        (done, "has ended already: Cancelled"),
    ):
        with pytest.raises(WrongState, match=f"Job {job} {why}"):
            bench.release(job, bench.now.wall + 10)


def test_a_job_does_not_start_before_its_begin_time(bench: Bench) -> None:
    begin_at = bench.now.wall + HOUR
    job = bench.queued(begin_at=begin_at)
    assert bench.schedule() == []
    assert bench.reason(job) == Reason(ReasonKind.BEGIN_TIME)
    assert bench.engine.next_begin_at() == begin_at
    bench.sleep(HOUR - 0.001)
    assert bench.schedule() == []
    bench.sleep(0.001)
    bench.starts(job)
    assert bench.engine.next_begin_at() is None


def test_the_next_begin_time_is_that_of_a_job_still_waiting_for_it(bench: Bench) -> None:
    soon, later, last = (bench.queued(begin_at=bench.now.wall + hours * HOUR) for hours in (1, 2, 3))
    bench.cancel(soon)
    bench.update(later, begin_at=bench.now.wall + 4 * HOUR)
    assert bench.told() == [("cancelled", soon), ("updated", later)]
    assert bench.engine.next_begin_at() == bench.now.wall + 3 * HOUR
    bench.sleep(3 * HOUR)
    bench.starts(last)
    bench.sleep(HOUR)
    bench.starts(later)


def test_a_begin_time_taken_away_starts_the_job(bench: Bench) -> None:
    job = bench.queued(begin_at=bench.now.wall + HOUR)
    bench.update(job, begin_at=None)
    assert bench.told() == [("updated", job)]
    bench.starts(job)


def test_release_may_set_a_begin_time(bench: Bench) -> None:
    job = bench.queued(hold=True)
    bench.release(job, bench.now.wall + HOUR)
    assert bench.told() == [("released", job)]
    assert bench.schedule() == []
    bench.sleep(HOUR)
    bench.starts(job)


def test_a_begin_time_outlives_hold_and_release(bench: Bench) -> None:
    job = bench.queued(begin_at=bench.now.wall + HOUR)
    bench.hold(job)
    bench.release(job)
    assert bench.told() == [("held", job), ("released", job)]
    assert bench.schedule() == []
    bench.sleep(HOUR)
    bench.starts(job)


def test_a_dependency_that_ends_in_the_instant_of_the_begin_time_queues_the_job_once(bench: Bench) -> None:
    first = bench.running()
    job = bench.queued(depends_on=(first,), begin_at=bench.now.wall + 10)
    bench.sleep(10)
    bench.end(first)
    assert bench.told() == [("completed", first)]
    bench.starts(job)


def test_a_job_waits_for_both_its_begin_time_and_its_dependency(bench: Bench) -> None:
    first = bench.running()
    job = bench.queued(depends_on=(first,), begin_at=bench.now.wall + 10)
    assert bench.reason(job) == Reason(ReasonKind.BEGIN_TIME)
    bench.sleep(10)
    assert bench.schedule() == []
    assert bench.reason(job) == Reason(ReasonKind.DEPENDENCY)
    bench.end(first)
    assert bench.told() == [("completed", first)]
    bench.starts(job)


def test_a_clock_set_back_holds_up_no_job_whose_time_had_come(bench: Bench) -> None:
    blocker = bench.running(group_id="g", groups={"g": 1})
    job = bench.queued(group_id="g", begin_at=bench.now.wall + 10)
    bench.sleep(10)
    assert bench.schedule() == []
    bench.step_wall_clock(-HOUR)
    bench.end(blocker)
    assert bench.told() == [("completed", blocker)]
    bench.starts(job)


def test_an_overdue_begin_time_is_seen_after_a_restart(bench: Bench) -> None:
    job = bench.queued(begin_at=bench.now.wall + HOUR)
    bench.sleep(2 * HOUR)
    later = bench.restarted()
    assert later.engine.next_begin_at() is None
    later.starts(job)


def test_a_group_runs_no_more_than_its_limit(bench: Bench) -> None:
    tasks = bench.submit_all([spec(task_id=task, group_id="g") for task in range(5)], groups={"g": 2})
    other = bench.submit()
    assert len(bench.told()) == 6
    bench.starts(tasks[0], tasks[1], other)
    assert {bench.reason(task) for task in tasks[2:]} == {Reason(ReasonKind.RESOURCES)}
    bench.end(tasks[1])
    assert bench.told() == [("completed", tasks[1])]
    bench.starts(tasks[2])


def test_a_raised_limit_starts_waiting_jobs(bench: Bench) -> None:
    tasks = bench.submit_all([spec(group_id="g") for _ in range(4)], groups={"g": 1})
    assert len(bench.told()) == 4
    bench.starts(tasks[0])
    assert bench.set_group_limit("g", 3) == 4
    assert bench.told() == [("updated", task) for task in tasks]
    bench.starts(tasks[1], tasks[2])
    assert bench.set_group_limit("g", None) == 4
    assert len(bench.told()) == 4
    bench.starts(tasks[3])


def test_a_lowered_limit_stops_nothing_and_starts_nothing(bench: Bench) -> None:
    tasks = bench.submit_all([spec(group_id="g") for _ in range(4)], groups={"g": 3})
    assert len(bench.told()) == 4
    bench.starts(*tasks[:3])
    bench.set_group_limit("g", 1)
    bench.end(tasks[0])
    bench.end(tasks[1])
    assert len(bench.told()) == 6
    assert bench.schedule() == []
    bench.end(tasks[2])
    assert bench.told() == [("completed", tasks[2])]
    bench.starts(tasks[3])


def test_a_group_gets_a_limit_while_its_jobs_wait(bench: Bench) -> None:
    tasks = bench.submit_all([spec(group_id="g") for _ in range(3)])
    bench.set_group_limit("g", 2)
    assert len(bench.told()) == 6
    bench.starts(*tasks[:2])
    assert bench.reason(tasks[2]) == Reason(ReasonKind.RESOURCES)


def test_jobs_that_ended_are_not_counted_as_concerned_by_a_new_limit(bench: Bench) -> None:
    done, open_ = bench.running(group_id="g"), bench.queued(group_id="g")
    bench.end(done)
    assert bench.told() == [("completed", done)]
    assert bench.set_group_limit("g", 1) == 1
    assert bench.told() == [("updated", open_)]
    assert bench.states(done) == ["Finished"]


@pytest.mark.parametrize("cap", [0, -1])
def test_a_limit_that_lets_nothing_run_is_refused(bench: Bench, cap: int) -> None:
    with pytest.raises(Malformed, match=f"Invalid max_concurrent {cap}: use 1 or more"):
        bench.submit(group_id="g", groups={"g": cap})
    bench.queued(group_id="g")
    with pytest.raises(Malformed, match=f"Invalid max_concurrent {cap}: use 1 or more"):
        bench.set_group_limit("g", cap)


def test_groups_and_limits_outlive_a_restart(bench: Bench) -> None:
    tasks = bench.submit_all([spec(group_id="g") for _ in range(3)], groups={"g": 2})
    assert len(bench.told()) == 3
    bench.starts(*tasks[:2])
    later = bench.restarted()
    assert later.schedule() == []
    later.end(tasks[0])
    assert later.told() == [("completed", tasks[0])]
    later.starts(tasks[2])


def test_a_job_whose_priority_was_lowered_while_it_waited_still_starts(bench: Bench) -> None:
    """Its old, better place in the queue must not shadow its new one."""
    blocker = bench.running(group_id="g", groups={"g": 1})
    job = bench.queued(group_id="g", priority=20)
    other = bench.queued(group_id="g", priority=10)
    assert bench.schedule() == []
    bench.update(job, priority=5)
    bench.end(blocker)
    assert bench.told() == [("updated", job), ("completed", blocker)]
    bench.starts(other)
    bench.end(other)
    assert bench.told() == [("completed", other)]
    bench.starts(job)


def test_a_longer_limit_puts_a_waiting_job_behind(bench: Bench) -> None:
    blocker = bench.running(group_id="g", groups={"g": 1})
    job, other = (bench.queued(group_id="g", time_limit_secs=hours * HOUR) for hours in (1, 2))
    bench.update(job, time_limit_secs=9 * HOUR)
    bench.end(blocker)
    assert bench.told() == [("updated", job), ("completed", blocker)]
    bench.starts(other)


def test_a_waiting_job_takes_any_change(bench: Bench) -> None:
    job = bench.queued(name="n", time_limit_secs=HOUR, memory_mb=5)
    bench.update(job, command="false", time_limit_secs=None, memory_mb=None, max_retries=2, priority=0)
    assert bench.told() == [("updated", job)]
    changed = bench.job(job).spec
    assert (changed.command, changed.time_limit_secs, changed.memory_mb) == ("false", None, None)
    assert (changed.max_retries, changed.priority, changed.name) == (2, 0, "n")


def test_ended_jobs_take_no_change(bench: Bench) -> None:
    done = bench.ended()
    with pytest.raises(WrongState, match=f"Job {done} is Finished; cannot be updated"):
        bench.update(done, priority=5)


def test_a_running_job_takes_a_new_time_limit_only(bench: Bench) -> None:
    job = bench.running()
    for changes in ({"priority": 5}, {"time_limit_secs": 60.0, "priority": 5}):
        with pytest.raises(
            WrongState, match=f"Job {job} is Running; only its limits of time and memory can be changed"
        ):
            bench.update(job, admin=True, **changes)


def test_cancelling_what_waits_is_done_at_once(bench: Bench) -> None:
    for job in (bench.queued(), bench.queued(hold=True), bench.queued(begin_at=bench.now.wall + 9)):
        bench.cancel(job, by="ana")
        assert bench.told() == [("cancelled", job)]
        ended = bench.job(job)
        assert (ended.reason, ended.detail) == (Reason(ReasonKind.CANCELLED), "cancelled by ana")
        assert (ended.started_at, ended.finished_at, ended.exit_code) == (None, bench.now.wall, None)
        with pytest.raises(WrongState, match=f"Job {job} has ended already: Cancelled"):
            bench.cancel(job)
    assert bench.schedule() == []
