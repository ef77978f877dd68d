"""What must hold of an engine at every moment, checked from scratch.

Every index is derived again from the jobs alone and compared, so a forgotten update shows at the step that forgot it,
not at the job that later never starts. For tests: it costs a walk over all jobs.
"""
# ruff: noqa: SLF001 - looking at what the engine keeps to itself is the point

from collections import Counter
from collections.abc import Container, Iterable, Mapping

from gflow.core import stops
from gflow.core.dependencies import Verdict, judge
from gflow.core.engine import Engine
from gflow.core.fairshare import UsageNow
from gflow.core.groups import cell_of
from gflow.core.kept import Kept
from gflow.core.lifecycle import ACTIVE, FINAL
from gflow.core.model import Job, JobId, Now, ReasonKind, State
from gflow.core.order import queue_key
from gflow.core.placement import share_mb
from gflow.core.planner import Planner
from gflow.core.queue import rank
from gflow.core.quotas import Usage

_WAITING = (State.QUEUED, State.HOLD)


def check(engine: Engine, *, over_cap: Container[str] = ()) -> None:
    """Raise AssertionError, with a sentence, for the first thing that is wrong.

    `over_cap` has the groups that may have more jobs running than their limit, because it was lowered meanwhile.
    """
    _check_jobs(engine)
    _check_counts(engine)
    _check_waiting(engine)
    _check_queue(engine)
    _check_begins(engine)
    _check_dependents(engine)
    _check_groups(engine, over_cap)
    _check_resources(engine)
    _check_deadlines(engine)
    _check_names(engine)
    _check_usage(engine)
    _check_kept(engine)


def check_settled(engine: Engine, now: Now) -> None:
    """Raise AssertionError if a ready job could start: after `schedule`, none may idle beside room it may use.

    Nobody may use any while the machine is drained.
    """
    usage = UsageNow(engine.fair_share, now)
    ranks = {job_id: rank(key, usage.of(shape.owner)) for job_id, shape, key in engine.ready.items()}
    for job_id, shape, _ in engine.ready.items():
        planner = Planner(engine, now)
        planner.planned = [plan for plan in engine.planned if ranks[plan.id] < ranks[job_id]]
        room = planner.place(shape)
        room = ReasonKind.RESOURCES if engine.drained is not None else room
        assert not isinstance(room, tuple), f"job {job_id} is ready and has room on GPUs {room}, but did not start"
        assert engine.ready.blocked(job_id) is not None, f"job {job_id} waits, but nothing says why"


def _same(what: str, kept: object, derived: object) -> None:
    assert kept == derived, f"{what}: the engine has {kept}, its jobs say {derived}"


def _in_state(jobs: Mapping[JobId, Job], *states: State) -> Iterable[Job]:
    return (job for job in jobs.values() if job.state in states)


def _check_jobs(engine: Engine) -> None:
    for job_id, job in engine.jobs.items():
        assert job.id == job_id, f"job {job.id} is kept as job {job_id}"
        assert 1 <= job_id < engine.next_job_id, f"job {job_id} has an id that is yet to be given out"
        for dependency in job.spec.depends_on if job.state in _WAITING else ():
            assert dependency in engine.jobs, f"job {job_id} waits for job {dependency}, which is not at hand"
        _check_life(job)
    _check_attempts(engine.jobs)


def _check_life(job: Job) -> None:
    what = f"job {job.id} ({job.state.value})"
    running = job.state is State.RUNNING
    assert (job.finished_at is not None) == (job.state in FINAL), f"{what} has finished_at {job.finished_at}"
    assert running or job.stop is None, f"{what} is still being stopped"
    assert job.state not in _WAITING or (job.run_id, job.gpu_ids, job.started_at) == (None, None, None), (
        f"{what} has traces of a launch"
    )
    if running:
        assert job.run_id is not None, f"{what} has no run id"
        assert job.started_at is not None, f"{what} has no started_at"
        assert len(job.gpu_ids or ()) == job.spec.gpus, f"{what} wants {job.spec.gpus} GPUs and has {job.gpu_ids}"
    assert job.retried_as is None or job.state is State.FAILED, f"{what} has a next attempt"


