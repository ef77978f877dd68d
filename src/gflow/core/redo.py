"""Jobs done once more: what is asked for again, and which others go along because they had fallen with the first."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from gflow.core.dependencies import Verdict, judge, latest_attempt
from gflow.core.errors import Impossible
from gflow.core.lifecycle import FINAL
from gflow.core.model import Job, JobId, JobSpec, ReasonKind, State


def again(job: Job, owner: str) -> JobSpec:
    """What a new job of `owner` is to do that does the same as `job`.

    Begin time and key belonged to one submission; attempts are counted anew. A group has jobs of its owner only.
    """
    spec = job.spec if owner == job.spec.owner else replace(job.spec, group_id=None, group_name=None, key=None)
    return replace(
        spec,
        owner=owner,
        begin_at=None,
        submit_key=None,
        retried_from=None,
        restart_count=0,
        oom_restarts=0,
        redone_from=job.id,
    )


def fallen_with(ids: Iterable[JobId], cancelled: Iterable[Job]) -> list[Job]:
    """Those of the `cancelled` jobs that were so because one of `ids` failed, or one that had fallen with it; by id."""
    by_cause: dict[JobId, list[Job]] = {}
    for job in cancelled:
        reason = job.reason
        if job.state is State.CANCELLED and reason is not None and reason.kind is ReasonKind.DEPENDENCY_FAILED:
            by_cause.setdefault(reason.job or JobId(0), []).append(job)
    found: dict[JobId, Job] = {}
    todo = list(ids)
    while todo:
        for job in by_cause.pop(todo.pop(), ()):
            found[job.id] = job
            todo.append(job.id)
    return [found[job_id] for job_id in sorted(found)]


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """Each job behind those among them that it depends on, else by id.

    Where jobs depend on each other in a circle, as ended ones may that were changed before they did, it is by id.
    """
    by_id = {job.id: job for job in jobs}
    sorter = TopologicalSorter({job.id: set(job.spec.depends_on) & by_id.keys() for job in by_id.values()})
    try:
        sorter.prepare()
    except CycleError:
        return [by_id[job_id] for job_id in sorted(by_id)]
    order: list[JobId] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return [by_id[job_id] for job_id in order]


def waiting_for(spec: JobSpec, new_ids: Mapping[JobId, JobId], known: Mapping[JobId, Job]) -> JobSpec:
    """`spec` waiting for the new jobs in the place of the old ones, and for what became of others that failed."""
    moved = (new_ids.get(job_id) or _what_became_of(job_id, known) for job_id in spec.depends_on)
    return replace(spec, depends_on=tuple(dict.fromkeys(moved)))


def _what_became_of(job_id: JobId, known: Mapping[JobId, Job]) -> JobId:
    """The latest attempt, or where that failed and was done again, the latest of those."""
    job_id = latest_attempt(job_id, known)
    while (job := known.get(job_id)) is not None and job.state in FINAL and job.state is not State.FINISHED:
        if job.redone_as is None or job.redone_as not in known:
            break
        job_id = latest_attempt(job.redone_as, known)
    return job_id


def besides(spec: JobSpec, new_ids: Mapping[JobId, JobId]) -> JobSpec:
    """`spec` with those of its dependencies only that are there already."""
    new = set(new_ids.values())
    return replace(spec, depends_on=tuple(job_id for job_id in spec.depends_on if job_id not in new))


def check_hope(old: JobId, spec: JobSpec, known: Mapping[JobId, Job]) -> None:
    """Raise Impossible if the job that is to do `old` again would wait for a job that has failed."""
    verdict, cause = judge(spec, known)
    if verdict is Verdict.IMPOSSIBLE and cause is not None:
        raise Impossible(
            f"Job {old} depends on job {cause}, which is {known[cause].state.value}: do that again with --cascade,"
            " or give other dependencies or none (--depends-on ID, --clear-deps)"
        )
