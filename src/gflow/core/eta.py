"""Why nobody can say when a job is going to start: what `forecast` leaves open, in a sentence."""

from collections.abc import Iterable

from gflow.core.dependencies import Verdict, judge
from gflow.core.engine import Engine
from gflow.core.fairshare import UsageNow
from gflow.core.forecast import MOST_AHEAD
from gflow.core.model import Job, JobId, JobSpec, Now, State
from gflow.core.order import queue_key
from gflow.core.quotas import parties

_MOST_NAMED = 8


def why_unknown(engine: Engine, job: Job, now: Now) -> str | None:
    """Why a waiting job has no expected start; None if it waits for nothing any more."""
    if job.state is State.HOLD:
        return "it is on hold"
    if job.state is not State.QUEUED:
        return None
    if engine.drained is not None:
        return "nothing is started while gflow is drained"
    if engine.stall_of(job.spec.owner) is not None:
        return "it cannot be launched just now"
    if judge(job.spec, engine.jobs)[0] is not Verdict.SATISFIED:
        return "nobody knows when what it depends on will have finished"
    usage, key = UsageNow(engine.fair_share, now), queue_key(job)
    if engine.ready.position(key, job.spec.owner, usage.of) > MOST_AHEAD:
        return f"more than {MOST_AHEAD} jobs are ahead of it"
    if endless := _endless(engine, job, engine.running):
        return f"{_jobs(endless)} {'has' if len(endless) == 1 else 'have'} no time limit"
    if endless := _endless(engine, job, engine.ready.before(key, job.spec.owner, usage.of)):
        return f"{_jobs(endless)} ahead of it {'has' if len(endless) == 1 else 'have'} no time limit"
    return "nothing that is known to end will make room for it"


def _endless(engine: Engine, job: Job, others: Iterable[JobId]) -> list[JobId]:
    """Those without a limit that have, or are to have, what `job` needs: GPUs, memory, CPUs, a place in a group."""
    shape = engine.shape(job)
    over = engine.quotas.over(shape.owner, shape.project, shape.gpus)

    def in_the_way(other: JobSpec) -> bool:
        return bool(
            (other.gpus and shape.gpus)
            or (other.memory_mb and shape.memory_mb)
            or (other.cpus and shape.cpus)
            or (shape.group_id is not None and other.group_id == shape.group_id)
            or (over is not None and over[:2] in parties(other))
        )

    found = (engine.jobs[job_id] for job_id in others)
    return sorted(one.id for one in found if one.spec.time_limit_secs is None and not one.stop and in_the_way(one.spec))


def _jobs(ids: list[JobId]) -> str:
    listed = ", ".join(map(str, ids[:_MOST_NAMED])) + (" and others" if len(ids) > _MOST_NAMED else "")
    return f"job {listed}" if len(ids) == 1 else f"jobs {listed}"
