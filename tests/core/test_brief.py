"""Why a job waits, in a few words."""

from collections.abc import Callable
from typing import Any

from gflow.core.brief import Briefs
from gflow.core.model import DependencyMode
from gflow.core.quotas import Limits, Table
from support.jobs import DAY, HOUR, Bench, snapshot, with_cap

MakeBench = Callable[..., Bench]


def brief(bench: Bench, job: int) -> str | None:
    """The words after a pass that starts nothing; asking changes nothing."""
    assert bench.schedule() == []
    before = snapshot(bench.engine)
    words = Briefs(bench.engine, bench.now).of(bench.job(job))
    assert snapshot(bench.engine) == before
    return words


def reserve(bench: Bench, **what: Any) -> None:
    """A reservation for ben, from the next half hour on."""
    start = bench.now.wall + HOUR
    bench.step(bench.engine.reserve, "ben", start, start + HOUR, bench.now, **what)
    assert bench.told() == [("reservation_created", 0)]


def test_devices_are_in_use(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1)
    assert brief(bench, bench.queued(gpus=1)) == "Resources"


def test_free_devices_are_promised_to_others(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    reserve(bench, gpu_count=2)
    assert brief(bench, bench.queued(gpus=1)) == "Reserved"
    bench.starts(bench.queued(gpus=1, time_limit_secs=HOUR / 2))


def test_free_devices_are_kept_for_a_job_that_comes_before(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    bench.running(gpus=2, time_limit_secs=HOUR)
    large = bench.queued(gpus=3, priority=20)
    one = bench.queued(gpus=1, time_limit_secs=DAY)
    assert brief(bench, large) == "Resources"
    assert brief(bench, one) == f"GPU kept for job {large}"
    two = bench.queued(gpus=2, time_limit_secs=DAY)
    assert brief(bench, two) == "Resources"


def test_memory_is_in_use_or_kept(make_bench: MakeBench) -> None:
    bench = make_bench(memory_mb=1000)
    bench.running(memory_mb=600, time_limit_secs=HOUR)
    large = bench.queued(memory_mb=900, priority=20)
    small = bench.queued(memory_mb=300, time_limit_secs=DAY)
    assert brief(bench, large) == "Memory"
    assert brief(bench, small) == f"Memory kept for job {large}"


def test_a_group_has_its_limit(bench: Bench) -> None:
    bench.running(**with_cap("g", 1))
    assert brief(bench, bench.queued(group_id="g")) == "Limit of its group: 1 at once"


def test_a_quota_is_named(make_bench: MakeBench) -> None:
    bench = make_bench(
        4, quotas=Table(users={"ana": Limits(max_running_gpus=2)}, projects={"p": Limits(max_running_jobs=1)})
    )
    bench.running(gpus=1, project="p")
    assert brief(bench, bench.queued(gpus=2)) == "Quota of user ana: 2 GPUs"
    assert brief(bench, bench.queued(project="p")) == "Quota of project p: 1 job"


def test_where_the_reason_says_it_all_there_is_nothing_to_add(bench: Bench) -> None:
    for job in (bench.queued(hold=True), bench.ended(), bench.queued(begin_at=bench.now.wall + HOUR)):
        assert brief(bench, job) is None
    fresh = bench.queued()
    assert Briefs(bench.engine, bench.now).of(bench.job(fresh)) is None, "no pass has looked at it"


def test_a_job_that_changed_since_it_was_looked_up(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1)
    job = bench.queued(gpus=1)
    old = bench.job(job)
    bench.update(job, priority=3)
    assert bench.told() == [("updated", job)]
    assert bench.schedule() == []
    assert Briefs(bench.engine, bench.now).of(old) is None


def test_jobs_of_one_shape_are_looked_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1)
    jobs = [bench.queued(gpus=1) for _ in range(3)]
    assert bench.schedule() == []
    briefs = Briefs(bench.engine, bench.now)
    assert [briefs.of(bench.job(job)) for job in jobs] == ["Resources"] * 3
    assert len(briefs._known) == 1


def test_it_waits_for_jobs(make_bench: MakeBench) -> None:
    bench = make_bench()
    held = [bench.submit(hold=True) for _ in range(5)]
    done = bench.submit()
    assert bench.schedule() == [done]
    bench.end(done)
    one = bench.submit(depends_on=(held[0], done))
    many = bench.submit(depends_on=tuple(held))
    either = bench.submit(depends_on=(held[0], held[1]), dependency_mode=DependencyMode.ANY)
    early = bench.submit(depends_on=(held[0],), begin_at=bench.now.wall + HOUR)
    assert brief(bench, one) == f"After job {held[0]}"
    assert brief(bench, many) == "After jobs 1, 2, 3 and 2 more"
    assert brief(bench, either) == "After one of jobs 1, 2"
    assert brief(bench, early) is None, "its begin time comes first"
    never = bench.submit(depends_on=(held[4],), auto_cancel=False)
    bench.cancel(held[4])
    assert brief(bench, never) == f"Never: job {held[4]} is Cancelled"
    bench.told()
    bench.effects()
