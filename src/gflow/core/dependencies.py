"""What a job's dependencies say, derived each time from their states and never counted up.

Only Finished satisfies, unless the job waits for any end. A failed attempt that was retried counts as the attempt that
took its place.
"""

import enum
from collections.abc import Container, Iterable, Mapping

from gflow.core.lifecycle import FINAL
from gflow.core.model import DependencyMode, Job, JobId, JobSpec, State


class Verdict(enum.Enum):
    """Whether a job's dependencies let it run."""

    SATISFIED = "satisfied"
    WAITING = "waiting"
    IMPOSSIBLE = "impossible"


def latest_attempt(job_id: JobId, jobs: Mapping[JobId, Job]) -> JobId:
    """The attempt that now stands for `job_id`."""
    while (job := jobs.get(job_id)) is not None and job.retried_as is not None:
        job_id = job.retried_as
    return job_id


def satisfies(spec: JobSpec, state: State) -> bool:
    """Whether a dependency in this state is one that the job need not wait for any more."""
    return state in FINAL if spec.after_end else state is State.FINISHED


def judge(spec: JobSpec, jobs: Mapping[JobId, Job], lost: Container[JobId] = ()) -> tuple[Verdict, JobId | None]:
    """The verdict, and for IMPOSSIBLE the dependency that made it so; as if `lost` had been cancelled."""
    if not spec.depends_on:
        return Verdict.SATISFIED, None
    wanted = spec.dependency_mode is DependencyMode.ANY  # the first that went so, or otherwise, decides
    waits = False
    last: JobId | None = None
    for dependency in spec.depends_on:
        state = State.CANCELLED if dependency in lost else jobs[dependency].state
        if state not in FINAL:
            waits = True
        elif satisfies(spec, state) is wanted:
            return (Verdict.SATISFIED, None) if wanted else (Verdict.IMPOSSIBLE, dependency)
        else:
            last = dependency
    if waits:
        return Verdict.WAITING, None
    return (Verdict.IMPOSSIBLE, last) if wanted else (Verdict.SATISFIED, None)


def closes_cycle(job_id: JobId, depends_on: Iterable[JobId], jobs: Mapping[JobId, Job]) -> bool:
    """Whether `job_id` would, through `depends_on`, come to wait for itself."""
    seen: set[JobId] = set()
    todo = list(depends_on)
    while todo:
        current = todo.pop()
        if current == job_id:
            return True
        if current not in seen and current in jobs and jobs[current].state not in FINAL:
            seen.add(current)
            todo.extend(jobs[current].spec.depends_on)
    return False