def _check_attempts(jobs: Mapping[JobId, Job]) -> None:
    for job in jobs.values():
        if job.retried_as is None:
            continue
        assert job.retried_as in jobs, f"job {job.id} was retried as job {job.retried_as}, which is not at hand"
        attempt = jobs[job.retried_as].spec
        assert attempt.retried_from == job.id, f"job {job.retried_as} does not say it repeats job {job.id}"
        assert attempt.restart_count == job.spec.restart_count + 1, f"job {job.retried_as} miscounts its restarts"


def _check_counts(engine: Engine) -> None:
    counts = Counter(job.state for job in engine.jobs.values())
    _same("jobs by state", +engine.counts, counts)
    _same("running jobs", set(engine.running), {job.id for job in _in_state(engine.jobs, State.RUNNING)})
    _same("ended jobs", set(engine.finished), {job.id for job in _in_state(engine.jobs, *FINAL)})


def _check_waiting(engine: Engine) -> None:
    for job in engine.jobs.values():
        places = [job.id in engine.ready, job.id in engine._early]
        if job.state is not State.QUEUED:
            assert not any(places), f"job {job.id} is {job.state.value}, but waits to start"
            continue
        places.append(not any(places) and judge(job.spec, engine.jobs)[0] is not Verdict.SATISFIED)
        assert sum(places) == 1, f"job {job.id} is queued, but waits in {sum(places)} places instead of one"
        if job.id in engine.ready:
            assert judge(job.spec, engine.jobs)[0] is Verdict.SATISFIED, f"job {job.id} is ready before its time"


def _check_queue(engine: Engine) -> None:
    entries = list(engine.ready.items())
    _same("length of the queue", len(engine.ready), len(entries))
    lanes: dict[object, list[tuple[int, JobId]]] = {}
    for job_id, shape, key in entries:
        job = engine.jobs[job_id]
        _same(f"queue key of job {job_id}", key, queue_key(job))
        _same(f"shape of job {job_id}", shape, engine.shape(job))
        lanes.setdefault(shape, []).append(key)
    _same(
        "lanes of the queue",
        {shape: lane.keys for shape, lane in engine.ready._lanes.items()},
        {shape: sorted(keys) for shape, keys in lanes.items()},
    )
    for shape, lane in engine.ready._lanes.items():
        _same("shape of a lane", lane.shape, shape)


def _check_begins(engine: Engine) -> None:
    for job_id in engine._early:
        begin_at = engine.jobs[job_id].spec.begin_at
        assert begin_at is not None, f"job {job_id} waits for a begin time it does not have"
        assert (begin_at, job_id) in engine._begins, f"nobody will wake up at the begin time of job {job_id}"


def _check_dependents(engine: Engine) -> None:
    dependents: dict[JobId, set[JobId]] = {}
    awaited = {}
    for job in _in_state(engine.jobs, *_WAITING):
        if job.spec.depends_on:
            awaited[job.id] = {d for d in job.spec.depends_on if engine.jobs[d].state not in FINAL}
        for dependency in job.spec.depends_on:
            dependents.setdefault(dependency, set()).add(job.id)
        doomed = judge(job.spec, engine.jobs)[0] is Verdict.IMPOSSIBLE
        assert not (doomed and job.spec.auto_cancel), f"job {job.id} can never start and was not cancelled"
    _same("dependents", engine._dependents, dependents)
    _same("what is awaited", engine._awaited, awaited)


def _check_groups(engine: Engine, over_cap: Container[str]) -> None:
    members: dict[str, set[JobId]] = {}
    for job in engine.jobs.values():
        if job.spec.group_id is not None:
            members.setdefault(job.spec.group_id, set()).add(job.id)
    _same("members of groups", engine._members, members)
    _same("groups", set(engine.groups), set(members))
    groups = (job.spec.group_id for job in _in_state(engine.jobs, State.RUNNING))
    running = Counter(group_id for group_id in groups if group_id is not None)
    _same("running jobs by group", +engine.group_running, running)
    states: dict[str, Counter[State]] = {group_id: Counter() for group_id in members}
    for job in engine.jobs.values():
        if job.spec.group_id is not None and job.retried_as is None:
            states[job.spec.group_id][job.state] += 1
    _same("states of groups", engine._group_states, states)
    for group_id in members:
        cap = engine.groups[group_id].max_concurrent
        assert cap is None or running[group_id] <= cap or group_id in over_cap, (
            f"group {group_id} runs {running[group_id]} jobs, more than its limit of {cap}"
        )


