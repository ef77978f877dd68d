"""Makes jobs of a state that is incomplete, or put together of two, fit for the engine.

No job is started twice because its start was in what could not be read, and none is started without what it waits for:
such jobs are put on hold and say why; whoever knows better releases or cancels them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from gflow.core.dependencies import latest_attempt
from gflow.core.lifecycle import FINAL, move
from gflow.core.model import DependencyMode, Job, JobId, Reason, ReasonKind, State
from gflow.core.submission import doomed

_WAITING = (State.QUEUED, State.HOLD)

MAYBE_CHANGED = "held: the latest changes of the state could not be read; release it if it is still to run"
STARTED_BEFORE = "held: it was started before, and how that ended could not be read; release it to run it again"
END_UNKNOWN = "it is not running any more, and how it ended could not be read"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What there is to see besides the state: ids of jobs with a log, names of run directories, the history."""

    logged: Set[int] = frozenset()
    runs: Set[str] = frozenset()
    history: Callable[[Sequence[JobId]], Mapping[JobId, Job]] = field(default=lambda _: {})


def mend(jobs: dict[JobId, Job], doubtful: Set[JobId], evidence: Evidence, wall: float, *, blind: bool) -> list[str]:
    """Change `jobs` so that the engine takes them; returns one line for each job that a person should look at.

    `doubtful` jobs may have changed since. If `blind`, so much may be missing that no doubtful job is to start.
    """
    notes: list[str] = []
    _settle_doubts(jobs, sorted(doubtful & jobs.keys()), evidence, wall, blind, notes)
    _find_attempts(jobs, evidence)
    _find_dependencies(jobs, evidence, notes)
    _cancel_the_doomed(jobs, wall, notes)
    return notes


def _settle_doubts(
    jobs: dict[JobId, Job], doubtful: list[JobId], evidence: Evidence, wall: float, blind: bool, notes: list[str]
) -> None:
    open_ones = [job_id for job_id in doubtful if jobs[job_id].state not in FINAL]
    jobs.update(evidence.history(open_ones))
    for job in [jobs[job_id] for job_id in open_ones]:
        better = _doubted(job, evidence, wall, blind)
        if better is not job:
            jobs[job.id] = better
            notes.append(f"Job {job.id}: {better.detail}")


def _doubted(job: Job, evidence: Evidence, wall: float, blind: bool) -> Job:
    if job.state is State.QUEUED and job.id in evidence.logged:
        return move(job, State.HOLD, detail=STARTED_BEFORE)
    if job.state is State.QUEUED and blind:
        return move(job, State.HOLD, detail=MAYBE_CHANGED)
    if job.state is State.RUNNING and job.id in evidence.logged and f"{job.id}.{job.run_id}" not in evidence.runs:
        ended = max(wall, job.started_at or wall)
        reason = Reason(ReasonKind.SYSTEM, text=END_UNKNOWN)
        return move(job, State.FAILED, finished_at=ended, stop=None, reason=reason, detail=END_UNKNOWN)
    return job


def _find_attempts(jobs: dict[JobId, Job], evidence: Evidence) -> None:
    """The attempt that took a job's place is at hand, or the job says nothing of it."""
    todo = [job for job in jobs.values() if job.retried_as is not None]
    while todo:
        job = todo.pop()
        if job.retried_as is None or job.retried_as in jobs:
            continue
        found = evidence.history([job.retried_as])
        if job.retried_as in found:
            jobs.update(found)
            todo += found.values()
        else:
            jobs[job.id] = replace(job, retried_as=None)


def _find_dependencies(jobs: dict[JobId, Job], evidence: Evidence, notes: list[str]) -> None:
    """What a waiting job waits for is at hand, or the job is on hold."""
    waiting = [job for job in jobs.values() if job.state in _WAITING and job.spec.depends_on]
    missing = {d for job in waiting for d in job.spec.depends_on if d not in jobs}
    jobs.update(evidence.history(sorted(missing)))
    _find_attempts(jobs, evidence)
    for job in waiting:
        latest = tuple(dict.fromkeys(latest_attempt(d, jobs) for d in job.spec.depends_on))
        there = tuple(d for d in latest if d in jobs)
        if job.spec.dependency_mode is DependencyMode.ANY and there != latest:
            there = tuple(d for d in there if jobs[d].state not in FINAL)  # the missing one may have been the one
        if there != job.spec.depends_on:
            jobs[job.id] = job.with_spec(depends_on=there)
        if not jobs.keys() >= set(latest):
            jobs[job.id] = _held_for_want_of(jobs[job.id], [d for d in latest if d not in jobs])
            notes.append(f"Job {job.id}: {jobs[job.id].detail}")


def _held_for_want_of(job: Job, missing: Iterable[JobId]) -> Job:
    names = ", ".join(map(str, missing))
    text = f"held: it waits for job {names}, which could not be read; release it to run it without"
    return move(job, State.HOLD, detail=text) if job.state is State.QUEUED else replace(job, detail=text)


def _cancel_the_doomed(jobs: dict[JobId, Job], wall: float, notes: list[str]) -> None:
    """A job whose dependency fell in the one half of the state falls, too, if it is in the other."""
    again = True
    while again:
        again = False
        for job in [job for job in jobs.values() if job.state in _WAITING and job.spec.depends_on]:
            cause = doomed(job.spec, jobs)
            if cause is not None:
                text = f"dependency {cause} did not finish"
                reason = Reason(ReasonKind.DEPENDENCY_FAILED, cause)
                jobs[job.id] = move(job, State.CANCELLED, finished_at=wall, reason=reason, detail=text)
                notes.append(f"Job {job.id}: cancelled, as {text}")
                again = True
