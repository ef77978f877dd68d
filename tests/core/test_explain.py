"""Why a job does not run, in words: everything that stands in its way, and what would help."""

from collections.abc import Callable

from gflow.core.explain import Why, reasons
from gflow.core.model import DependencyMode, ReasonKind, StopCause
from support.jobs import HOUR, Bench, gpus, spec

MakeBench = Callable[..., Bench]


def why(bench: Bench, job: int) -> list[Why]:
    return list(reasons(bench.engine, bench.job(job), bench.now))


def the_why(bench: Bench, job: int) -> tuple[ReasonKind | None, str, str]:
    [only] = why(bench, job)
    return only.reason, only.text, only.help


def test_a_held_job(bench: Bench) -> None:
    job = bench.queued(hold=True)
    assert the_why(bench, job) == (ReasonKind.HELD, "It is on hold.", f"gjob release {job}")


def test_a_begin_time(bench: Bench) -> None:
    job = bench.queued(begin_at=bench.now.wall + 90_000)
    reason, text, help_ = the_why(bench, job)
    assert reason is ReasonKind.BEGIN_TIME
    assert text == "It is not to start before 2023-11-15 23:13:20 UTC, in 1-01:00:00."
    assert f"gjob release {job} --at" in help_


def test_dependencies_and_their_states(bench: Bench) -> None:
    done, running, held = bench.ended(), bench.running(), bench.queued(hold=True)
    job = bench.queued(depends_on=(done, running, held))
    text = f"It waits for job {running} (Running), job {held} (Hold) to finish."
    assert the_why(bench, job) == (ReasonKind.DEPENDENCY, text, f"gjob release {held}")


def test_any_of_several_dependencies(bench: Bench) -> None:
    one, two = bench.running(), bench.running()
    job = bench.queued(depends_on=(one, two), dependency_mode=DependencyMode.ANY)
    text = f"It waits for one of job {one} (Running), job {two} (Running) to finish."
    assert the_why(bench, job) == (ReasonKind.DEPENDENCY, text, "")


def test_dependencies_that_can_no_longer_be_met(bench: Bench) -> None:
    failed = bench.ended(1)
    job = bench.queued(depends_on=(failed,), auto_cancel=False)
    reason, text, help_ = the_why(bench, job)
    assert (reason, text) == (ReasonKind.DEPENDENCY, f"It can never start: it depends on job {failed} (Failed).")
    assert help_.startswith(f"gcancel {job}")


def test_a_long_list_of_dependencies_is_cut(bench: Bench) -> None:
    awaited = tuple(bench.running() for _ in range(12))
    [only] = why(bench, bench.queued(depends_on=awaited))
    assert only.text.endswith("job 8 (Running) and 4 more to finish.")


def test_a_full_group(bench: Bench) -> None:
    tasks = bench.submit_all([spec(group_id="g") for _ in range(3)], groups={"g": 2})
    assert len(bench.told()) == 3
    bench.starts(*tasks[:2])
    text = "Its group may run 2 jobs at once, and 2 are running."
    assert the_why(bench, tasks[2]) == (ReasonKind.RESOURCES, text, f"gctl set-limit {tasks[2]} 3")


