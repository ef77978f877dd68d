"""Where nothing can be launched the queue waits and says so; nothing is planned for those concerned, others go on."""

from collections.abc import Callable

from gflow.core.brief import Briefs
from gflow.core.eta import why_unknown
from gflow.core.explain import reasons
from gflow.core.forecast import expected_start
from gflow.core.invariants import check_settled
from gflow.core.model import JobId, ReasonKind
from support.jobs import Bench

MakeBench = Callable[..., Bench]
WHY = "there is no tmux server: it does not start"


def kind(bench: Bench, job_id: JobId) -> ReasonKind | None:
    reason = bench.reason(job_id)
    return reason.kind if reason is not None else None


def test_nothing_is_started_and_every_job_says_why(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    going = bench.running(gpus=1)
    assert bench.engine.stall(None, WHY)
    assert not bench.engine.stall(None, WHY), "no news"
    small, large = bench.queued(), bench.queued(gpus=1)
    assert bench.schedule() == []
    check_settled(bench.engine, bench.now)
    for waiting in (small, large):
        assert kind(bench, waiting) is ReasonKind.RESOURCES
        assert Briefs(bench.engine, bench.now).of(bench.job(waiting)) == "Cannot be launched just now"
        assert (
            reasons(bench.engine, bench.job(waiting), bench.now)[0].text == f"Nothing can be launched just now: {WHY}."
        )
        assert why_unknown(bench.engine, bench.job(waiting), bench.now) == "it cannot be launched just now"
        assert expected_start(bench.engine, bench.job(waiting), bench.now) is None
    bench.end(going)
    assert bench.schedule() == []
    assert bench.engine.stall(None, None)
    assert sorted(bench.schedule()) == [small, large]
    bench.told()
    bench.asked()


def test_one_owners_stall_holds_up_nobody_else(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    bench.engine.stall("ben", WHY)
    his, hers = bench.queued(owner="ben", gpus=2), bench.queued(owner="ana", gpus=1)
    bench.starts(hers)
    assert bench.engine.planned == [], "nothing is kept for who cannot start"
    assert bench.states(his) == ["Queued"]
    check_settled(bench.engine, bench.now)
    bench.end(hers)
    bench.engine.stall("ben", None)
    assert bench.schedule() == [his]
    bench.told()
    bench.asked()


def test_a_job_on_its_way_says_what_it_waits_for(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    job = bench.queued()
    assert bench.schedule() == [job]
    bench.told()
    bench.asked()
    bench.engine.stall(None, WHY)
    assert reasons(bench.engine, bench.job(job), bench.now)[0].text == f"It waits to be launched: {WHY}."
