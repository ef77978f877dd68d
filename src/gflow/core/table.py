"""All jobs at hand, with every index over them: the one place that stores a job.

`_put` replaces a job and brings each index along, so that looking costs what is found, and a step what changed.
`invariants.check` derives every index anew and compares.

Jobs that ended long ago leave (`_retire`) and come back when a new job is to wait for one of them (`recalled`). Three
things therefore always hold: what a waiting job depends on is here, so is the attempt that took a job's place, and so
are all jobs of a group of which one has yet to end, up to `GROUP_KEPT`.
"""

import heapq
from bisect import bisect_left, insort
from collections import ChainMap, Counter, deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gflow.core import stops
from gflow.core.dependencies import Verdict, judge, latest_attempt
from gflow.core.drain import Drain
from gflow.core.errors import NotFound
from gflow.core.fairshare import FairShare
from gflow.core.groups import Cell, cell_of
from gflow.core.kept import Kept
from gflow.core.lifecycle import ACTIVE, FINAL
from gflow.core.measuring import Measuring
from gflow.core.model import DependencyMode, Gpu, Group, Job, JobId, Now, Reason, ReasonKind, State
from gflow.core.order import queue_key
from gflow.core.outcome import Outcome
from gflow.core.placement import Resources, Shuffle
from gflow.core.planner import Planned
from gflow.core.policy import Policy
from gflow.core.queue import ReadyQueue, Shape
from gflow.core.quotas import Quotas
from gflow.core.reservations import Book

GROUP_KEPT = 4096
"""Of larger groups ended jobs may leave before the last has ended; a name that is used for ever keeps no more here."""

_REASONS = {kind: Reason(kind) for kind in ReasonKind}


class Heavy(NamedTuple):
    """Jobs of a user whose jobs keep more than so many bytes of memory, if they ended before a moment."""

    bytes: int
    ended_before: float


