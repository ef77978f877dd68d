"""Dependencies: who waits for whom, who is given up when one fails, and that nobody is given up twice."""

import pytest

from gflow.core.engine import Engine
from gflow.core.errors import Impossible
from gflow.core.model import DependencyMode, JobId, Reason, ReasonKind, State, StopCause
from support.jobs import START, Bench
from support.jobs import spec as job_spec

ALL, ANY = DependencyMode.ALL, DependencyMode.ANY


def failed_because_of(job_id: int) -> Reason:
    return Reason(ReasonKind.DEPENDENCY_FAILED, job_id)


def test_all_dependencies_must_have_finished(bench: Bench) -> None:
    one, two = bench.running(), bench.running()
    after = bench.queued(depends_on=(one, two), dependency_mode=ALL)
    assert bench.schedule() == []
    assert bench.reason(after) == Reason(ReasonKind.DEPENDENCY)
    bench.end(one)
    assert bench.schedule() == []
    bench.end(two)
    assert bench.told() == [("completed", one), ("completed", two)]
    bench.starts(after)


def test_one_of_any_dependencies_must_have_finished(bench: Bench) -> None:
    one, two = bench.running(), bench.running()
    after = bench.queued(depends_on=(one, two), dependency_mode=ANY)
    assert bench.schedule() == []
    bench.end(two)
    assert bench.told() == [("completed", two)]
    bench.starts(after)


def test_a_single_dependency_has_no_mode(bench: Bench) -> None:
    one = bench.running()
    after = bench.queued(depends_on=(one,))
    bench.end(one)
    assert bench.told() == [("completed", one)]
    bench.starts(after)


def test_a_dependency_that_has_finished_already_is_no_wait(bench: Bench) -> None:
    one = bench.ended()
    bench.starts(bench.queued(depends_on=(one,)))


def test_the_first_failure_gives_up_a_job_that_needs_all(bench: Bench) -> None:
    one, two = bench.running(), bench.running()
    after = bench.queued(depends_on=(one, two), dependency_mode=ALL)
    bench.end(one, code=1)
    assert bench.told() == [("failed", one), ("cancelled", after)]
    assert bench.job(after).reason == failed_because_of(one)
    bench.end(two)
    assert bench.told() == [("completed", two)]


def test_the_last_failure_gives_up_a_job_that_needs_any(bench: Bench) -> None:
    one, two = bench.running(), bench.running()
    after = bench.queued(depends_on=(one, two), dependency_mode=ANY)
    bench.end(two, code=1)
    assert bench.told() == [("failed", two)]
    bench.end(one, code=1)
    assert bench.told() == [("failed", one), ("cancelled", after)]


@pytest.mark.parametrize("cause", [StopCause.CANCEL, StopCause.TIMEOUT, StopCause.FAIL])
def test_only_finished_satisfies(bench: Bench, cause: StopCause) -> None:
    one = bench.running()
    after = bench.queued(depends_on=(one,))
    bench.stop(one, cause)
    assert bench.asked() == [("interrupt", one)]
    assert bench.states(after) == ["Queued"], "it is given up when the job has ended, not when it is asked to"
    bench.end(one, code=0)
    assert bench.told()[1:] == [("cancelled", after)]


def test_a_cascade_reaches_the_end_of_a_chain_and_held_jobs(bench: Bench) -> None:
    first = bench.running()
    held = bench.queued(depends_on=(first,), hold=True)
    chain = [bench.queued(depends_on=(held,))]
    for _ in range(3):
        chain.append(bench.queued(depends_on=(chain[-1],)))
    bench.end(first, code=1)
    assert bench.told() == [("failed", first), *(("cancelled", job_id) for job_id in (held, *chain))]
    assert [bench.job(job_id).reason for job_id in (held, *chain)] == [
        failed_because_of(job_id) for job_id in (first, held, *chain[:-1])
    ]


def test_a_diamond_falls_once(bench: Bench) -> None:
    top = bench.running()
    left, right = bench.queued(depends_on=(top,)), bench.queued(depends_on=(top,))
    bottom = bench.queued(depends_on=(left, right), dependency_mode=ALL)
    bench.end(top, code=1)
    assert bench.told() == [("failed", top), ("cancelled", left), ("cancelled", right), ("cancelled", bottom)]


def test_one_failure_is_not_counted_twice_for_a_job_that_needs_any(bench: Bench) -> None:
    """`last` may still run through `other`, though the failure of `top` reaches it on two ways."""
    top, other = bench.running(), bench.running()
    middle = bench.queued(depends_on=(top,))
    last = bench.queued(depends_on=(top, middle, other), dependency_mode=ANY)
    bench.end(top, code=1)
    assert bench.told() == [("failed", top), ("cancelled", middle)]
    bench.end(other)
    assert bench.told() == [("completed", other)]
    bench.starts(last)


