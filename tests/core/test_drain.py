"""Draining: nothing new is started, what runs goes on, and every waiting job says so."""

from collections.abc import Callable

import pytest

from gflow.core.brief import Briefs
from gflow.core.drain import MAX_REASON
from gflow.core.errors import Malformed
from gflow.core.eta import why_unknown
from gflow.core.explain import reasons
from gflow.core.forecast import expected_start, future_of_the_queue
from gflow.core.model import ReasonKind
from support.jobs import Bench

MakeBench = Callable[..., Bench]


def drained(make_bench: MakeBench, reason: str | None = "new disks") -> Bench:
    bench = make_bench(2)
    bench.step(bench.engine.drain, "root", reason, bench.now)
    assert bench.told() == [("scheduler_drained", 0)]
    return bench


def test_nothing_new_is_started_and_what_runs_ends_as_ever(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    running = bench.running(gpus=1, max_retries=1)
    bench.step(bench.engine.drain, "root", None, bench.now)
    after = bench.submit(gpus=1)
    assert bench.schedule() == []
    bench.end(running, 3)
    retry = max(bench.engine.jobs)
    assert bench.schedule() == [], "an attempt that failed is tried again later"
    assert bench.states(after, retry) == ["Queued", "Queued"]
    assert [word for word, _ in bench.told()] == ["scheduler_drained", "submitted", "submitted", "failed"]
    bench.step(bench.engine.resume, "root", bench.now)
    assert bench.told() == [("scheduler_resumed", 0)]
    bench.starts(after, retry)


def test_every_waiting_job_says_why(make_bench: MakeBench) -> None:
    bench = drained(make_bench)
    ready, later = bench.queued(gpus=1), bench.queued(begin_at=bench.now.wall + 60)
    assert bench.schedule() == []
    reason = bench.reason(ready)
    assert reason is not None
    assert reason.kind is ReasonKind.RESOURCES, "a word that clients of gflow know"
    assert Briefs(bench.engine, bench.now).of(bench.job(ready)) == "Drained: new disks"
    (told, *_) = reasons(bench.engine, bench.job(ready), bench.now)
    assert told.text.startswith("gflow was drained by root at ")
    assert told.text.endswith(": new disks; nothing new is started.")
    assert told.help == "an administrator ends that: gctl resume"
    assert expected_start(bench.engine, bench.job(ready), bench.now) is None
    assert why_unknown(bench.engine, bench.job(ready), bench.now) == "nothing is started while gflow is drained"
    assert future_of_the_queue(bench.engine, bench.now).play() == {}
    waits_for = bench.reason(later)
    assert waits_for is not None
    assert waits_for.kind is ReasonKind.BEGIN_TIME


def test_it_outlives_the_daemon(make_bench: MakeBench) -> None:
    bench = drained(make_bench, None)
    job = bench.queued()
    later = bench.restarted()
    assert later.engine.drained == bench.engine.drained
    assert later.schedule() == []
    later.step(later.engine.resume, "ann", later.now)
    assert later.told() == [("scheduler_resumed", 0)]
    assert later.restarted().engine.drained is None
    later.starts(job)


def test_asked_again_only_the_reason_is_new(make_bench: MakeBench) -> None:
    bench = drained(make_bench)
    since = bench.now.wall
    bench.sleep(60)
    bench.step(bench.engine.drain, "ann", " new cables ", bench.now)
    assert bench.told() == [("scheduler_drained", 0)]
    now = bench.engine.drained
    assert now is not None
    assert (now.since, now.by, now.reason, now.words) == (since, "ann", "new cables", "Drained: new cables")


def test_a_resume_of_what_runs_changes_nothing(make_bench: MakeBench) -> None:
    bench = make_bench()
    assert not bench.step(bench.engine.resume, "root", bench.now)


@pytest.mark.parametrize("reason", ["x" * (MAX_REASON + 1), "two\nlines", "\x1b[31m"])
def test_reasons_are_one_short_line(make_bench: MakeBench, reason: str) -> None:
    bench = make_bench()
    with pytest.raises(Malformed, match="one line"):
        bench.step(bench.engine.drain, "root", reason, bench.now)


def test_to_drain_once_more_keeps_the_reason_unless_there_is_a_new_one(make_bench: MakeBench) -> None:
    bench = drained(make_bench)
    for reason in (None, "  ", "new disks"):
        bench.step(bench.engine.drain, "eve", reason, bench.now)
        assert bench.told() == []
        assert bench.engine.drained is not None
        assert (bench.engine.drained.by, bench.engine.drained.reason) == ("root", "new disks")
