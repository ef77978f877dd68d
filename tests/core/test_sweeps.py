"""Groups by name: a cell is never submitted twice, and the rest is held when jobs fail one after another."""

import uuid
from typing import Any

import pytest

from gflow.core import groups
from gflow.core.errors import Impossible, Malformed
from gflow.core.events import EventKind
from gflow.core.explain import reasons
from gflow.core.model import DependencyMode, Failure, JobId, JobSpec, ReasonKind, State, StopCause
from support.jobs import HOUR, MINUTE, Bench, spec

GROUP = groups.id_of("ana", "lr")


def cell(key: str | None = None, **fields: Any) -> JobSpec:
    return spec(group_id=GROUP, group_name="lr", key=key, **fields)


def submitted(bench: Bench, *keys: str, **kwargs: Any) -> list[int]:
    ids = bench.submit_all([cell(key) for key in keys], **kwargs)
    bench.events()
    return ids


def held(bench: Bench) -> list[dict[str, Any]]:
    """What the events since the last look say of groups that are held; nothing else is looked at."""
    return [dict(event.about) for event in bench.events() if event.kind is EventKind.GROUP_HELD]


def start_all(bench: Bench) -> list[int]:
    started = bench.schedule()
    bench.effects()
    return started


# -- names -------------------------------------------------------------------------------------------------------------


def test_the_id_of_a_group_is_a_uuid_made_of_owner_and_name() -> None:
    assert uuid.UUID(GROUP).version == 8
    assert groups.id_of("ana", "lr") == GROUP
    others = [("ben", "lr"), ("ana", "LR"), ("an", "alr"), ("ana\0", "lr"), ("ana", "\udcff")]
    assert len({GROUP, *(groups.id_of(*other) for other in others)}) == 6


# -- cells -------------------------------------------------------------------------------------------------------------


def test_a_cell_that_waits_runs_or_has_finished_is_not_submitted_again(bench: Bench) -> None:
    done, running = submitted(bench, "a", "b")
    start_all(bench)
    bench.end(done)
    (waiting,) = submitted(bench, "c")
    bench.hold(waiting)
    assert submitted(bench, "a", "b", "c", "d") == [done, running, waiting, waiting + 1]


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED, State.TIMEOUT])
def test_a_cell_that_did_not_finish_is(bench: Bench, end: State) -> None:
    (first,) = submitted(bench, "a")
    start_all(bench)
    if end is not State.FAILED:
        bench.stop(first, StopCause.CANCEL if end is State.CANCELLED else StopCause.TIMEOUT)
    bench.end(first, code=1)
    assert bench.states(first) == [end.value]
    (second,) = submitted(bench, "a")
    assert second == first + 1
    assert submitted(bench, "a") == [second]
    assert submitted(bench.restarted(), "a") == [second]
    bench.events()
    bench.effects()


def test_one_cell_twice_in_a_submission_is_one_job(bench: Bench) -> None:
    first, second, third = submitted(bench, "a", "a", "b")
    assert first == second != third


def test_keys_of_other_groups_are_other_cells(bench: Bench) -> None:
    first = bench.queued(group_id="g", key="a")
    assert bench.queued(group_id="h", key="a") != first
    assert bench.queued(group_id="g", key="b") != first
    assert bench.queued(group_id="g") != first


def test_the_cells_of_another_user_are_others(bench: Bench) -> None:
    first, second = (bench.queued(group_id="g", key="a", owner=owner) for owner in ("ana", "ben"))
    assert first != second
    assert bench.submit(group_id="g", key="a", owner="ben") == second


def test_a_retry_is_the_same_cell(bench: Bench) -> None:
    (first,) = bench.submit_all([cell("a", max_retries=1)])
    start_all(bench)
    bench.end(first, code=1)
    bench.events()
    assert submitted(bench, "a") == [first + 1]


