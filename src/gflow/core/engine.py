"""The engine: all jobs, every decision about them, nothing else.

Each public method is one synchronous step: it either raises a `Refused` and has changed nothing, or returns an
`Outcome` that says all it changed. `_put` is the only place that stores a job, and it keeps every index with it.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from gflow.core import stops
from gflow.core.dependencies import Verdict, closes_cycle, judge, latest_attempt
from gflow.core.effects import Launch, SendSignal
from gflow.core.errors import Forbidden, Impossible, NotFound, WrongState
from gflow.core.events import OUTCOMES, EventKind
from gflow.core.lifecycle import ACTIVE, FINAL, move
from gflow.core.limits import format_duration
from gflow.core.model import (
    Exit,
    Gpu,
    Group,
    Job,
    JobId,
    JobSpec,
    Now,
    Reason,
    ReasonKind,
    State,
    Stop,
    StopCause,
)
from gflow.core.names import generated_name
from gflow.core.order import queue_key
from gflow.core.outcome import Outcome
from gflow.core.placement import Resources, Shuffle, keep_order
from gflow.core.queue import ReadyQueue, Shape
from gflow.core.submission import (
    FIXED,
    RESOURCES,
    check,
    check_begin,
    check_dependencies,
    check_fits,
    check_group_limit,
    doomed,
)

_ENDINGS: dict[StopCause, State] = {
    StopCause.CANCEL: State.CANCELLED,
    StopCause.TIMEOUT: State.TIMEOUT,
    StopCause.FINISH: State.FINISHED,
    StopCause.FAIL: State.FAILED,
    StopCause.LOST: State.FAILED,
}
_REASONS = {kind: Reason(kind) for kind in ReasonKind}
_UNASKED = frozenset({StopCause.LEFTOVERS, StopCause.LOST})
"""Stops that follow from the job's own end: they rule out neither a retry nor a cancel."""


