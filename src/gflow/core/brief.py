"""Why a job waits, in two or three words: for a column of a list, where `explain` would be too long and too slow.

Jobs of one shape wait for the same, so a list costs what its shapes cost.
"""

from functools import cached_property

from gflow.core.dependencies import Verdict, judge
from gflow.core.engine import Engine
from gflow.core.model import DependencyMode, Job, Now, ReasonKind, State
from gflow.core.planner import Planned, Planner, choose
from gflow.core.queue import Shape

_MOST_NAMED = 3
"""Longer lists of jobs are cut."""


class Briefs:
    """The words for jobs of `engine` at one moment."""

    def __init__(self, engine: Engine, now: Now) -> None:
        self._engine = engine
        self._now = now
        self._known: dict[Shape, str] = {}

    def of(self, job: Job) -> str | None:
        """What a queued job waits for; None where its reason says all there is to say."""
        engine = self._engine
        if engine.jobs.get(job.id) is not job:
            return None
        if job.id not in engine.ready:
            return self._awaited(job)
        blocked = engine.blocked(job)
        if blocked is None:
            return None
        shape = engine.shape(job)
        if shape not in self._known:
            self._known[shape] = self._words(shape, blocked)
        return self._known[shape]

    def _awaited(self, job: Job) -> str | None:
        """The jobs it depends on that have not finished, once they are what it waits for."""
        jobs = self._engine.jobs
        verdict, cause = judge(job.spec, jobs)
        reason = self._engine.reason(job)
        if reason is None or reason.kind is not ReasonKind.DEPENDENCY:
            return None
        if verdict is Verdict.IMPOSSIBLE and cause is not None:
            return f"Never: job {cause} is {jobs[cause].state.value}"
        awaited = [str(one) for one in job.spec.depends_on if jobs[one].state is not State.FINISHED]
        more = f" and {len(awaited) - _MOST_NAMED} more" if len(awaited) > _MOST_NAMED else ""
        one_of = "one of " if job.spec.dependency_mode is DependencyMode.ANY and len(awaited) > 1 else ""
        return f"After {one_of}{'job' if len(awaited) == 1 else 'jobs'} {', '.join(awaited[:_MOST_NAMED])}{more}"

    @cached_property
    def _planner(self) -> Planner:
        return Planner(self._engine, self._now)

    def _words(self, shape: Shape, blocked: ReasonKind) -> str:
        if self._engine.drained is not None:
            return self._engine.drained.words
        if self._engine.stall_of(shape.owner) is not None:
            return "Cannot be launched just now"
        if self._engine.group_full(shape) and shape.group_id is not None:
            return f"Limit of its group: {self._engine.groups[shape.group_id].max_concurrent} at once"
        match blocked:
            case ReasonKind.QUOTA:
                return self._quota(shape)
            case ReasonKind.MEMORY:
                return "Memory"
            case ReasonKind.RESOURCES:
                return self._host(shape)
            case _:
                return self._gpus(shape)

    def _host(self, shape: Shape) -> str:
        """It is CPUs there are too few of, or somebody before it is to have what there is."""
        if self._engine.lacks_cpus(shape):
            return "CPUs"
        for plan in self._plans(shape):
            return f"{'Memory' if plan.shape.memory_mb and shape.memory_mb else 'CPUs'} kept for job {plan.id}"
        return "Resources"

    def _quota(self, shape: Shape) -> str:
        over = self._engine.quotas.over(shape.owner, shape.project, shape.gpus)
        if over is None:
            return "Quota"
        scope, name, limit, most = over
        what = "job" if limit == "max_running_jobs" else "GPU"
        return f"Quota of {scope} {name}: {most} {what}{'' if most == 1 else 's'}"

    def _gpus(self, shape: Shape) -> str:
        planner = self._planner
        end_at, fitting = planner.end_at(shape), planner.fitting(shape)
        if len(fitting) < shape.gpus:
            return "Resources"
        if choose(fitting, shape.gpus, planner.promised(shape, end_at)) is None:
            return "Reserved"
        for plan in self._plans(shape):
            planner.planned = [plan]
            if choose(fitting, shape.gpus, planner.relevant(shape, end_at)) is None:
                return f"{'GPU' if shape.gpus == 1 else 'GPUs'} kept for job {plan.id}"
        return "Resources"

    def _plans(self, shape: Shape) -> list[Planned]:
        """The jobs that must not be delayed, but those that ask for the same."""
        return [plan for plan in self._engine.planned if plan.shape != shape]
