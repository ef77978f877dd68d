"""Groups that are done: told of once, with what became of their jobs."""

from typing import Any

import pytest

from gflow.core import table
from gflow.core.events import Event, EventKind
from gflow.core.model import DependencyMode, JobId, State
from support.jobs import Bench, spec


def completed(bench: Bench) -> list[dict[str, Any]]:
    """What the events since the last look say about groups that are done; nothing else is looked at."""
    return [dict(event.about) for event in bench.events() if event.kind is EventKind.GROUP_COMPLETED]


def group(bench: Bench, size: int = 2, **fields: Any) -> list[int]:
    ids = bench.submit_all([spec(group_id="g", **fields) for _ in range(size)])
    bench.schedule()
    bench.effects()
    assert completed(bench) == []
    return ids


def test_it_is_told_when_the_last_job_has_ended_and_not_before(bench: Bench) -> None:
    first, second = group(bench, owner="ben")
    bench.end(first)
    assert bench.told() == [("completed", first)]
    bench.end(second, code=3)
    failed, done = bench.events()
    assert (failed.kind, done.kind) == (EventKind.FAILED, EventKind.GROUP_COMPLETED)
    counts = {"Finished": 1, "Failed": 1}
    about = {"group_id": "g", "user": "ben", "first_job_id": first, "counts": counts}
    assert done == Event(EventKind.GROUP_COMPLETED, bench.now.wall, bench.job(second), about)


def test_a_job_without_a_group_completes_none(bench: Bench) -> None:
    bench.ended()
    bench.assert_heard()


def test_a_retry_keeps_the_group_open_and_the_failed_attempt_is_not_counted(bench: Bench) -> None:
    first, second = group(bench, max_retries=1)
    bench.end(second)
    bench.end(first, code=1)
    assert completed(bench) == []
    bench.schedule()
    bench.end(second + 1)
    bench.effects()
    assert [about["counts"] for about in completed(bench)] == [{"Finished": 2}]


def test_waiting_and_held_jobs_keep_it_open(bench: Bench) -> None:
    (first,) = group(bench, 1)
    held = bench.submit(group_id="g", hold=True)
    bench.end(first)
    assert completed(bench) == []
    bench.cancel(held)
    assert [about["counts"] for about in completed(bench)] == [{"Finished": 1, "Cancelled": 1}]


def test_a_cascade_that_ends_the_rest_of_a_group_completes_it_once(bench: Bench) -> None:
    (first,) = group(bench, 1)
    needs = {"depends_on": (JobId(first),), "dependency_mode": DependencyMode.ALL}
    bench.submit_all([spec(group_id="g", **needs), spec(group_id="g", **needs), spec(group_id="h", **needs)])
    bench.events()
    bench.end(first, code=1)
    counts = {about["group_id"]: about["counts"] for about in completed(bench)}
    assert counts == {"g": {"Failed": 1, "Cancelled": 2}, "h": {"Cancelled": 1}}


def test_a_submission_of_jobs_that_can_never_start_completes_their_group_at_its_end(bench: Bench) -> None:
    failed = bench.ended(code=1)
    doomed = spec(group_id="g", depends_on=(JobId(failed),), dependency_mode=DependencyMode.ALL)
    bench.submit_all([doomed, doomed])
    assert [about["counts"] for about in completed(bench)] == [{"Cancelled": 2}]
    bench.submit_all([doomed, spec(group_id="h")])
    bench.submit_all([doomed, spec(group_id="g")])
    assert [about["counts"] for about in completed(bench)] == [{"Cancelled": 3}], "not while one of it still waits"


def test_an_update_that_dooms_the_last_job_completes_its_group(bench: Bench) -> None:
    failed = bench.ended(code=1)
    waiting = bench.submit(group_id="g", hold=True)
    bench.update(waiting, depends_on=(JobId(failed),), dependency_mode=DependencyMode.ALL)
    assert [about["group_id"] for about in completed(bench)] == ["g"]


def test_a_group_that_gets_another_job_completes_again(bench: Bench) -> None:
    (first,) = group(bench, 1)
    bench.end(first)
    assert len(completed(bench)) == 1
    (second,) = group(bench, 1)
    bench.end(second)
    assert [about["counts"] for about in completed(bench)] == [{"Finished": 2}]


def test_jobs_of_an_open_group_stay_at_hand_so_that_the_counts_are_whole(bench: Bench) -> None:
    first, second = group(bench)
    bench.end(first)
    bench.sleep(1000)
    assert bench.retire(0) == []
    assert bench.engine.prunable(bench.now.wall) == ([], 1)
    bench.end(second)
    assert bench.engine.group_counts("g") == {State.FINISHED: 2}
    assert len(completed(bench)) == 1
    bench.sleep(1000)
    assert bench.retire(0) == [first, second]


def test_a_group_without_end_does_not_keep_everything(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "GROUP_KEPT", 2)
    first, second, third = group(bench, 3)
    bench.end(first)
    bench.sleep(1000)
    assert bench.retire(0) == [first]
    bench.end(second)
    bench.sleep(1000)
    assert bench.retire(0) == []
    bench.end(third)
    assert [about["counts"] for about in completed(bench)] == [{"Finished": 2}]


def test_it_is_told_after_a_restart_too(bench: Bench) -> None:
    first, second = group(bench)
    bench.end(first)
    bench.events()
    later = bench.restarted()
    later.end(second)
    assert [about["counts"] for about in completed(later)] == [{"Finished": 2}]