class Engine:
    """The state of the queue. `grace_secs` is the time from Ctrl-C to SIGTERM."""

    def __init__(self, *, grace_secs: float = stops.DEFAULT_GRACE_SECS, shuffle: Shuffle = keep_order) -> None:
        self.jobs: dict[JobId, Job] = {}
        self.groups: dict[str, Group] = {}
        self.next_job_id = JobId(1)
        self.counts: Counter[State] = Counter()
        self.resources = Resources(shuffle)
        self.grace_secs = grace_secs
        self.running: dict[JobId, None] = {}
        self.group_running: Counter[str] = Counter()
        self.ready = ReadyQueue()
        self._early: set[JobId] = set()
        self._begins: list[tuple[float, JobId]] = []
        self._deadlines: list[tuple[float, JobId]] = []
        self._dependents: dict[JobId, set[JobId]] = {}
        self._members: dict[str, set[JobId]] = {}
        self._keys: dict[tuple[str, str], JobId] = {}
        self._by_owner: dict[str, list[JobId]] = {}

    # -- looking ---------------------------------------------------------------------------------------------------

    def job(self, job_id: int) -> Job:
        """The job with this id. Raises NotFound."""
        try:
            return self.jobs[JobId(job_id)]
        except KeyError:
            raise NotFound(f"Job {job_id} does not exist") from None

    def reason(self, job: Job) -> Reason | None:
        """Why the job waits, or ended as it did."""
        if job.state is State.HOLD:
            return _REASONS[ReasonKind.HELD]
        if job.state is not State.QUEUED:
            return job.reason
        if job.id in self.ready:
            blocked = self.ready.blocked(job.id)
            return _REASONS[blocked] if blocked is not None else None
        return _REASONS[ReasonKind.BEGIN_TIME if job.id in self._early else ReasonKind.DEPENDENCY]

    def shape(self, job: Job) -> Shape:
        """What the job needs to start."""
        spec = job.spec
        group = self.groups.get(spec.group_id) if spec.group_id is not None else None
        capped = group.id if group is not None and group.max_concurrent is not None else None
        share = spec.gpu_memory_mb if spec.shared else None
        return Shape(spec.gpus, spec.shared, share, spec.memory_mb, capped)

    def room(self, shape: Shape) -> tuple[int, ...] | ReasonKind:
        """GPU indices for a job of this shape, or what there is too little of."""
        return ReasonKind.RESOURCES if self.group_full(shape) else self.resources.place(shape)

    def group_full(self, shape: Shape) -> bool:
        """Whether the group's limit keeps a job of this shape from starting."""
        if shape.group_id is None:
            return False
        cap = self.groups[shape.group_id].max_concurrent
        return cap is not None and self.group_running[shape.group_id] >= cap

    def dependents(self, job_id: JobId) -> Iterator[tuple[Job, JobId]]:
        """Active jobs that would be cancelled along with `job_id`, each with the dependency that dooms it."""
        fallen = {job_id}
        todo = [job_id]
        while todo:
            for dependent_id in sorted(self._dependents.get(todo.pop(0), ())):
                dependent = self.jobs[dependent_id]
                cause = self._doomed_with(dependent, fallen)
                if dependent_id not in fallen and cause is not None:
                    fallen.add(dependent_id)
                    todo.append(dependent_id)
                    yield dependent, cause

    def _doomed_with(self, job: Job, fallen: set[JobId]) -> JobId | None:
        awaited = {dependency: self.jobs[dependency] for dependency in job.spec.depends_on}
        gone = {d: replace(awaited[d], state=State.CANCELLED) for d in awaited if d in fallen}
        return doomed(job.spec, {**awaited, **gone})

    def recent(self, owner: str, back: int) -> Job:
        """The owner's latest job (`back` 0), the one before (1), … Raises NotFound."""
        ids = self._by_owner.get(owner, [])
        if not 0 <= back < len(ids):
            raise NotFound(f"Cannot resolve '@~{back}' for user '{owner}': {len(ids)} jobs submitted")
        return self.jobs[ids[-1 - back]]

    def submitted_under(self, owner: str, key: str) -> Job | None:
        """The job an earlier submission with the same key made."""
        job_id = self._keys.get((owner, key))
        return self.jobs[job_id] if job_id is not None else None

    def members(self, group_id: str) -> Iterable[JobId]:
        """Ids of the jobs in a group."""
        return self._members.get(group_id, ())

    def live_digests(self) -> tuple[set[str], set[str]]:
        """Environments and scripts that a job which has not ended still needs."""
        active = [job.spec for job in self.jobs.values() if job.state in ACTIVE]
        return {s.environment for s in active if s.environment}, {s.script_digest for s in active if s.script_digest}

    # -- what people ask for ---------------------------------------------------------------------------------------

    def submit(
        self,
        specs: Sequence[JobSpec],
        now: Now,
        *,
        groups: Mapping[str, int | None] | None = None,
        hold: frozenset[int] = frozenset(),
    ) -> tuple[list[Job], Outcome]:
        """Queue new jobs, all or none.

        `groups` sets the limits of groups; `hold` has the positions in `specs` of jobs to be born on hold. A spec
        whose owner and key are known already makes nothing new: the earlier job stands in its place.
        """
        resolved = [self._resolve(spec) for spec in specs]
        fresh = [spec for spec in resolved if self._known(spec) is None]
        for spec in fresh:
            check(spec)
            check_fits(spec, self.resources)
            check_begin(spec.begin_at, now.wall)
            check_dependencies(spec, self.jobs)
        for cap in (groups or {}).values():
            check_group_limit(cap)
        out = Outcome()
        for group_id, cap in (groups or {}).items() if fresh else ():
            self._put_group(out, Group(group_id, cap))
        made = [self._create(out, spec, now, held=position in hold) for position, spec in enumerate(resolved)]
        return made, out

    def _resolve(self, spec: JobSpec) -> JobSpec:
        if not spec.depends_on:
            return spec
        latest = dict.fromkeys(latest_attempt(dependency, self.jobs) for dependency in spec.depends_on)
        return replace(spec, depends_on=tuple(latest))

    def _known(self, spec: JobSpec) -> Job | None:
        return self.submitted_under(spec.owner, spec.submit_key) if spec.submit_key is not None else None

    def _create(self, out: Outcome, spec: JobSpec, now: Now, *, held: bool) -> Job:
        if (known := self._known(spec)) is not None:
            return known
        job_id = self.next_job_id
        self.next_job_id = JobId(job_id + 1)
        job = Job(
            id=job_id,
            spec=spec,
            run_name=spec.name or generated_name(job_id),
            state=State.HOLD if held else State.QUEUED,
            submitted_at=now.wall,
        )
        self._put(out, job)
        out.tell(EventKind.SUBMITTED, job, now.wall)
        if (cause := doomed(spec, self.jobs)) is not None:
            self._end(out, job, State.CANCELLED, now, reason=Reason(ReasonKind.DEPENDENCY_FAILED, cause))
        return self.jobs[job_id]

    def hold(self, job_id: int, now: Now) -> Outcome:
        """Keep a queued job from starting. Raises NotFound, WrongState."""
        out = Outcome()
        job = move(self.job(job_id), State.HOLD)
        self._put(out, job)
        out.tell(EventKind.HELD, job, now.wall)
        return out

    def release(self, job_id: int, now: Now, begin_at: float | None = None) -> Outcome:
        """Let a held job start, from `begin_at` on if given. Raises NotFound, WrongState, Impossible."""
        out = Outcome()
        job = move(self.job(job_id), State.QUEUED)
        if begin_at is not None:
            check_begin(begin_at, now.wall)
            job = job.with_spec(begin_at=begin_at)
        self._put(out, job)
        out.tell(EventKind.RELEASED, job, now.wall)
        return out

    def update(self, job_id: int, changes: Mapping[str, object], now: Now, *, may_raise_limit: bool) -> Outcome:
        """Replace fields of a job's specification.

        Waiting jobs take any; a running job takes a new time limit, and only `may_raise_limit` makes it longer or
        lifts it. Raises NotFound, WrongState, Forbidden, or what a submission would.
        """
        old = self.job(job_id)
        if settled := FIXED & changes.keys():
            raise Impossible(f"The {min(settled)} of job {job_id} was settled when it was submitted")
        job = old.with_spec(**changes)
        self._may_update(old, job, changes, may_raise_limit=may_raise_limit)
        job = replace(job, spec=self._checked(job, changes, now))
        if "name" in changes:
            job = replace(job, run_name=job.spec.name or generated_name(job.id))
        if job.signalled and _early_again(job, now.boot):
            job = replace(job, signalled=False)
        out = Outcome()
        self._put(out, job)
        out.tell(EventKind.UPDATED, job, now.wall)
        if job.state in (State.QUEUED, State.HOLD) and (cause := doomed(job.spec, self.jobs)) is not None:
            self._end(out, job, State.CANCELLED, now, reason=Reason(ReasonKind.DEPENDENCY_FAILED, cause))
        return out

    def _checked(self, job: Job, changes: Mapping[str, object], now: Now) -> JobSpec:
        """The changed specification, if it may stand. What was not changed is not held against the job again."""
        check(job.spec)
        if RESOURCES & changes.keys():
            check_fits(job.spec, self.resources)
        if "begin_at" in changes:
            check_begin(job.spec.begin_at, now.wall)
        if "depends_on" not in changes:
            return job.spec
        spec = self._resolve(job.spec)
        check_dependencies(spec, self.jobs)
        if closes_cycle(job.id, spec.depends_on, self.jobs):
            raise Impossible(f"Job {job.id} would come to wait for itself")
        return spec

    def _may_update(self, old: Job, new: Job, changes: Mapping[str, object], *, may_raise_limit: bool) -> None:
        if old.state in (State.QUEUED, State.HOLD):
            return
        if old.state is not State.RUNNING or set(changes) != {"time_limit_secs"}:
            what = "cannot be updated" if old.state in FINAL else "only its time limit can be changed"
            raise WrongState(f"Job {old.id} is {old.state.value}; {what}")
        if old.stop is not None:
            raise WrongState(f"Job {old.id} is being stopped; its time limit cannot be changed any more")
        before, after = old.spec.time_limit_secs, new.spec.time_limit_secs
        longer = before is not None and (after is None or after > before)
        if longer and not may_raise_limit:
            raise Forbidden(f"Only an administrator may raise the time limit of running job {old.id}")

    def set_group_limit(self, group_id: str, max_concurrent: int | None, now: Now) -> tuple[int, Outcome]:
        """Change how many jobs of a group may run at once; returns how many jobs it concerns.

        Raises NotFound, Malformed.
        """
        if not self._members.get(group_id):
            raise NotFound(f"Group '{group_id}' does not exist")
        check_group_limit(max_concurrent)
        out = Outcome()
        self._put_group(out, Group(group_id, max_concurrent))
        concerned = [self.jobs[job_id] for job_id in self._members[group_id] if self.jobs[job_id].state in ACTIVE]
        for job in concerned:
            out.tell(EventKind.UPDATED, job, now.wall)
        return len(concerned), out

    def stop(self, job_id: int, cause: StopCause, now: Now, by: str | None = None, text: str | None = None) -> Outcome:
        """Cancel a waiting job at once, or begin to stop a running one. Raises NotFound, WrongState.

        Asking again while a job is being stopped is not an error and changes nothing; only a cancel still decides how
        a job ends that nobody had asked to stop.
        """
        out = Outcome()
        job = self.job(job_id)
        if job.state is State.RUNNING:
            if job.stop is None:
                self._begin_stop(out, job, cause, now, by, text)
            elif cause is StopCause.CANCEL and job.stop.cause in _UNASKED:
                self._put(out, replace(job, stop=replace(job.stop, cause=cause, by=by, text=text)))
        elif cause is StopCause.CANCEL:
            detail = f"cancelled by {by}" if by else None
            self._end(out, job, State.CANCELLED, now, reason=Reason(ReasonKind.CANCELLED), detail=detail)
        else:
            raise WrongState(f"Job {job_id} is {job.state.value}, not Running")
        return out

    def _begin_stop(
        self, out: Outcome, job: Job, cause: StopCause, now: Now, by: str | None = None, text: str | None = None
    ) -> None:
        stop = stops.begin(cause, now.boot, self.grace_secs, by, text)
        job = replace(job, stop=stop)
        self._put(out, job)
        out.effects.append(stops.action(job, stop))

    # -- what happens ----------------------------------------------------------------------------------------------

    def schedule(self, now: Now, new_run_id: Iterator[str]) -> Outcome:
        """Start whatever can start now."""
        out = Outcome()
        while self._begins and self._begins[0][0] <= now.wall:
            job = self.jobs[heapq.heappop(self._begins)[1]]
            if job.id in self._early:
                self._early.discard(job.id)
                self._queue(job, now.wall)
        for shape, job_id in self.ready.candidates():
            room = self.room(shape)
            if isinstance(room, ReasonKind):
                self.ready.block(shape, room)
            else:
                self._start(out, self.jobs[job_id], room, now, next(new_run_id))
        return out

    def _start(self, out: Outcome, job: Job, gpu_ids: tuple[int, ...], now: Now, run_id: str) -> None:
        job = move(job, State.RUNNING, gpu_ids=gpu_ids, run_id=run_id, started_at=now.wall, started_boot=None)
        self._put(out, job)
        out.tell(EventKind.STARTED, job, now.wall)
        out.effects.append(Launch(job))

    def launched(self, job_id: JobId, started_at: float, started_boot: float) -> Outcome:
        """The first instruction of a running job ran at this moment; its time limit counts from here."""
        out = Outcome()
        job = self.jobs[job_id]
        if job.state is State.RUNNING:
            self._put(out, replace(job, started_at=started_at, started_boot=started_boot))
        return out

    def relaunch(self, job_id: JobId, run_id: str) -> Outcome:
        """The launch that was ordered never happened: order it again, under a new run id. Raises WrongState."""
        out = Outcome()
        job = replace(self._running(job_id), run_id=run_id)
        self._put(out, job)
        out.effects.append(Launch(job))
        return out

    def launch_failed(self, job_id: JobId, why: str, now: Now) -> Outcome:
        """A running job could not be started at all. Raises WrongState."""
        return self.ended(job_id, Exit(None, now.wall, why), now)

    def left_over(self, job_id: JobId, now: Now) -> Outcome:
        """The job's main process is gone, others of it are not: stop them; the job runs until they are gone.

        Raises WrongState.
        """
        out = Outcome()
        job = self._running(job_id)
        if job.stop is None:
            self._begin_stop(out, job, StopCause.LEFTOVERS, now)
        return out

    def ended(self, job_id: JobId, how: Exit, now: Now) -> Outcome:
        """The last process of a running job is gone. Raises WrongState."""
        out = Outcome()
        job = self._running(job_id)
        state = self._final_state(job, how)
        finished_at = max(how.at, job.started_at or how.at)
        retry = state is State.FAILED and self._retries(job)
        if retry:
            job = self._retry(out, job, now)
        self._end(
            out,
            job,
            state,
            now,
            finished_at=finished_at,
            exit_code=how.code,
            reason=self._final_reason(state, how),
            detail=self._detail(job, state, how),
        )
        return out

    def _running(self, job_id: JobId) -> Job:
        job = self.jobs[job_id]
        if job.state is not State.RUNNING:
            raise WrongState(f"Job {job_id} is {job.state.value}, not Running")
        return job

    @staticmethod
    def _final_state(job: Job, how: Exit) -> State:
        if job.stop is not None and job.stop.cause in _ENDINGS:
            return _ENDINGS[job.stop.cause]
        return State.FINISHED if how.code == 0 else State.FAILED

    @staticmethod
    def _final_reason(state: State, how: Exit) -> Reason | None:
        if state is State.CANCELLED:
            return Reason(ReasonKind.CANCELLED)
        if state is State.FAILED and how.text is not None:
            return Reason(ReasonKind.SYSTEM, text=how.text)
        return None

    @staticmethod
    def _detail(job: Job, state: State, how: Exit) -> str | None:
        stop = job.stop
        if stop is not None and stop.text is not None:
            return stop.text
        if state is State.CANCELLED:
            return f"cancelled by {stop.by}" if stop and stop.by else "cancelled"
        if state is State.TIMEOUT:
            return f"time limit of {format_duration(job.spec.time_limit_secs or 0)} reached"
        if stop is not None and stop.cause in (StopCause.FINISH, StopCause.FAIL) and stop.by:
            return f"ended as {state.value} by {stop.by}"
        return how.text

    @staticmethod
    def _retries(job: Job) -> bool:
        stopped = job.stop is not None and job.stop.cause not in _UNASKED
        return not stopped and job.spec.restart_count < job.spec.max_retries

    def _retry(self, out: Outcome, failed: Job, now: Now) -> Job:
        """Make the next attempt and let everything that waits for the failed one wait for it instead."""
        spec = replace(
            failed.spec,
            retried_from=failed.id,
            redone_from=failed.spec.redone_from,
            restart_count=failed.spec.restart_count + 1,
            depends_on=(),
            dependency_mode=None,
            begin_at=None,
            submit_key=None,
        )
        attempt = self._create(out, replace(spec, name=failed.run_name), now, held=False)
        for dependent_id in sorted(self._dependents.get(failed.id, ())):
            dependent = self.jobs[dependent_id]
            moved = (attempt.id if d == failed.id else d for d in dependent.spec.depends_on)
            self._put(out, dependent.with_spec(depends_on=tuple(moved)))
        return replace(failed, retried_as=attempt.id)

    def enforce(self, now: Now) -> Outcome:
        """Do what is due about running jobs: rungs of stops, early signals, time limits."""
        out = Outcome()
        while self._deadlines and self._deadlines[0][0] <= now.boot:
            job = self.jobs[heapq.heappop(self._deadlines)[1]]
            due = stops.due_boot(job) if job.state is State.RUNNING else None
            if due is not None and due <= now.boot:
                self._enforce_one(out, job, now)
        return out

    def _enforce_one(self, out: Outcome, job: Job, now: Now) -> None:
        early, limit, started = job.spec.early_signal, job.spec.time_limit_secs, job.started_boot
        if job.stop is not None:
            job = replace(job, stop=stops.climb(job.stop, now.boot))
            self._put(out, job)
            out.effects.append(stops.action(job, _present(job.stop)))
        elif limit is not None and started is not None and started + limit <= now.boot:
            self._begin_stop(out, job, StopCause.TIMEOUT, now)
        elif early is not None:
            self._put(out, replace(job, signalled=True))
            out.effects.append(SendSignal(job, early.signal))

    def next_deadline_boot(self) -> float | None:
        """When `enforce` will next have something to do, in CLOCK_BOOTTIME."""
        while self._deadlines:
            due, job_id = self._deadlines[0]
            job = self.jobs[job_id]
            if job.state is State.RUNNING and stops.due_boot(job) == due:
                return due
            heapq.heappop(self._deadlines)
        return None

    def next_begin_at(self) -> float | None:
        """When `schedule` will next find a job whose begin time has come, in seconds since the epoch."""
        while self._begins:
            begin_at, job_id = self._begins[0]
            job = self.jobs[job_id]
            if job_id in self._early and job.spec.begin_at == begin_at:
                return begin_at
            heapq.heappop(self._begins)
        return None

    def set_machine(self, gpus: Sequence[Gpu], memory_total_mb: int | None) -> None:
        """What this machine has now. Running jobs keep what they were given."""
        self.resources.set_gpus(gpus)
        self.resources.memory_total_mb = memory_total_mb

    def restore(self, jobs: Iterable[Job], groups: Iterable[Group], next_job_id: int, now: Now) -> None:
        """Take over a stored state, into an empty engine."""
        for group in groups:
            self.groups[group.id] = group
        self.jobs = {job.id: job for job in jobs}
        self.next_job_id = JobId(max([next_job_id, *(job_id + 1 for job_id in self.jobs)]))
        for job_id in sorted(self.jobs):
            self._enter(self.jobs[job_id], now.wall)

    def machine_restarted(self, now: Now) -> Outcome:
        """The stored CLOCK_BOOTTIME values are of an earlier boot: nothing is to be concluded from them any more."""
        out = Outcome()
        for job_id in tuple(self.running):
            job = self.jobs[job_id]
            stop = replace(job.stop, next_at_boot=now.boot + self.grace_secs) if job.stop is not None else None
            self._put(out, replace(job, started_boot=None, stop=stop))
        return out

    # -- the one place that stores a job, and its indexes ----------------------------------------------------------

    def _put(self, out: Outcome, job: Job) -> None:
        old = self.jobs.get(job.id)
        if old is not None:
            self._leave(old)
        self.jobs[job.id] = job
        self._enter(job, None)
        out.jobs[job.id] = job

    def _leave(self, job: Job) -> None:
        self.counts[job.state] -= 1
        self.ready.discard(job.id)
        self._early.discard(job.id)
        for dependency in job.spec.depends_on:
            waiting = self._dependents.get(dependency, set())
            waiting.discard(job.id)
            if not waiting:
                self._dependents.pop(dependency, None)
        if job.state is State.RUNNING:
            del self.running[job.id]
            self.resources.free(job)
            if job.spec.group_id is not None:
                self.group_running[job.spec.group_id] -= 1

    def _enter(self, job: Job, wall: float | None) -> None:
        self.counts[job.state] += 1
        self._enter_names(job)
        if job.state in (State.QUEUED, State.HOLD):
            for dependency in job.spec.depends_on:
                self._dependents.setdefault(dependency, set()).add(job.id)
        if job.state is State.QUEUED:
            self._queue(job, wall)
        elif job.state is State.RUNNING:
            self._enter_running(job)

    def _enter_names(self, job: Job) -> None:
        ids = self._by_owner.setdefault(job.spec.owner, [])
        if job.spec.retried_from is None and (not ids or ids[-1] < job.id):
            ids.append(job.id)
        if job.spec.submit_key is not None:
            self._keys[job.spec.owner, job.spec.submit_key] = job.id
        if job.spec.group_id is not None:
            self.groups.setdefault(job.spec.group_id, Group(job.spec.group_id))
            self._members.setdefault(job.spec.group_id, set()).add(job.id)

    def _enter_running(self, job: Job) -> None:
        self.running[job.id] = None
        self.resources.take(job)
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

    def _put_group(self, out: Outcome, group: Group) -> None:
        self.groups[group.id] = group
        out.groups[group.id] = group
        for job_id in self._members.get(group.id, ()):
            if job_id in self.ready:
                self.ready.discard(job_id)
                self.ready.add(self.shape(self.jobs[job_id]), queue_key(self.jobs[job_id]))

    # -- ends, and what follows from them --------------------------------------------------------------------------

    def _end(self, out: Outcome, job: Job, state: State, now: Now, **changes: object) -> None:
        """Bring a job to a final state, and with it every job that can no longer start because of it."""
        final = move(job, state, **{"finished_at": now.wall, "stop": None, **changes})
        self._put(out, final)
        out.tell(OUTCOMES[state], final, now.wall)
        fallen = self._settle(final, now)
        while fallen:
            dependent_id, cause = fallen.pop(0)
            dependent = self.jobs[dependent_id]
            if dependent.state in FINAL:
                continue  # two of its dependencies fell in one cascade
            reason = Reason(ReasonKind.DEPENDENCY_FAILED, cause)
            dependent = move(dependent, State.CANCELLED, finished_at=now.wall, reason=reason)
            self._put(out, dependent)
            out.tell(EventKind.CANCELLED, dependent, now.wall)
            fallen.extend(self._settle(dependent, now))

    def _settle(self, final: Job, now: Now) -> list[tuple[JobId, JobId | None]]:
        """Queue the dependents that can start now; return those that never can, with the cause."""
        fallen = []
        for dependent_id in sorted(self._dependents.get(final.id, ())):
            dependent = self.jobs[dependent_id]
            verdict, cause = judge(dependent.spec, self.jobs)
            if (
                verdict is Verdict.SATISFIED
                and dependent.state is State.QUEUED
                and not self._waits_elsewhere(dependent)
            ):
                self._queue(dependent, now.wall)
            elif verdict is Verdict.IMPOSSIBLE and dependent.spec.auto_cancel:
                fallen.append((dependent_id, cause))
        return fallen

    def _waits_elsewhere(self, job: Job) -> bool:
        return job.id in self.ready or job.id in self._early


def _early_again(job: Job, now_boot: float) -> bool:
    """Whether a new time limit puts the early signal, once sent, into the future again."""
    due = stops.due_boot(replace(job, signalled=False))
    return job.stop is None and due is not None and due > now_boot


def _present(stop: Stop | None) -> Stop:
    assert stop is not None
    return stop