def _check_resources(engine: Engine) -> None:
    holders: dict[int, dict[JobId, int | None]] = {}
    memory_mb = cpus = 0
    for job in _in_state(engine.jobs, State.RUNNING):
        memory_mb += job.spec.memory_mb or 0
        cpus += job.spec.cpus or 0
        for index in job.gpu_ids or ():
            holders.setdefault(index, {})[job.id] = share_mb(job)
    _same("host memory in use", engine.resources.memory_used_mb, memory_mb)
    _same("processors in use", engine.resources.cpus_used, cpus)
    _same("holders of GPUs", engine.resources._holders, holders)
    for index, shares in holders.items():
        _check_gpu(engine, index, shares)


def _check_gpu(engine: Engine, index: int, shares: Mapping[JobId, int | None]) -> None:
    exclusive = [job_id for job_id, share in shares.items() if share is None]
    assert not exclusive or len(shares) == 1, f"GPU {index} belongs to job {exclusive[0]} alone, but has {list(shares)}"
    gpu = engine.resources.gpus.get(index)
    if gpu is not None and gpu.memory_mb is not None:
        # what jobs take beyond what they declared is not promised to them
        used = sum(engine.jobs[job_id].spec.gpu_memory_mb or 0 for job_id in shares if job_id not in exclusive)
        assert used <= gpu.memory_mb, f"jobs on GPU {index} were promised {used} MB, it has {gpu.memory_mb} MB"


def _check_deadlines(engine: Engine) -> None:
    for job in _in_state(engine.jobs, State.RUNNING):
        due = stops.due_boot(job)
        seen_to = due is None or job.id in engine._over or (due, job.id) in engine._deadlines
        assert seen_to, f"nobody will wake up for job {job.id} at {due}"
    assert engine._over <= engine.running.keys(), "jobs that are over are remembered for longer"


def _check_names(engine: Engine) -> None:
    keys = {
        (job.spec.owner, job.spec.submit_key): job.id for job in engine.jobs.values() if job.spec.submit_key is not None
    }
    _same("submission keys", engine._keys, keys)
    latest: dict[str, list[JobId]] = {}
    for job in sorted(engine.jobs.values(), key=lambda job: job.id):
        if job.spec.retried_from is None:
            latest.setdefault(job.spec.owner, []).append(job.id)
    _same("jobs by owner", engine._by_owner, latest)
    cells: dict[object, set[JobId]] = {}
    for job in engine.jobs.values():
        if (cell := cell_of(job.spec)) is not None:
            cells.setdefault(cell, set()).add(job.id)
    _same("cells of groups", engine._cells, cells)
    active = [job.spec for job in _in_state(engine.jobs, *ACTIVE)]
    scripts = {job.spec.script_digest for job in engine.jobs.values()}
    needed = {spec.environment for spec in active} - {None}, scripts - {None}
    _same("files still needed", engine.live_digests(), needed)


def _check_usage(engine: Engine) -> None:
    usage = Usage()
    for job in engine.jobs.values():
        usage.count(job, 1)
    for name in ("running_jobs", "running_gpus", "queued_jobs"):
        _same(f"{name} by user and project", +getattr(engine.quotas.usage, name), +getattr(usage, name))
    running: dict[str, dict[int, Job]] = {}
    for job in _in_state(engine.jobs, State.RUNNING):
        running.setdefault(job.spec.owner, {})[job.id] = job
    _same("running jobs by owner", engine.fair_share._running, running)


def _check_kept(engine: Engine) -> None:
    kept = Kept(engine.kept.size_of)
    for job in engine.jobs.values():
        kept.change(None, job)
    for counter in ("memory", "files"):
        _same(f"{counter} kept", getattr(engine.kept, counter), getattr(kept, counter))