def test_what_is_done_once_more_takes_the_cell_over(bench: Bench) -> None:
    (first,) = submitted(bench, "a")
    start_all(bench)
    bench.end(first)
    (again,) = bench.submit_all([cell("a", redone_from=JobId(first))])
    assert again != first
    bench.cancel(again)
    bench.events()
    assert submitted(bench, "a") == [again + 1], "the latest counts, though one has finished before"


def test_a_cell_that_finished_long_ago_is_not_done_again(bench: Bench) -> None:
    failed, done = submitted(bench, "a", "b")
    start_all(bench)
    bench.end(failed, code=1)
    bench.end(done)
    bench.events()
    bench.sleep(HOUR)
    assert bench.retire(0) == [failed, done]
    again, kept = submitted(bench, "a", "b")
    assert (again, kept) == (done + 1, done)
    assert list(bench.engine.jobs) == [again], "what stands in the place of a new job need not come back for that"


def test_a_kept_cell_is_not_held_against_anybody(bench: Bench) -> None:
    """It was accepted once; what it asks for may be impossible by now."""
    (first,) = submitted(bench, "a")
    impossible = cell("a", gpus=8)
    assert bench.submit_all([impossible]) == [first]
    with pytest.raises(Impossible, match="8 GPUs"):
        bench.submit_all([cell("b", gpus=8)])


