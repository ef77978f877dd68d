"""The checks check: an engine damaged in any one place does not pass."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gflow.core.engine import Engine
from gflow.core.invariants import check, check_settled
from gflow.core.model import DependencyMode, Gpu, Group, JobId, ReasonKind, State
from support.jobs import HOUR, START, Bench, with_cap

RUNNING, READY, EARLY, WAITING, HELD, DONE, FAILED, ATTEMPT = (JobId(number) for number in range(1, 9))


def a_full_engine() -> Engine:
    """One job in every condition, with every index in use."""
    bench = Bench(2, gpu_memory_mb=1000, memory_mb=1000)
    bench.submit(gpus=1, memory_mb=500, time_limit_secs=HOUR, **with_cap("g", 1))
    bench.submit(group_id="g", submit_key="k", owner="ben")
    bench.submit(begin_at=bench.now.wall + HOUR)
    bench.submit(depends_on=(1,), dependency_mode=DependencyMode.ALL)
    bench.submit(hold=True, environment="e")
    bench.submit()
    bench.submit(max_retries=1)
    assert bench.schedule() == [RUNNING, DONE, FAILED]
    bench.launched(RUNNING)
    bench.end(DONE)
    bench.end(FAILED, code=1)
    assert bench.job(FAILED).retried_as == ATTEMPT
    assert bench.schedule() == [ATTEMPT]
    return bench.engine


def change(job_id: JobId, **changes: Any) -> Callable[[Engine], None]:
    """Replace fields of a job, without telling the indexes."""

    def damage(engine: Engine) -> None:
        engine.jobs[job_id] = replace(engine.jobs[job_id], **changes)

    return damage


def change_spec(job_id: JobId, **changes: Any) -> Callable[[Engine], None]:
    def damage(engine: Engine) -> None:
        engine.jobs[job_id] = engine.jobs[job_id].with_spec(**changes)

    return damage


def lane(engine: Engine) -> Any:
    return next(iter(engine.ready._lanes.values()))


DAMAGE: dict[str, tuple[Callable[[Engine], object], str]] = {
    "wrong id": (change(READY, id=JobId(99)), "job 99 is kept as job 2"),
    "id yet to come": (lambda engine: setattr(engine, "next_job_id", ATTEMPT), "yet to be given out"),
    "unknown dependency": (change_spec(READY, depends_on=(JobId(99),)), "waits for job 99"),
    "ended, no time": (change(DONE, finished_at=None), "has finished_at None"),
    "waits, has ended": (change(READY, finished_at=1.0), "has finished_at 1.0"),
    "waits, has run": (change(READY, run_id="r"), "traces of a launch"),
    "runs without a run id": (change(RUNNING, run_id=None), "has no run id"),
    "runs without a start": (change(RUNNING, started_at=None), "has no started_at"),
    "runs on too few GPUs": (change(RUNNING, gpu_ids=()), "wants 1 GPUs"),
    "ended, being stopped": (change(DONE, stop=object()), "still being stopped"),
    "retried success": (change(DONE, retried_as=ATTEMPT), "has a next attempt"),
    "attempt of another": (change_spec(ATTEMPT, retried_from=DONE), "does not say it repeats job 7"),
    "restarts miscounted": (change_spec(ATTEMPT, restart_count=5), "miscounts its restarts"),
    "counts": (lambda engine: engine.counts.update({State.HOLD: 1}), "jobs by state"),
    "running": (lambda engine: engine.running.pop(RUNNING), "running jobs"),
    "queued nowhere": (lambda engine: engine.ready.discard(READY), "in 0 places"),
    "early and ready": (lambda engine: engine._early.add(READY), "in 2 places"),
    "held, but early": (lambda engine: engine._early.add(HELD), "is Hold, but waits to start"),
    "ready before its time": (change_spec(READY, depends_on=(HELD,)), "ready before its time"),
    "old queue key": (change_spec(READY, priority=99), "queue key of job 2"),
    "old shape": (change_spec(READY, memory_mb=5), "shape of job 2"),
    "key twice in a lane": (lambda engine: lane(engine).keys.append(lane(engine).keys[0]), "lanes of the queue"),
    "lane of another shape": (
        lambda engine: setattr(lane(engine), "shape", engine.shape(engine.jobs[RUNNING])),
        "shape of",
    ),
    "no wake-up": (lambda engine: engine._begins.clear(), "begin time of job 3"),
    "early without a time": (change_spec(EARLY, begin_at=None), "begin time it does not have"),
    "dependents": (lambda engine: engine._dependents.clear(), "dependents"),
    "doomed, not cancelled": (change_spec(WAITING, depends_on=(FAILED,)), "can never start"),
    "members": (lambda engine: engine._members["g"].discard(READY), "members of groups"),
    "running by group": (lambda engine: engine.group_running.clear(), "running jobs by group"),
    "group over its limit": (lambda engine: engine.groups.update(g=Group("g", 0)), "more than its limit of 0"),
    "memory": (lambda engine: setattr(engine.resources, "memory_used_mb", 0), "host memory in use"),
    "holders": (lambda engine: engine.resources._holders.clear(), "holders of GPUs"),
    "no deadline": (lambda engine: engine._deadlines.clear(), "nobody will wake up for job 1"),
    "keys": (lambda engine: engine._keys.clear(), "submission keys"),
    "owners": (lambda engine: engine._by_owner["ben"].clear(), "jobs by owner"),
}


def test_an_engine_nobody_damaged_passes() -> None:
    engine = a_full_engine()
    check(engine)
    check_settled(engine, START)


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_damage_is_seen(damage: str) -> None:
    engine = a_full_engine()
    act, complaint = DAMAGE[damage]
    act(engine)
    with pytest.raises(AssertionError, match=complaint):
        check(engine)


def test_a_lowered_group_limit_may_be_named_an_exception() -> None:
    engine = a_full_engine()
    engine.groups["g"] = Group("g", 0)
    check(engine, over_cap={"g"})


def test_a_gpu_given_away_twice_is_seen() -> None:
    engine = a_full_engine()
    for job_id in (RUNNING, ATTEMPT):
        job = engine.jobs[job_id].with_spec(gpus=1)
        engine.resources.free(engine.jobs[job_id])
        engine.jobs[job_id] = replace(job, gpu_ids=(1,))
        engine.resources.take(engine.jobs[job_id])
    with pytest.raises(AssertionError, match="GPU 1 belongs to job 1 alone"):
        check(engine)


def test_gpu_memory_promised_twice_is_seen() -> None:
    bench = Bench(1, gpu_memory_mb=1000)
    for _ in range(2):
        bench.submit(gpus=1, shared=True, gpu_memory_mb=500)
    bench.schedule()
    bench.engine.resources.gpus[0] = Gpu(0, "GPU-0", memory_mb=999)
    with pytest.raises(AssertionError, match="were promised 1000 MB, it has 999 MB"):
        check(bench.engine)


def test_a_ready_job_beside_room_is_seen() -> None:
    bench = Bench()
    bench.submit()
    with pytest.raises(AssertionError, match="job 1 is ready and has room"):
        check_settled(bench.engine, bench.now)


def test_a_job_that_waits_without_a_reason_is_seen() -> None:
    engine = a_full_engine()
    lane(engine).blocked = None
    with pytest.raises(AssertionError, match="nothing says why"):
        check_settled(engine, START)
    lane(engine).blocked = ReasonKind.RESOURCES
    check_settled(engine, START)
