"""Ended jobs are done again: alone, with what had fallen with them, and only where that has a chance."""

from typing import Any

import pytest

from gflow.core.errors import Impossible
from gflow.core.model import DependencyMode, JobId, State
from gflow.core.redo import again, fallen_with, in_order
from support.jobs import HOUR, Bench


def redo(bench: Bench, *job_ids: int, **kwargs: Any) -> list[int]:
    """Do these again, the first as the one that is meant; the new ids."""
    jobs = {job_id: bench.engine.jobs.get(JobId(job_id)) or bench.past[JobId(job_id)] for job_id in job_ids}
    wanted = [(jobs[job_id].id, again(jobs[job_id], "eve")) for job_id in job_ids]
    made, _ = bench.step(bench.engine.redo, wanted, bench.now, **kwargs)
    return [int(job.id) for job in made]


def with_fallen(bench: Bench, *attempts: int) -> list[int]:
    """The first of `attempts`, and what was cancelled because one of them failed, in the order of a cascade."""
    fallen = fallen_with([JobId(job_id) for job_id in attempts], bench.engine.jobs.values())
    return [attempts[0], *(job.id for job in in_order(fallen))]


def test_a_job_done_again_is_a_new_one_that_asks_for_the_same(bench: Bench) -> None:
    fields = {"name": "train", "priority": 3, "parameters": {"lr": "1"}, "max_retries": 2, "time_limit_secs": HOUR}
    old = bench.queued(**fields, submit_key="k", begin_at=bench.now.wall + 1)
    bench.sleep(2)
    bench.starts(old)
    bench.cancel(old)
    bench.end(old)
    assert bench.told() == [("cancelled", old)]
    bench.asked()
    (new,) = redo(bench, old)
    assert bench.told() == [("submitted", new)]
    made = bench.job(new)
    assert (made.state, made.run_name, made.spec.owner) == (State.QUEUED, "train", "eve")
    assert {name: getattr(made.spec, name) for name in fields} == fields
    assert (made.spec.begin_at, made.spec.submit_key, made.spec.redone_from) == (None, None, old)
    assert bench.job(old).redone_as == new
    assert bench.restarted().job(old).redone_as == new


def test_attempts_are_counted_anew(bench: Bench) -> None:
    first = bench.running(max_retries=1)
    bench.end(first, 1)
    bench.told()
    second = int(bench.job(first).retried_as or 0)
    bench.starts(second)
    bench.end(second, 1)
    bench.told()
    (new,) = redo(bench, second)
    bench.told()
    bench.starts(new)
    bench.end(new, 1)
    assert bench.job(new).retried_as is not None
    assert bench.job(new).spec.retried_from is None
    bench.told()


def test_what_had_fallen_goes_along_and_waits_for_the_new_jobs(bench: Bench) -> None:
    root, other = bench.running(), bench.ended()
    low, high = bench.queued(hold=True), bench.queued(depends_on=(root, other))
    lone = bench.queued(depends_on=(root,), auto_cancel=False)
    bench.update(low, depends_on=(high,))
    bench.told()
    bench.end(root, 1)
    assert bench.told() == [("failed", root), ("cancelled", high), ("cancelled", low)]
    wanted = with_fallen(bench, root)
    assert wanted == [root, high, low], "each behind what it depends on, whatever its number"
    new_root, new_high, new_low = redo(bench, *wanted)
    assert bench.told() == [("submitted", job_id) for job_id in (new_root, new_high, new_low)]
    assert bench.job(new_high).spec.depends_on == (new_root, other)
    assert bench.job(new_low).spec.depends_on == (new_high,)
    assert [bench.job(job_id).redone_as for job_id in (root, high, low, lone)] == [new_root, new_high, new_low, None]
    for job_id in (new_root, new_high, new_low):
        bench.starts(job_id)
        bench.end(job_id)
        assert bench.told() == [("completed", job_id)]
    bench.cancel(lone)
    bench.told()


def test_what_fell_with_a_later_attempt_waits_for_the_new_job(bench: Bench) -> None:
    first = bench.running(max_retries=1)
    after = bench.queued(depends_on=(first,), dependency_mode=DependencyMode.ALL)
    bench.end(first, 1)
    second = int(bench.job(first).retried_as or 0)
    bench.told()
    bench.starts(second)
    bench.end(second, 1)
    assert bench.told() == [("failed", second), ("cancelled", after)]
    wanted = with_fallen(bench, first, second)
    new, new_after = redo(bench, *wanted, attempts=[JobId(second)])
    assert bench.job(new_after).spec.depends_on == (new,)
    bench.told()


def test_a_job_whose_dependency_failed_has_no_chance(bench: Bench) -> None:
    failed = bench.running()
    after = bench.queued(depends_on=(failed,))
    bench.end(failed, 1)
    bench.told()
    with pytest.raises(Impossible, match=f"^Job {after} depends on job {failed}, which is Failed: do that again with"):
        redo(bench, after)
    (new,) = redo(bench, failed)
    (new_after,) = redo(bench, after)
    assert bench.job(new_after).spec.depends_on == (new,), "what the failed one was done again as"
    bench.told()


def test_a_job_that_left_comes_back_when_it_is_done_again(bench: Bench) -> None:
    old = bench.ended()
    bench.sleep(1)
    assert bench.retire(keep=0) == [old]
    (new,) = redo(bench, old, recalled=bench.recalled(old), held=True)
    assert bench.told() == [("submitted", new)]
    assert (bench.job(new).state, bench.job(old).redone_as) == (State.HOLD, new)
    bench.cancel(new)
    assert bench.told() == [("cancelled", new)]
    bench.sleep(1)
    assert bench.retire(keep=0) == [old, new]
    assert bench.past[JobId(old)].redone_as == new


def test_jobs_that_had_come_to_depend_on_each_other_are_not_waited_for_in_a_circle(bench: Bench) -> None:
    """What has ended may be depended on, whatever it depended on itself."""
    failed, one = bench.running(), bench.queued(hold=True)
    two = bench.queued(depends_on=(one, failed))
    bench.end(failed, 1)
    bench.told()
    bench.update(one, depends_on=(two,))
    assert bench.told() == [("updated", one), ("cancelled", one)]
    wanted = with_fallen(bench, failed)
    assert wanted == [failed, one, two]
    new, new_one, new_two = redo(bench, *wanted)
    assert bench.states(new, new_one, new_two) == ["Queued", "Cancelled", "Cancelled"]
    bench.told()
    bench.starts(new)
    with pytest.raises(Impossible, match=f"Job {one} depends on job {new_two}, which is Cancelled"):
        redo(bench, *with_fallen(bench, one))


def test_all_or_none(make_bench: Any) -> None:
    bench = make_bench(1)
    root = bench.running()
    bench.queued(depends_on=(root,), gpus=1)
    bench.end(root, 1)
    bench.told()
    bench.set_machine([])
    with pytest.raises(Impossible, match="asks for 1 GPU"):
        redo(bench, *with_fallen(bench, root))
    assert bench.job(root).redone_as is None