def test_an_any_diamond_falls_when_all_its_ways_are_closed(bench: Bench) -> None:
    top = bench.running()
    left, right = bench.queued(depends_on=(top,)), bench.queued(depends_on=(top,))
    bottom = bench.queued(depends_on=(left, right), dependency_mode=ANY)
    bench.cancel(left)
    assert bench.told() == [("cancelled", left)]
    bench.end(top, code=1)
    assert bench.told() == [("failed", top), ("cancelled", right), ("cancelled", bottom)]


def test_without_auto_cancel_a_job_stays(bench: Bench) -> None:
    one = bench.running()
    stays = bench.queued(depends_on=(one,), auto_cancel=False)
    behind = bench.queued(depends_on=(stays,))
    bench.end(one, code=1)
    assert bench.told() == [("failed", one)]
    assert bench.schedule() == []
    assert bench.states(stays, behind) == ["Queued", "Queued"]
    assert bench.reason(stays) == Reason(ReasonKind.DEPENDENCY)


@pytest.mark.parametrize("mode", [ALL, ANY])
@pytest.mark.parametrize("held", [False, True])
def test_nor_when_the_last_of_what_it_waits_for_ends_well(bench: Bench, mode: DependencyMode, held: bool) -> None:
    """Or badly: told to stay, it stays, and where one of any has finished it goes on."""
    bad, good = bench.running(), bench.running()
    stays = bench.queued(depends_on=(bad, good), dependency_mode=mode, auto_cancel=False, hold=held)
    bench.end(bad, 1)
    bench.end(good)
    assert bench.told() == [("failed", bad), ("completed", good)]
    if mode is ANY and not held:
        bench.starts(stays)
    else:
        assert bench.schedule() == []


def test_a_job_that_stayed_goes_on_with_other_dependencies(bench: Bench) -> None:
    failed, good = bench.ended(1), bench.running()
    stays = bench.queued(depends_on=(failed,), auto_cancel=False)
    bench.update(stays, depends_on=(good,))
    assert bench.told() == [("updated", stays)]
    bench.end(good)
    assert bench.told() == [("completed", good)]
    bench.starts(stays)


def test_turning_auto_cancel_on_gives_up_a_job_that_only_stayed_for_that(bench: Bench) -> None:
    stays = bench.queued(depends_on=(bench.ended(1),), auto_cancel=False)
    behind = bench.queued(depends_on=(stays,))
    bench.update(stays, auto_cancel=True)
    assert bench.told() == [("updated", stays), ("cancelled", stays), ("cancelled", behind)]


@pytest.mark.parametrize("hold", [False, True])
def test_a_job_submitted_onto_a_failure_is_cancelled_at_once(bench: Bench, hold: bool) -> None:
    failed = bench.ended(1)
    late = bench.submit(depends_on=(failed,), hold=hold)
    assert bench.told() == [("submitted", late), ("cancelled", late)]
    assert bench.job(late).reason == failed_because_of(failed)
    assert bench.job(late).finished_at == bench.now.wall


def test_a_job_that_needs_any_may_name_a_failed_one(bench: Bench) -> None:
    failed, open_ = bench.ended(1), bench.running()
    after = bench.queued(depends_on=(failed, open_), dependency_mode=ANY)
    bench.end(open_)
    assert bench.told() == [("completed", open_)]
    bench.starts(after)


def test_a_dependency_named_twice_counts_once(bench: Bench) -> None:
    one = bench.running()
    after = bench.queued(depends_on=(one, one))
    assert bench.job(after).spec.depends_on == (one,)
    bench.end(one)
    assert bench.told() == [("completed", one)]
    bench.starts(after)


def test_unknown_dependencies_are_refused(bench: Bench) -> None:
    for unknown in (1, 99, 0, -1):
        with pytest.raises(Impossible, match=f"Dependency job {unknown} does not exist"):
            bench.submit(depends_on=(unknown,))
    one = bench.queued()
    with pytest.raises(Impossible, match="Dependency job 99 does not exist"):
        bench.update(one, depends_on=(99,))


def test_cycles_are_refused(bench: Bench) -> None:
    first = bench.queued(hold=True)
    second = bench.queued(depends_on=(first,))
    third = bench.queued(depends_on=(second,))
    for dependency in (first, second, third):
        with pytest.raises(Impossible, match=f"Job {first} would come to wait for itself"):
            bench.update(first, depends_on=(dependency,))


