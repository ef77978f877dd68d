"""CPUs are promised once, as memory is; and a job that uses more memory than it may is ended for it."""

import pytest

from gflow.core.brief import Briefs
from gflow.core.errors import Conflict, Forbidden, Impossible, Malformed, WrongState
from gflow.core.explain import reasons
from gflow.core.model import Exit, Reason, ReasonKind, StopCause
from support.jobs import DAY, HOUR, MINUTE, Bench

KILL, TERM = 9, 15
TEXT = "out of memory: 312M of 100M"


@pytest.fixture
def bench() -> Bench:
    return Bench(1, memory_mb=1000, cpus=8)


def brief(bench: Bench, job: int) -> str | None:
    return Briefs(bench.engine, bench.now).of(bench.job(job))


def test_cpus_are_promised_once(bench: Bench) -> None:
    one = bench.running(cpus=6)
    bench.running(cpus=2)
    bench.running()
    waiting = bench.queued(cpus=1)
    assert bench.schedule() == []
    assert bench.reason(waiting) == Reason(ReasonKind.RESOURCES)
    assert brief(bench, waiting) == "CPUs"
    assert [(why.text, why.help) for why in reasons(bench.engine, bench.job(waiting), bench.now)] == [
        ("It needs 1 CPU; 0 of 8 are not promised.", f"ask for fewer: gjob update {waiting} --cpus N")
    ]
    bench.end(one)
    assert bench.told() == [("completed", one)]
    bench.starts(waiting)


def test_more_cpus_than_there_are_are_refused(bench: Bench) -> None:
    with pytest.raises(Impossible, match="The job asks for 9 CPUs, but this machine has 8"):
        bench.submit(cpus=9)
    with pytest.raises(Malformed, match="Invalid number of CPUs 0: use 1 or more"):
        bench.submit(cpus=0)
    job = bench.queued(cpus=8)
    with pytest.raises(Impossible, match="asks for 9 CPUs"):
        bench.update(job, cpus=9)


def test_a_job_that_waits_for_cpus_is_not_starved(bench: Bench) -> None:
    bench.running(cpus=5, time_limit_secs=HOUR)
    large = bench.queued(cpus=6, priority=20)
    spoils, leaves, short = (bench.queued(cpus=n, time_limit_secs=t) for n, t in ((3, DAY), (2, DAY), (1, MINUTE)))
    bench.starts(short, leaves)
    assert bench.job(spoils).state == "Queued"
    assert brief(bench, spoils) in ("CPUs", f"CPUs kept for job {large}")


def test_cpus_kept_for_another_are_said_to_be(bench: Bench) -> None:
    bench.running(cpus=5, time_limit_secs=HOUR)
    large = bench.queued(cpus=6, priority=20)
    spoils = bench.queued(cpus=3, time_limit_secs=DAY)
    assert bench.schedule() == []
    assert brief(bench, spoils) == f"CPUs kept for job {large}"


def test_where_no_limit_tells_jobs_pass_for_a_while_only() -> None:
    bench = Bench(cpus=8, max_bypass_secs=HOUR)
    bench.running(cpus=5)
    bench.queued(cpus=6, priority=20)
    bench.starts(bench.queued(cpus=1))
    bench.sleep(2 * HOUR)
    passes = bench.queued(cpus=1)
    assert bench.schedule() == []
    assert bench.job(passes).state == "Queued"


def test_out_of_memory_is_the_end_at_once(bench: Bench) -> None:
    job = bench.running(memory_mb=100)
    bench.out_of_memory(job, TEXT)
    assert bench.asked() == [("signal", job, KILL)]
    bench.end(job, 137)
    ended = bench.job(job)
    assert bench.told() == [("failed", job)]
    assert (ended.state, ended.exit_code, ended.detail) == ("Failed", 137, TEXT)
    assert ended.reason == Reason(ReasonKind.SYSTEM, text=TEXT)


def test_even_if_its_main_process_happens_to_end_well(bench: Bench) -> None:
    job = bench.running(memory_mb=100)
    bench.out_of_memory(job, TEXT)
    assert bench.asked() == [("signal", job, KILL)]
    bench.end(job, 0)
    assert bench.told() == [("failed", job)]
    assert bench.job(job).detail == TEXT


def test_it_counts_as_a_failure_that_is_tried_again(bench: Bench) -> None:
    job = bench.running(memory_mb=100, max_retries=1)
    bench.out_of_memory(job, TEXT)
    assert bench.asked() == [("signal", job, KILL)]
    bench.end(job, 137)
    again = bench.job(job).retried_as
    assert bench.told() == [("submitted", again), ("failed", job)]


def test_by_the_kernel_it_reads_the_same_and_is_no_lack_of_gpu_memory(bench: Bench) -> None:
    job = bench.running(memory_mb=100, gpus=1, retry_on_oom=True)
    how = Exit(137, bench.now.wall, "out of memory: its limit was 100M", gpu_memory_ran_out=True, memory_ran_out=True)
    bench.step(bench.engine.ended, job, how, bench.now)
    assert bench.told() == [("failed", job)]
    ended = bench.job(job)
    assert (ended.detail, ended.reason) == (how.text, Reason(ReasonKind.SYSTEM, text=how.text))


def test_what_is_being_stopped_gets_no_grace_any_more_and_ends_as_it_was_to(bench: Bench) -> None:
    job = bench.running(memory_mb=100)
    bench.cancel(job, by="ana")
    assert bench.asked() == [("interrupt", job)]
    bench.out_of_memory(job, TEXT)
    assert bench.asked() == [("signal", job, KILL)]
    bench.out_of_memory(job, TEXT)
    assert bench.asked() == []
    bench.end(job, 137)
    assert bench.told() == [("cancelled", job)]


def test_a_cancel_in_the_same_breath_changes_nothing(bench: Bench) -> None:
    job = bench.running(memory_mb=100)
    bench.out_of_memory(job, TEXT)
    bench.stop(job, StopCause.CANCEL, by="ana")
    assert bench.asked() == [("signal", job, KILL)]
    bench.end(job, 137)
    assert bench.told() == [("failed", job)]


def test_the_memory_limit_of_a_running_job_is_its_owners_to_lower(bench: Bench) -> None:
    job, other = bench.running(memory_mb=500), bench.running(memory_mb=300)
    bench.update(job, memory_mb=400)
    assert bench.told() == [("updated", job)]
    with pytest.raises(Forbidden, match=f"Only an administrator may raise the memory limit of running job {job}"):
        bench.update(job, memory_mb=500)
    with pytest.raises(Conflict, match="the rest is promised to other running jobs"):
        bench.update(job, admin=True, memory_mb=701)
    bench.update(job, admin=True, memory_mb=700)
    bench.update(job, admin=True, memory_mb=None)
    assert bench.told() == [("updated", job), ("updated", job)]
    bench.starts(bench.queued(memory_mb=700))
    with pytest.raises(WrongState, match=f"Job {job} is Running without a memory limit"):
        bench.update(job, admin=True, memory_mb=100)
    assert bench.job(other).spec.memory_mb == 300