class Table:
    """The jobs and groups, and what follows from them. `shuffle` orders GPUs to choose from.

    `grace_secs` is the time from Ctrl-C to SIGTERM.
    """

    def __init__(self, shuffle: Shuffle, policy: Policy, grace_secs: float) -> None:
        self.policy = policy
        self.grace_secs = grace_secs
        self.jobs: dict[JobId, Job] = {}
        self.groups: dict[str, Group] = {}
        self.next_job_id = JobId(1)
        self.counts: Counter[State] = Counter()
        self.resources = Resources(shuffle)
        self.book = Book()
        self.quotas = Quotas(policy.quotas)
        self.fair_share = FairShare(policy.fair_share_half_life_secs)
        self.measuring = Measuring()
        self.kept = Kept()
        self.planned: list[Planned] = []
        self.drained: Drain | None = None
        self.stalled: dict[str | None, str] = {}
        self.running: dict[JobId, None] = {}
        self.finished: dict[JobId, None] = {}
        self.group_running: Counter[str] = Counter()
        self._group_states: dict[str, Counter[State]] = {}
        self.ready = ReadyQueue()
        self._early: set[JobId] = set()
        self._begins: list[tuple[float, JobId]] = []
        self._deadlines: list[tuple[float, JobId]] = []
        self._over: set[JobId] = set()
        """Running jobs that had ended by themselves when their limit was reached: there is nothing left to be done."""
        self._dependents: dict[JobId, set[JobId]] = {}
        self._awaited: dict[JobId, set[JobId]] = {}
        self._members: dict[str, set[JobId]] = {}
        self._keys: dict[tuple[str, str], JobId] = {}
        self._by_owner: dict[str, list[JobId]] = {}
        self._cells: dict[Cell, set[JobId]] = {}

    def configure(self, policy: Policy, grace_secs: float, shuffle: Shuffle, now: Now) -> None:
        """Go by other settings from now on. What has begun, as the stopping of a job, ends as it began."""
        self.policy = policy
        self.grace_secs = grace_secs
        self.resources.shuffle = shuffle
        self.quotas.configure(policy.quotas)
        self.fair_share.configure(policy.fair_share_half_life_secs, now.wall)

    def job(self, job_id: int) -> Job:
        """The job with this id. Raises NotFound."""
        try:
            return self.jobs[JobId(job_id)]
        except KeyError:
            raise NotFound(f"Job {job_id} does not exist") from None

    def goes_on_as(self, job: Job) -> JobId | None:
        """The attempt at an ended job that waits or runs, None if there is none. The job itself may have left."""
        if job.retried_as is None:
            return None
        last = self.jobs.get(latest_attempt(job.retried_as, self.jobs))
        return last.id if last is not None and last.state in ACTIVE else None

    def reason(self, job: Job) -> Reason | None:
        """Why the job waits, or ended as it did."""
        if job.state is State.HOLD:
            return _REASONS[ReasonKind.HELD]
        if job.state is not State.QUEUED:
            return job.reason
        if job.id in self.ready:
            blocked = self.blocked(job)
            return _REASONS[blocked] if blocked is not None else None
        return _REASONS[ReasonKind.BEGIN_TIME if job.id in self._early else ReasonKind.DEPENDENCY]

    def blocked(self, job: Job) -> ReasonKind | None:
        """Why a ready job could not start when last tried; None if it was not.

        A pass may stop at "too few GPUs". What would be in the way even if there were enough is the better word.
        """
        blocked = self.ready.blocked(job.id)
        if blocked is not ReasonKind.GPU:
            return blocked
        shape = self.shape(job)
        if self.group_full(shape) or self.stall_of(shape.owner) is not None:
            return ReasonKind.RESOURCES
        if self.lacks_memory(shape):
            return ReasonKind.MEMORY
        if self.lacks_cpus(shape):
            return ReasonKind.RESOURCES
        over = self.quotas.over(job.spec.owner, job.spec.project, job.spec.gpus)
        return blocked if over is None else ReasonKind.QUOTA

    def stall(self, whose: str | None, why: str | None) -> bool:
        """Start no jobs of this owner (None: of anybody) until told otherwise (`why` None); whether that is news.

        No launch would succeed, which is no fault of the jobs. It is not kept: the next daemon tries anew.
        """
        before = self.stalled.get(whose)
        if why is None:
            self.stalled.pop(whose, None)
        else:
            self.stalled[whose] = why
        return (before is None) != (why is None)

    def stall_of(self, owner: str) -> str | None:
        """Why no job of this owner can be started just now; None if they can."""
        return self.stalled.get(None) or self.stalled.get(owner)

    def shape(self, job: Job) -> Shape:
        """What the job needs to start."""
        spec = job.spec
        group = self.groups.get(spec.group_id) if spec.group_id is not None else None
        capped = group.id if group is not None and group.max_concurrent is not None else None
        return Shape(
            spec.owner,
            spec.project,
            spec.gpus,
            spec.gpu_indices,
            spec.shared,
            spec.gpu_memory_mb if spec.gpus else None,
            spec.memory_mb,
            spec.cpus,
            capped,
            spec.time_limit_secs,
        )

    def lacks_memory(self, shape: Shape) -> bool:
        """Whether too little host memory is left for a job of this shape."""
        total, wanted = self.resources.memory_total_mb, shape.memory_mb or 0
        return wanted > 0 and total is not None and self.resources.memory_used_mb + wanted > total

    def lacks_cpus(self, shape: Shape) -> bool:
        """Whether too few processors are left for a job of this shape."""
        total, wanted = self.resources.cpus_total, shape.cpus or 0
        return wanted > 0 and total is not None and self.resources.cpus_used + wanted > total

    def group_full(self, shape: Shape) -> bool:
        """Whether the group's limit keeps a job of this shape from starting."""
        if shape.group_id is None:
            return False
        cap = self.groups[shape.group_id].max_concurrent
        return cap is not None and self.group_running[shape.group_id] >= cap

    def dependents(self, job_ids: Iterable[JobId]) -> Iterator[tuple[Job, JobId]]:
        """Active jobs that would never start without these, each with the dependency that it waits for in vain: they
        are cancelled along, or stay where they are told not to be, and what waits for those then does so in vain, too.
        """
        fallen = set(job_ids)
        todo = deque(fallen)
        left: dict[JobId, int] = {}  # of what a job waits for, how many are not among the fallen
        while todo:
            lost = todo.popleft()
            for dependent_id in sorted(self._dependents.get(lost, ())):
                awaited, spec = self._awaited[dependent_id], self.jobs[dependent_id].spec
                left[dependent_id] = left.get(dependent_id, len(awaited)) - (lost in awaited)
                waits_for_another = spec.dependency_mode is DependencyMode.ANY and left[dependent_id]
                if dependent_id in fallen or spec.after_end or waits_for_another:
                    continue
                verdict, cause = judge(spec, self.jobs, fallen)
                if verdict is Verdict.IMPOSSIBLE and cause is not None:
                    fallen.add(dependent_id)
                    todo.append(dependent_id)
                    yield self.jobs[dependent_id], cause

    def waiting_for(self, job_id: JobId) -> int:
        """How many jobs wait for this one to end."""
        return len(self._dependents.get(job_id, ()))

    def submitted_by(self, owner: str) -> Sequence[JobId]:
        """The owner's jobs, the latest last; repeated attempts do not count."""
        return self._by_owner.get(owner, ())

    def submitted_under(self, owner: str, key: str) -> Job | None:
        """The job an earlier submission with the same key made."""
        job_id = self._keys.get((owner, key))
        return self.jobs[job_id] if job_id is not None else None

    def in_cell(self, cell: Cell) -> Job | None:
        """The latest job at hand of a cell of a group."""
        ids = self._cells.get(cell)
        return self.jobs[max(ids)] if ids else None

    def retirable(
        self, keep: int, long_ago: float, recently: float, most: int, heavy: Heavy | None = None
    ) -> list[Job]:
        """Up to `most` ended jobs that nobody needs at hand, the first to end first.

        Those that ended before `long_ago`, and those too many when `keep` ended ones are to stay, but none that ended
        after `recently`; and those that are `heavy`. Moments are seconds since the epoch.
        """
        excess = len(self.finished) - keep
        hogs = self.kept.above(heavy.bytes) if heavy is not None else set()
        chosen: dict[JobId, Job] = {}
        for position, job_id in enumerate(self.finished):
            job = self.jobs[job_id]
            ended_at = job.finished_at or 0.0
            due = ended_at < recently and (position < excess or ended_at < long_ago)
            hogged = heavy is not None and job.spec.owner in hogs and ended_at < heavy.ended_before
            if len(chosen) == most or not (due or hogs):
                break
            if (due or hogged) and self._may_retire(job, chosen):
                chosen[job_id] = job
        return list(chosen.values())

    def prunable(self, before: float) -> tuple[list[JobId], int]:
        """The jobs that ended before a moment and that nobody needs at hand, by id; and how many others ended then.

        `retire` takes them in this order, in as many steps as one likes.
        """
        ended = sorted(job_id for job_id in self.finished if (self.jobs[job_id].finished_at or 0.0) < before)
        chosen: dict[JobId, None] = {}
        for job_id in ended:
            if self._may_retire(self.jobs[job_id], chosen):
                chosen[job_id] = None
        return list(chosen), len(ended) - len(chosen)

    def _may_retire(self, job: Job, along: Container[JobId] = ()) -> bool:
        """Whether an ended job can leave, together with the jobs in `along`."""
        earlier = job.spec.retried_from
        needed = earlier is not None and earlier in self.jobs and earlier not in along
        return (
            job.state in FINAL
            and job.id not in self._dependents
            and not needed
            and not self._counted(job.spec.group_id)
        )

    def _counted(self, group_id: str | None) -> bool:
        """Whether the jobs of a group must stay to be counted when it is done."""
        return group_id is not None and self.group_open(group_id) and len(self._members.get(group_id, ())) <= GROUP_KEPT

    def _with(self, recalled: Iterable[Job]) -> Mapping[JobId, Job]:
        """The jobs at hand, and those that are to come back."""
        past = {job.id: job for job in recalled if job.id not in self.jobs}
        return ChainMap(self.jobs, past) if past else self.jobs

    def members(self, group_id: str) -> Iterable[JobId]:
        """Ids of the jobs in a group."""
        return self._members.get(group_id, ())

    def group_counts(self, group_id: str) -> dict[State, int]:
        """How many jobs of a group are in each state; an attempt whose place another took is not counted."""
        return +self._group_states.get(group_id, Counter())

    def group_open(self, group_id: str) -> bool:
        """Whether a job of the group has yet to end."""
        counts = self._group_states.get(group_id)
        return counts is not None and any(counts[state] for state in ACTIVE)

    def open_groups(self) -> list[str]:
        """The groups of which a job has yet to end."""
        return [group_id for group_id in self.groups if self.group_open(group_id)]

    def live_digests(self) -> tuple[set[str], set[str]]:
        """Environments that a job which has not ended still needs, and the scripts of all jobs at hand.

        Environments may hold secrets, so they go at the end; a script is needed to run the job once more.
        """
        specs = [(job.spec, job.state in ACTIVE) for job in self.jobs.values()]
        environments = {spec.environment for spec, active in specs if active and spec.environment}
        return environments, {spec.script_digest for spec, _ in specs if spec.script_digest}

    def next_deadline_boot(self) -> float | None:
        """When `enforce` will next have something to do, in CLOCK_BOOTTIME."""
        while self._deadlines:
            due, job_id = self._deadlines[0]
            job = self.jobs.get(job_id)  # None: it ended, and has left since
            if job is not None and job.state is State.RUNNING and stops.due_boot(job) == due:
                return due
            heapq.heappop(self._deadlines)
        return None

    def next_begin_at(self) -> float | None:
        """When `schedule` will next find a job whose begin time has come, in seconds since the epoch."""
        while self._begins:
            begin_at, job_id = self._begins[0]
            if job_id in self._early and self.jobs[job_id].spec.begin_at == begin_at:
                return begin_at
            heapq.heappop(self._begins)
        return None

    # -- storing ---------------------------------------------------------------------------------------------------

    def set_machine(self, gpus: Sequence[Gpu], memory_total_mb: int | None, cpus_total: int | None = None) -> None:
        """What this machine has now. Running jobs keep what they were given."""
        self.resources.set_gpus(gpus)
        self.resources.memory_total_mb = memory_total_mb
        self.resources.cpus_total = cpus_total

    def restore(self, jobs: Iterable[Job], groups: Iterable[Group], next_job_id: int, now: Now) -> None:
        """Take over a stored state, into an empty engine."""
        self.jobs = {job.id: job for job in jobs}
        alive = {job.spec.group_id for job in self.jobs.values()}
        self.groups = {group.id: group for group in groups if group.id in alive}
        self.next_job_id = JobId(max([next_job_id, *(job_id + 1 for job_id in self.jobs)]))
        for job_id in sorted(self.jobs):
            self._enter(self.jobs[job_id], now.wall)
            self.kept.change(None, self.jobs[job_id])
        self.finished = dict.fromkeys(sorted(self.finished, key=lambda job_id: self.jobs[job_id].finished_at or 0.0))

    def _put(self, out: Outcome, job: Job) -> None:
        old = self.jobs.get(job.id)
        if old is not None:
            self._leave(old)
        self.jobs[job.id] = job
        self._enter(job, None)
        self.kept.change(old, job)
        out.jobs[job.id] = job

    def _retire(self, out: Outcome, job: Job) -> None:
        self._leave(job)
        self._leave_names(job)
        self.kept.change(job, None)
        del self.jobs[job.id]
        out.retired.append(job.id)

    def _leave(self, job: Job) -> None:
        self.counts[job.state] -= 1
        self.quotas.usage.count(job, -1)
        self._count_in_group(job, -1)
        self.finished.pop(job.id, None)
        self.ready.discard(job.id)
        self._early.discard(job.id)
        for dependency in job.spec.depends_on:
            waiting = self._dependents.get(dependency, set())
            waiting.discard(job.id)
            if not waiting:
                self._dependents.pop(dependency, None)
        self._awaited.pop(job.id, None)
        if job.state is State.RUNNING:
            del self.running[job.id]
            self._over.discard(job.id)
            self.resources.free(job)
            self.fair_share.free(job)
            if job.spec.group_id is not None:
                self.group_running[job.spec.group_id] -= 1

    def _enter(self, job: Job, wall: float | None) -> None:
        self.counts[job.state] += 1
        self.quotas.usage.count(job, 1)
        self._count_in_group(job, 1)
        self._enter_names(job)
        if job.spec.depends_on and job.state in (State.QUEUED, State.HOLD):
            for dependency in job.spec.depends_on:
                self._dependents.setdefault(dependency, set()).add(job.id)
            self._awaited[job.id] = {d for d in job.spec.depends_on if self.jobs[d].state not in FINAL}
        if job.state is State.QUEUED:
            self._queue(job, wall)
        elif job.state is State.RUNNING:
            self._enter_running(job)
        elif job.state in FINAL:
            self.finished[job.id] = None
            for dependent in self._dependents.get(job.id, ()):
                self._awaited[dependent].discard(job.id)

    def _count_in_group(self, job: Job, change: int) -> None:
        if job.spec.group_id is not None and job.retried_as is None:
            self._group_states.setdefault(job.spec.group_id, Counter())[job.state] += change

    def _enter_names(self, job: Job) -> None:
        if job.spec.retried_from is None:
            ids = self._by_owner.setdefault(job.spec.owner, [])
            if not _has(ids, job.id):
                insort(ids, job.id)
        if job.spec.submit_key is not None:
            self._keys[job.spec.owner, job.spec.submit_key] = job.id
        if job.spec.group_id is not None:
            self.groups.setdefault(job.spec.group_id, Group(job.spec.group_id))
            self._members.setdefault(job.spec.group_id, set()).add(job.id)
        if (cell := cell_of(job.spec)) is not None:
            self._cells.setdefault(cell, set()).add(job.id)

    def _leave_names(self, job: Job) -> None:
        if job.spec.retried_from is None:
            ids = self._by_owner[job.spec.owner]
            del ids[bisect_left(ids, job.id)]
            if not ids:
                del self._by_owner[job.spec.owner]
        if job.spec.submit_key is not None:
            self._keys.pop((job.spec.owner, job.spec.submit_key), None)
        if job.spec.group_id is not None:
            self._leave_group(job.id, job.spec.group_id)
        if (cell := cell_of(job.spec)) is not None:
            self._cells[cell].discard(job.id)
            if not self._cells[cell]:
                del self._cells[cell]

    def _leave_group(self, job_id: JobId, group_id: str) -> None:
        members = self._members[group_id]
        members.discard(job_id)
        if not members:
            del self._members[group_id], self.groups[group_id]
            self.group_running.pop(group_id, None)
            self._group_states.pop(group_id, None)

    def _enter_running(self, job: Job) -> None:
        self.running[job.id] = None
        self.resources.take(job)
        self.fair_share.take(job)
        if job.spec.group_id is not None:
            self.group_running[job.spec.group_id] += 1
        due = stops.due_boot(job)
        if due is not None:
            heapq.heappush(self._deadlines, (due, job.id))

    def _queue(self, job: Job, wall: float | None) -> None:
        """Put a queued job where it waits: for its begin time, for its dependencies, or for room."""
        begin_at = job.spec.begin_at
        if begin_at is not None and (wall is None or begin_at > wall):
            self._early.add(job.id)
            heapq.heappush(self._begins, (begin_at, job.id))
        elif judge(job.spec, self.jobs)[0] is Verdict.SATISFIED:
            self.ready.add(self.shape(job), queue_key(job))

    def _waits_elsewhere(self, job: Job) -> bool:
        return job.id in self.ready or job.id in self._early

    def _note_group(self, out: Outcome, group: Group) -> None:
        """Keep what has changed of a group, if that is nothing its jobs are started by."""
        self.groups[group.id] = group
        out.groups[group.id] = group

    def _put_group(self, out: Outcome, group: Group) -> None:
        self._note_group(out, group)
        for job_id in self._members.get(group.id, ()):
            if job_id in self.ready:
                self.ready.discard(job_id)
                self.ready.add(self.shape(self.jobs[job_id]), queue_key(self.jobs[job_id]))


def _has(ids: Sequence[JobId], job_id: JobId) -> bool:
    """Whether a sorted list has this id."""
    place = bisect_left(ids, job_id)
    return place < len(ids) and ids[place] == job_id