def test_a_long_chain_is_no_trouble(bench: Bench) -> None:
    first = bench.queued(hold=True)
    last = first
    for _ in range(1500):
        last = int(bench.engine.submit([bench.job(first).spec], bench.now)[0][0].id)
        bench.engine.update(last, {"depends_on": (last - 1,)}, bench.now, may_raise_limit=False)
    with pytest.raises(Impossible, match="wait for itself"):
        bench.update(first, depends_on=(last,))
    bench.cancel(first)
    assert len(bench.told()) == 1501


@pytest.mark.once
@pytest.mark.parametrize("mode", [DependencyMode.ALL, ANY])
def test_layers_that_wait_for_all_of_the_layer_before_are_no_trouble(mode: DependencyMode) -> None:
    """Work that grows faster than what is written down would take minutes for this."""
    engine, width, layers = Engine(), 300, 4
    layer: list[int] = []
    for _ in range(layers):
        specs = [job_spec(depends_on=tuple(layer), dependency_mode=mode if layer else None) for _ in range(width)]
        jobs, _ = engine.submit(specs, START)
        layer = [job.id for job in jobs]
    first = [JobId(number) for number in range(1, width + 1)]
    assert len(list(engine.dependents(first))) == width * (layers - 1)
    for job_id in first:
        engine.stop(job_id, StopCause.CANCEL, START)
    assert engine.counts[State.CANCELLED] == width * layers


def test_what_has_ended_closes_no_cycle(bench: Bench) -> None:
    open_, other = bench.queued(hold=True), bench.running()
    done = bench.queued(depends_on=(open_, other), dependency_mode=ANY)
    bench.end(other)
    assert bench.told() == [("completed", other)]
    bench.starts(done)
    bench.end(done)
    bench.update(open_, depends_on=(done,))
    bench.release(open_)
    assert bench.told() == [("completed", done), ("updated", open_), ("released", open_)]
    bench.starts(open_)


def test_changed_dependencies_replace_the_old_ones(bench: Bench) -> None:
    old, new = bench.running(), bench.running()
    after = bench.queued(depends_on=(old,))
    bench.update(after, depends_on=(new,))
    bench.end(old, code=1)
    assert bench.told() == [("updated", after), ("failed", old)]
    bench.end(new)
    assert bench.told() == [("completed", new)]
    bench.starts(after)


def test_dependencies_that_were_taken_away_hold_nothing_up(bench: Bench) -> None:
    after = bench.queued(depends_on=(bench.running(),))
    bench.update(after, depends_on=())
    assert bench.told() == [("updated", after)]
    bench.starts(after)


def test_an_update_onto_a_failure_cancels(bench: Bench) -> None:
    failed, job = bench.ended(1), bench.queued(hold=True)
    bench.update(job, depends_on=(failed,))
    assert bench.told() == [("updated", job), ("cancelled", job)]


def preview(bench: Bench, job_id: int) -> list[tuple[int, Reason]]:
    return [(job.id, failed_because_of(cause)) for job, cause in bench.engine.dependents([JobId(job_id)])]


def test_the_preview_of_a_cancel_is_what_the_cancel_does(bench: Bench) -> None:
    top, gone = bench.queued(), bench.queued()
    left, right = bench.queued(depends_on=(top,)), bench.queued(depends_on=(top,), hold=True)
    bottom = bench.queued(depends_on=(left, right), dependency_mode=ALL)
    any_of_them = bench.queued(depends_on=(gone, bottom, left), dependency_mode=ANY)
    bench.queued(depends_on=(bench.queued(), left), dependency_mode=ANY)
    staying = bench.queued(depends_on=(top,), auto_cancel=False)
    after = bench.queued(depends_on=(staying,))
    bench.cancel(gone)
    assert bench.told() == [("cancelled", gone)]
    foreseen = preview(bench, top)
    in_vain = [(job_id, reason.job) for job_id, reason in foreseen if job_id in (staying, after)]
    assert in_vain == [(staying, top), (after, staying)], "these are not cancelled, and will never start"
    foreseen = [(job_id, reason) for job_id, reason in foreseen if job_id not in (staying, after)]
    bench.cancel(top)
    assert bench.told()[1:] == [("cancelled", job_id) for job_id, _ in foreseen]
    assert {job_id for job_id, _ in foreseen} == {left, right, bottom, any_of_them}
    assert [bench.job(job_id).reason for job_id, _ in foreseen] == [reason for _, reason in foreseen]


def test_an_update_that_changes_nothing_is_no_news(bench: Bench) -> None:
    job = bench.queued(priority=20)
    bench.update(job, priority=20)
    assert bench.told() == []
    bench.update(job, priority=21)
    assert bench.told() == [("updated", job)]
