"""What the jobs of an import say of each other, made to hold together.

gflow kept whatever it was told, so a file may name jobs it does not have, jobs that wait for each other for ever, and
two jobs on one GPU. Afterwards everything `core.invariants` demands of stored jobs is true of these.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import replace

from gflow.core.dependencies import latest_attempt
from gflow.core.model import DependencyMode, Group, Job, JobId, Now, Reason, ReasonKind, State
from gflow.core.submission import doomed
from gflow.store.imports.jobs import Notes

Jobs = MutableMapping[JobId, Job]

_WAITING = (State.QUEUED, State.HOLD)


def settle(jobs: Jobs, now: Now, notes: Notes) -> None:
    """Put right, in this order: attempts, dependencies, those that can no longer start, GPUs."""
    _link_attempts(jobs, notes)
    for job_id in sorted(jobs):
        jobs[job_id] = _known_dependencies(jobs, jobs[job_id], notes)
    _break_cycles(jobs, notes)
    _cancel_doomed(jobs, now, notes)
    _share_out_gpus(jobs, notes)


# -- attempts ----------------------------------------------------------------------------------------------------------


def _link_attempts(jobs: Jobs, notes: Notes) -> None:
    """Each failed job with the one that repeated it; both sides know of each other in ours."""
    for job_id in sorted(jobs):
        failed_id = jobs[job_id].spec.retried_from
        if failed_id is None:
            continue
        failed = jobs.get(failed_id)
        if failed is None or failed_id >= job_id or failed.state is not State.FAILED or failed.retried_as is not None:
            notes.add(job_id, f"says that it repeats job {failed_id}, which cannot be: that is left out")
            jobs[job_id] = jobs[job_id].with_spec(retried_from=None)
            continue
        jobs[failed_id] = replace(failed, retried_as=job_id)
        jobs[job_id] = jobs[job_id].with_spec(restart_count=failed.spec.restart_count + 1)


# -- dependencies ------------------------------------------------------------------------------------------------------


def _known_dependencies(jobs: Mapping[JobId, Job], job: Job, notes: Notes) -> Job:
    """The job with those dependencies that exist. One that would start too early for it is put on hold instead."""
    waiting = job.state in _WAITING
    wanted = job.spec.depends_on
    if waiting:
        wanted = tuple(dict.fromkeys(latest_attempt(dependency, jobs) for dependency in wanted))
    there = tuple(dependency for dependency in wanted if dependency in jobs and dependency != job.id)
    missing = [dependency for dependency in wanted if dependency not in there]
    job = _depending_on(job, there)
    if not missing:
        return job
    why = f"depends on job {', '.join(map(str, missing))}, which the file does not have"
    if missing == [job.id]:
        why = "depends on itself"
    if waiting and not (there and job.spec.dependency_mode is DependencyMode.ANY):
        return _held(job, why, notes)
    notes.add(job.id, f"{why}: left out")
    return job


def _depending_on(job: Job, depends_on: tuple[JobId, ...]) -> Job:
    if depends_on == job.spec.depends_on:
        return job
    return job.with_spec(depends_on=depends_on, dependency_mode=job.spec.dependency_mode if depends_on else None)


def _held(job: Job, why: str, notes: Notes) -> Job:
    notes.add(job.id, f"{why}: on hold, as it would start too early without; release it to run it")
    return replace(job, state=State.HOLD)


def _break_cycles(jobs: Jobs, notes: Notes) -> None:
    """Jobs that wait for each other would wait for ever: of each circle the job that closes it is put on hold."""
    graph = {job.id: job.spec.depends_on for job in jobs.values() if job.state in _WAITING}
    for job_id, dependency in list(_closing(graph)):
        job = jobs[job_id]
        rest = tuple(other for other in job.spec.depends_on if other != dependency)
        jobs[job_id] = _held(_depending_on(job, rest), f"waits for job {dependency}, which waits for it", notes)


def _closing(graph: Mapping[JobId, tuple[JobId, ...]]) -> Iterator[tuple[JobId, JobId]]:
    """The edges without which there is no circle: those back to a job that is on the way."""
    done: set[JobId] = set()
    for start in sorted(graph):
        way: dict[JobId, Iterator[JobId]] = {} if start in done else {start: iter(graph[start])}
        while way:
            here = next(reversed(way))
            for ahead in way[here]:
                if ahead in way:
                    yield here, ahead
                elif ahead in graph and ahead not in done:
                    way[ahead] = iter(graph[ahead])
                    break
            else:
                done.add(here)
                del way[here]


def _cancel_doomed(jobs: Jobs, now: Now, notes: Notes) -> None:
    """Cancel, as the engine would have, what waits for something that can no longer come, and what waits for that."""
    dependents: dict[JobId, list[JobId]] = {}
    for job in jobs.values():
        for dependency in job.spec.depends_on if job.state in _WAITING else ():
            dependents.setdefault(dependency, []).append(job.id)
    todo = sorted(job.id for job in jobs.values() if job.state in _WAITING)
    while todo:
        job = jobs[todo.pop()]
        cause = doomed(job.spec, jobs) if job.state in _WAITING else None
        if cause is None:
            continue
        notes.add(job.id, f"can no longer start, as job {cause} did not finish: Cancelled")
        jobs[job.id] = replace(
            job,
            state=State.CANCELLED,
            finished_at=now.wall,
            reason=Reason(ReasonKind.DEPENDENCY_FAILED, cause),
            detail=f"dependency {cause} did not finish",
        )
        todo.extend(dependents.get(job.id, ()))


# -- what they hold ----------------------------------------------------------------------------------------------------


def _share_out_gpus(jobs: Jobs, notes: Notes) -> None:
    """No GPU counts as held by a job alone and by another: the later job goes on without it in the books."""
    holders: dict[int, list[Job]] = {}
    for job_id in sorted(jobs):
        job = jobs[job_id]
        if job.state is not State.RUNNING:
            continue
        taken = [i for i in job.gpu_ids or () if not all(job.spec.shared and h.spec.shared for h in holders.get(i, ()))]
        if taken:
            notes.add(job_id, f"runs on GPU {', '.join(map(str, taken))}, which another job has: not counted")
            gpu_ids = tuple(index for index in job.gpu_ids or () if index not in taken)
            job = jobs[job_id] = replace(job.with_spec(gpus=len(gpu_ids)), gpu_ids=gpu_ids)
        for index in job.gpu_ids or ():
            holders.setdefault(index, []).append(job)


def groups(jobs: Mapping[JobId, Job], caps: Mapping[JobId, int], notes: Notes) -> tuple[Group, ...]:
    """The groups of the jobs. gflow kept the limit with each job; where they disagree, the smallest one that still
    concerns a job that has not ended counts. `caps` has the limits by job."""
    members: dict[str, list[JobId]] = {}
    for job_id in sorted(jobs):
        if (group_id := jobs[job_id].spec.group_id) is not None:
            members.setdefault(group_id, []).append(job_id)
    return tuple(Group(group_id, _cap(group_id, ids, jobs, caps, notes)) for group_id, ids in members.items())


def _cap(
    group_id: str, ids: list[JobId], jobs: Mapping[JobId, Job], caps: Mapping[JobId, int], notes: Notes
) -> int | None:
    active = [job_id for job_id in ids if jobs[job_id].finished_at is None]
    given = {caps[job_id] for job_id in active or ids if job_id in caps}
    if not given:
        return None
    cap = max(1, min(given))
    if active and (len(given) > 1 or min(given) == 0):
        notes.add(None, f"group {group_id}: its jobs say that at most {_either(given)} run at once: made {cap}")
    return cap


def _either(numbers: set[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))