def test_what_would_stand_is_told_without_changing_anything(bench: Bench) -> None:
    (first,) = submitted(bench, "a")
    known = bench.engine.would_stand([cell("a"), cell("b")], bench.now)
    assert [job.id if job else None for job in known] == [first, None]
    with pytest.raises(Impossible, match="does not exist"):
        bench.engine.would_stand([cell("b", depends_on=(JobId(99),))], bench.now)
    assert list(bench.engine.jobs) == [first]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"key": "a"}, "A key needs a group"),
        ({"key": "", "group_id": "g"}, "Invalid key: use 1 to 512"),
        ({"key": "a\nb", "group_id": "g"}, "Invalid key"),
        ({"group_name": " ", "group_id": "g"}, "Invalid group: use 1 to 128"),
    ],
)
def test_bad_keys_and_names_are_refused(bench: Bench, fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        bench.submit(**fields)


@pytest.mark.parametrize("failures", [0, -1, 1001])
def test_a_group_is_not_held_for_nothing(bench: Bench, failures: int) -> None:
    with pytest.raises(Malformed, match=f"Invalid hold_after_failures {failures}"):
        bench.submit(group_id="g", hold_after={"g": failures})


# -- holding the rest --------------------------------------------------------------------------------------------------


def sweep(bench: Bench, size: int = 6, *, at_once: int | None = 1, failures: int = 2) -> list[int]:
    kwargs = {"groups": {GROUP: at_once}, "hold_after": {GROUP: failures}}
    ids = bench.submit_all([cell(f"k{number}") for number in range(size)], **kwargs)
    bench.events()
    return ids


def fail(bench: Bench, job_id: int, after_secs: float = 1.0, code: int = 1) -> None:
    """The job starts, and ends so much later."""
    assert start_all(bench) == [job_id]
    bench.sleep(after_secs)
    bench.end(job_id, code)


def test_the_rest_is_held_with_one_event_and_a_reason(bench: Bench) -> None:
    first, second, *rest = sweep(bench)
    fail(bench, first)
    assert held(bench) == []
    fail(bench, second)
    why = f"2 jobs in a row of its group 'lr' failed within a minute (the last: job {second}, exit code 1)"
    _, failed, event = bench.events()
    assert (failed.kind, event.kind, event.job) == (EventKind.FAILED, EventKind.GROUP_HELD, bench.job(second))
    assert event.about == {
        "group_id": GROUP,
        "group_name": "lr",
        "user": "ana",
        "first_job_id": first,
        "reason": why,
        "failed": [first, second],
        "held": 4,
    }
    assert bench.states(*rest) == ["Hold"] * 4
    assert {bench.job(job_id).detail for job_id in rest} == {why}
    (told, *_) = reasons(bench.engine, bench.job(rest[0]), bench.now)
    assert (told.reason, told.text, told.help) == (ReasonKind.HELD, f"It is on hold: {why}.", f"gjob release {rest[0]}")
    assert start_all(bench) == []


def test_others_are_left_alone(bench: Bench) -> None:
    other = bench.queued(hold=True)
    stranger = bench.submit(group_id="h", hold=True)
    first, second, *_ = sweep(bench, at_once=2)
    bench.release(other)
    bench.release(stranger)
    assert start_all(bench) == [other, stranger, first, second]
    bench.end(first, 1)
    bench.end(second, 1)
    assert bench.states(other, stranger) == ["Running", "Running"]
    assert len(held(bench)) == 1


def test_running_jobs_go_on(bench: Bench) -> None:
    first, second, third, *_ = sweep(bench, at_once=3)
    start_all(bench)
    bench.end(first, 1)
    bench.end(second, 1)
    assert bench.states(third) == ["Running"]
    assert [about["held"] for about in held(bench)] == [3]
    bench.end(third, 1)
    assert held(bench) == [], "told once"


def test_a_job_that_finishes_ends_the_row(bench: Bench) -> None:
    ids = sweep(bench)
    for job_id, code in zip(ids, (1, 0, 1, 0, 1), strict=False):
        fail(bench, job_id, code=code)
    assert held(bench) == []
    assert bench.states(ids[-1]) == ["Queued"]


@pytest.mark.parametrize(
    ("after_secs", "trips"),
    [
        (1.0, True),  # each fails at once
        (50.0, True),  # each within a minute of its start, though not all within one minute
        (70.0, False),  # each runs for longer than that
    ],
)
def test_slow_failures_are_no_reason(bench: Bench, after_secs: float, trips: bool) -> None:
    for job_id in sweep(bench)[:2]:
        fail(bench, job_id, after_secs)
    assert bool(held(bench)) == trips


def test_several_that_fail_within_one_minute_are_a_reason_however_long_they_ran(bench: Bench) -> None:
    first, second, *_ = sweep(bench, at_once=2)
    start_all(bench)
    bench.sleep(HOUR)
    bench.end(first, 1)
    bench.sleep(MINUTE - 1)
    bench.end(second, 1)
    assert len(held(bench)) == 1


def test_cancelled_jobs_say_nothing_and_a_time_limit_ends_the_row(bench: Bench) -> None:
    first, second, third, *_ = sweep(bench)
    fail(bench, first)
    bench.cancel(third)
    start_all(bench)
    bench.stop(second, StopCause.TIMEOUT)
    bench.effects()
    bench.end(second, 130)
    assert bench.engine.groups[GROUP].failures == ()
    assert held(bench) == []


def test_attempts_of_one_job_count_once(bench: Bench) -> None:
    (first, second) = bench.submit_all(
        [cell("a", max_retries=3, priority=20), cell("b")], groups={GROUP: 1}, hold_after={GROUP: 2}
    )
    for attempt in (first, second + 1, second + 2):
        fail(bench, attempt)
    assert held(bench) == []
    assert [failure.task for failure in bench.engine.groups[GROUP].failures] == [first]
    fail(bench, second + 3)
    fail(bench, second)
    assert [about["failed"] for about in held(bench)] == [[first, second]]


def test_a_retry_of_the_last_failure_is_held_as_well(bench: Bench) -> None:
    first, second = bench.submit_all([cell("a"), cell("b", max_retries=1)], groups={GROUP: 1}, hold_after={GROUP: 2})
    fail(bench, first)
    fail(bench, second)
    assert [about["held"] for about in held(bench)] == [1]
    assert bench.states(second + 1) == ["Hold"]


def tripped(bench: Bench, size: int = 4) -> list[int]:
    """A group whose first two jobs have failed and whose others are on hold."""
    ids = sweep(bench, size)
    for job_id in ids[:2]:
        fail(bench, job_id)
    bench.events()
    return ids


def test_what_comes_later_is_born_on_hold_until_one_is_released(bench: Bench) -> None:
    *_, last = tripped(bench)
    (late,) = submitted(bench, "late")
    assert bench.states(late) == ["Hold"]
    assert (bench.job(late).detail or "").startswith("2 jobs in a row")
    later = bench.restarted()
    (later_still,) = submitted(later, "later still")
    assert later.states(later_still) == ["Hold"]
    later.release(last)
    assert later.job(last).detail is None
    assert later.states(late, *submitted(later, "free")) == ["Hold", "Queued"]
    assert later.engine.groups[GROUP].held is None
    later.events()


def test_whoever_submits_a_failed_cell_again_has_seen_to_it(bench: Bench) -> None:
    first, _, *rest = tripped(bench)
    new, again, kept = submitted(bench, "new", "k0", "k2")
    assert (again > first, kept) == (True, rest[0])
    assert bench.states(new, again, kept) == ["Queued", "Queued", "Hold"]


def test_a_script_that_is_slower_than_its_jobs_fail_is_stopped_too(bench: Bench) -> None:
    """None of the group was left when the second failed."""
    assert bench.states(*tripped(bench, 2)) == ["Failed", "Failed"]
    bench.sleep(30)
    (third,) = submitted(bench, "k2")
    assert bench.states(third) == ["Hold"]
    bench.cancel(third)
    bench.sleep(MINUTE)
    assert bench.states(*submitted(bench, "k3")) == ["Queued"], "an hour later it is another matter"
    bench.events()


def test_the_number_may_be_changed_and_limits_stay_what_they_were(bench: Bench) -> None:
    sweep(bench, failures=5)
    bench.submit_all([cell("x")], hold_after={GROUP: 2})
    group = bench.engine.groups[GROUP]
    assert (group.max_concurrent, group.hold_after) == (1, 2)
    bench.set_group_limit(GROUP, 3)
    group = bench.engine.groups[GROUP]
    assert (group.max_concurrent, group.hold_after) == (3, 2)
    bench.events()


@pytest.mark.parametrize(
    ("failures", "most", "trips"),
    [
        ([], 1, False),
        ([(0, 5)], 1, True),
        ([(0, 500)], 1, True),
        ([(0, 5), (30, 5)], 3, False),
        ([(0, 500), (59, 500)], 2, True),
        ([(0, 500), (60, 500)], 2, False),
        ([(0, 59), (4000, 59)], 2, True),
        ([(0, 59), (4000, 60)], 2, False),
    ],
)
def test_what_is_a_row(failures: list[tuple[float, float]], most: int, trips: bool) -> None:
    row = [Failure(JobId(number), at, ran) for number, (at, ran) in enumerate(failures)]
    assert groups.trips(row, most) is trips


# -- any end of a dependency -------------------------------------------------------------------------------------------


def after(*ids: int, **fields: Any) -> dict[str, Any]:
    return {"depends_on": tuple(map(JobId, ids)), "dependency_mode": DependencyMode.ALL, "after_end": True, **fields}


@pytest.mark.parametrize("code", [0, 1])
def test_any_end_will_do_for_who_asks_for_no_more(bench: Bench, code: int) -> None:
    first = bench.running()
    waiting = bench.queued(**after(first))
    (why,) = reasons(bench.engine, bench.job(waiting), bench.now)
    assert why.text == f"It waits for job {first} (Running) to end."
    bench.end(first, code)
    bench.events()
    bench.starts(waiting)


def test_a_cancelled_dependency_will_do_too(bench: Bench) -> None:
    first = bench.queued(hold=True)
    waiting, chained = bench.queued(**after(first)), bench.queued(depends_on=(JobId(first),))
    bench.cancel(first)
    bench.events()
    assert bench.states(chained) == ["Cancelled"]
    bench.starts(waiting)


def test_a_retried_dependency_has_not_ended(bench: Bench) -> None:
    first = bench.running(max_retries=1)
    waiting = bench.queued(**after(first))
    bench.end(first, 1)
    bench.events()
    assert bench.job(waiting).spec.depends_on == (waiting + 1,)
    bench.starts(waiting + 1)
    bench.end(waiting + 1, 1)
    bench.events()
    bench.starts(waiting)