def test_too_few_gpus_and_who_holds_them(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    bench.running(gpus=1)
    bench.running(gpus=2)
    job = bench.queued(gpus=2)
    assert bench.schedule() == []
    text = "It needs 2 GPUs; 1 of 4 can be had now, the others are held by jobs 1, 2."
    assert the_why(bench, job) == (ReasonKind.GPU, text, f"ask for less: gjob update {job} --gpus N")


def test_a_share_of_a_gpu(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=8192)
    bench.running(gpus=1, shared=True, gpu_memory_mb=4096)
    job = bench.queued(gpus=1, shared=True, gpu_memory_mb=5120)
    [only] = why(bench, job)
    assert only.text == "It needs 1 GPU with 5G free; 0 of 1 can be had now, the others are held by job 1."


def test_gpus_that_are_gone(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    job = bench.queued(gpus=2)
    bench.set_machine(gpus(1))
    assert bench.schedule() == []
    assert why(bench, job)[0].text == "It needs 2 GPUs; 1 of 1 can be had now."
    bench.set_machine([])
    assert bench.schedule() == []
    assert the_why(bench, job) == (ReasonKind.GPU, "It needs 2 GPUs; this machine has none.", ""), "nothing helps"


def test_too_little_memory(make_bench: MakeBench) -> None:
    bench = make_bench(memory_mb=8192)
    bench.running(memory_mb=6144)
    job = bench.queued(memory_mb=4096)
    text = "It needs 4G of memory; 2.0G of 8.0G are not promised."
    assert the_why(bench, job) == (ReasonKind.MEMORY, text, f"ask for less: gjob update {job} --memory-limit SIZE")
    bench.set_machine([], 2048)
    assert why(bench, job)[0].text == "It needs 4G of memory; this machine has 2.0G."


def test_the_place_in_the_queue(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.running(gpus=1)
    bench.queued(gpus=1)
    second, third = bench.queued(gpus=1), bench.queued(gpus=1)
    assert bench.schedule() == []
    texts = [why(bench, job)[-1].text for job in (second, third)]
    assert texts == ["1 job is ahead of it in the queue.", "2 jobs are ahead of it in the queue."]
    assert why(bench, third)[-1].help == f"gjob update {third} --priority N (it has 10)"


def test_all_that_applies_is_told(make_bench: MakeBench) -> None:
    bench = make_bench(1, memory_mb=1024)
    blocker = bench.running(gpus=1, memory_mb=1024, group_id="g", groups={"g": 1})
    job = bench.queued(
        gpus=1, memory_mb=512, group_id="g", hold=True, begin_at=bench.now.wall + HOUR, depends_on=(blocker,)
    )
    assert [each.reason for each in why(bench, job)] == [
        ReasonKind.HELD,
        ReasonKind.BEGIN_TIME,
        ReasonKind.DEPENDENCY,
        ReasonKind.RESOURCES,
        ReasonKind.MEMORY,
        ReasonKind.GPU,
    ]


def test_nothing_in_the_way(bench: Bench) -> None:
    assert the_why(bench, bench.queued()) == (None, "Nothing stands in its way; it is about to start.", "")


def test_a_running_job(bench: Bench) -> None:
    limited, unlimited = bench.running(time_limit_secs=HOUR), bench.running()
    bench.sleep(600)
    assert the_why(bench, limited)[1] == "It has been running for 00:10:00, and may run for another 00:50:00."
    assert the_why(bench, unlimited)[1] == "It has been running for 00:10:00."


def test_a_job_being_started_and_one_being_stopped(bench: Bench) -> None:
    job = bench.queued()
    assert bench.schedule() == [job]
    assert the_why(bench, job)[1] == "It is being started."
    bench.cancel(job)
    assert the_why(bench, job)[1] == "It is being stopped: it was cancelled."
    assert bench.told() == [("started", job)]
    assert bench.asked() == [("launch", job), ("interrupt", job)]


def test_every_stop_has_words(bench: Bench) -> None:
    for cause in StopCause:
        job = bench.running()
        bench.stop(job, cause)
        assert why(bench, job)[0].text.startswith("It is being stopped: it")
        assert len(bench.asked()) == 1


def test_jobs_that_have_ended(bench: Bench) -> None:
    assert the_why(bench, bench.ended())[1] == "It is Finished: exit code 0."
    failed = bench.ended(3)
    assert the_why(bench, failed)[1] == "It is Failed: exit code 3."
    assert the_why(bench, bench.ended(139))[1] == "It is Failed: ended by SIGSEGV."
    late = bench.submit(depends_on=(failed,))
    text = f"It is Cancelled: it depended on job {failed}, which is Failed."
    assert the_why(bench, late) == (ReasonKind.DEPENDENCY_FAILED, text, "")
    waiting = bench.submit()
    bench.cancel(waiting, by="ana")
    assert the_why(bench, waiting) == (ReasonKind.CANCELLED, "It is Cancelled (cancelled by ana).", "")
    assert len(bench.told()) == 4


def test_a_job_that_reached_its_limit(bench: Bench) -> None:
    job = bench.running(time_limit_secs=60.0)
    bench.sleep(60)
    assert bench.enforce() == [("interrupt", job)]
    bench.end(job, code=130)
    assert bench.told() == [("timeout", job)]
    assert the_why(bench, job)[1] == "It is Timeout: ended by SIGINT (time limit of 00:01:00 reached)."


def test_a_failed_attempt_names_the_next(bench: Bench) -> None:
    job = bench.running(max_retries=1)
    bench.end(job, code=1)
    assert bench.told() == [("submitted", job + 1), ("failed", job)]
    text = f"It is Failed: exit code 1. Job {job + 1} is the next attempt."
    assert the_why(bench, job) == (None, text, f"gjob why {job + 1}")
