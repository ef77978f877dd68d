"""The engine: all jobs, every decision about them, nothing else.

Each public method is one synchronous step: it either raises a `Refused` and has changed nothing, or returns an
`Outcome` that says all it changed. The jobs themselves, and every index over them, are in the table it
stands on.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from gflow.core import oom, stops
from gflow.core.dependencies import Verdict, closes_cycle, judge, latest_attempt, satisfies
from gflow.core.effects import Launch, SendSignal
from gflow.core.endings import UNASKED, cancelled, detail, ended_in_time, final_reason, final_state, retries
from gflow.core.errors import Conflict, Forbidden, Impossible, NotFound, WrongState
from gflow.core.events import OUTCOMES, EventKind
from gflow.core.fairshare import UsageNow
from gflow.core.groups import Cell
from gflow.core.lifecycle import ACTIVE, FINAL, move, refusal
from gflow.core.model import (
    DependencyMode,
    Exit,
    Job,
    JobId,
    JobSpec,
    Now,
    Reason,
    ReasonKind,
    State,
    StopCause,
    StopStep,
)
from gflow.core.names import generated_name
from gflow.core.outcome import Outcome
from gflow.core.placement import Shuffle, keep_order
from gflow.core.planner import Planned, Planner
from gflow.core.policy import Policy
from gflow.core.redo import besides, check_hope, waiting_for
from gflow.core.submission import (
    FIXED,
    RESOURCES,
    check,
    check_begin,
    check_dependencies,
    check_fits,
    check_group_limit,
    check_hold_after,
    doomed,
)
from gflow.core.sweeps import Sweeps, latest_by_cell

_T = TypeVar("_T")

_PLAIN = Policy()


def _not_over(_job: Job) -> bool:
    return False


class Engine(Sweeps):
    """The state of the queue. `grace_secs` is the time from Ctrl-C to SIGTERM."""

    def __init__(
        self,
        *,
        grace_secs: float = stops.DEFAULT_GRACE_SECS,
        shuffle: Shuffle = keep_order,
        policy: Policy = _PLAIN,
    ) -> None:
        super().__init__(shuffle, policy, grace_secs)

    # -- what people ask for ---------------------------------------------------------------------------------------

    def submit(
        self,
        specs: Sequence[JobSpec],
        now: Now,
        *,
        groups: Mapping[str, int | None] | None = None,
        hold_after: Mapping[str, int] | None = None,
        hold: frozenset[int] = frozenset(),
        recalled: Sequence[Job] = (),
        cells: Sequence[Job] = (),
    ) -> tuple[list[Job], Outcome]:
        """Queue new jobs, all or none.

        `groups` sets the limits of groups, `hold_after` the failures after which they are put on hold; `hold` has the
        positions in `specs` of jobs to be born on hold. Where an earlier job of the same owner and key, or of the same
        cell, stands in the place of a spec, nothing new is made. `recalled` are ended jobs that had left and are
        depended on, each with the attempts that took its place; `cells` are those that had left of the same cells.
        """
        past = latest_by_cell(cells)
        for failures in (hold_after or {}).values():
            check_hold_after(failures)
        resolved, fresh = self._admitted(specs, now, recalled, past, groups or {})
        out = Outcome()
        if fresh:
            self._recall(out, recalled)
            self._set_groups(out, fresh, groups or {}, hold_after or {})
            self._lift_for(out, fresh, past, now)
        made = [
            self.standing(spec, past) or self._create(out, spec, now, held=position in hold)
            for position, spec in enumerate(resolved)
        ]
        self._tell_completed_groups(out, now)
        return made, out

    def would_stand(
        self, specs: Sequence[JobSpec], now: Now, *, recalled: Sequence[Job] = (), cells: Sequence[Job] = ()
    ) -> list[Job | None]:
        """The jobs that would stand in the place of these, None for new ones. Raises what `submit` would."""
        past = latest_by_cell(cells)
        resolved, _ = self._admitted(specs, now, recalled, past, {})
        return [self.standing(spec, past) for spec in resolved]

    def _admitted(
        self,
        specs: Sequence[JobSpec],
        now: Now,
        recalled: Sequence[Job],
        past: Mapping[Cell, Job],
        groups: Mapping[str, int | None],
    ) -> tuple[list[JobSpec], list[JobSpec]]:
        """The specifications as they are to be queued, and those that are new. Raises a Refused."""
        known = self._with(recalled)
        resolved = [_resolved(spec, known) for spec in specs]
        fresh = [spec for spec in resolved if self.standing(spec, past) is None]
        for spec in fresh:
            self._check_new(spec, now)
            check_dependencies(spec, known)
        self.quotas.check_queue(fresh)
        for cap in groups.values():
            check_group_limit(cap)
        return resolved, fresh

    def _check_new(self, spec: JobSpec, now: Now) -> None:
        check(spec)
        check_fits(spec, self.resources)
        check_begin(spec.begin_at, now.wall)
        self.policy.check_project(spec)
        self.quotas.check_ever(spec)

    def redo(
        self,
        wanted: Sequence[tuple[JobId, JobSpec]],
        now: Now,
        *,
        attempts: Iterable[JobId] = (),
        held: bool = False,
        recalled: Sequence[Job] = (),
    ) -> tuple[list[Job], Outcome]:
        """Make new jobs of ended ones, all or none: `wanted` has each with what the new one is to do.

        The first is the one that is meant; the others go along, each behind those it depends on, and wait for the new
        jobs in the place of the old ones. `attempts`: what was tried in the place of the first one since. The ended
        jobs are at hand, or among `recalled`, as in `submit`. Raises what a submission would.
        """
        known, first = self._with(recalled), self.next_job_id
        new_ids: dict[JobId, JobId] = {}
        specs = list[JobSpec]()
        for place, (old, spec) in enumerate(wanted):
            specs.append(waiting_for(spec, new_ids, known))
            new_ids |= dict.fromkeys(() if place else attempts, first)
            new_ids[old] = JobId(first + place)
        for spec in specs:
            self._check_new(spec, now)
            check_dependencies(besides(spec, new_ids), known)
        check_hope(wanted[0][0], besides(specs[0], new_ids), known)
        self.quotas.check_queue(specs)
        out = Outcome()
        self._recall(out, recalled)
        for (old, _), spec in zip(wanted, specs, strict=True):
            made = self._create(out, spec, now, held=held and old == wanted[0][0])
            self._put(out, replace(self.jobs[old], redone_as=made.id))
        self._tell_completed_groups(out, now)
        return [self.jobs[new_ids[old]] for old, _ in wanted], out

    def _recall(self, out: Outcome, recalled: Iterable[Job]) -> None:
        for job in recalled:
            if job.id not in self.jobs:
                self._put(out, job)

    def _create(self, out: Outcome, spec: JobSpec, now: Now, *, held: bool) -> Job:
        job_id, why_held = self.next_job_id, self._held_with_group(spec)
        self.next_job_id = JobId(job_id + 1)
        job = Job(
            id=job_id,
            spec=spec,
            run_name=spec.name or generated_name(job_id),
            state=State.HOLD if held or why_held is not None else State.QUEUED,
            submitted_at=now.wall,
            detail=why_held,
        )
        self._put(out, job)
        out.tell(EventKind.SUBMITTED, job, now.wall)
        if (cause := doomed(spec, self.jobs)) is not None:
            self._end(out, job, State.CANCELLED, now, **_doomed_by(cause))
        return self.jobs[job_id]

    def hold(self, job_id: int, now: Now) -> Outcome:
        """Keep a queued job from starting. Raises NotFound, WrongState."""
        out = Outcome()
        job = move(self.job(job_id), State.HOLD, planned_for=None, bypassed_at=None)
        self._put(out, job)
        out.tell(EventKind.HELD, job, now.wall)
        return out

    def release(self, job_id: int, now: Now, begin_at: float | None = None) -> Outcome:
        """Let a held job start, from `begin_at` on if given. Raises NotFound, WrongState, Impossible."""
        out = Outcome()
        job = move(self.job(job_id), State.QUEUED, detail=None)  # which may say why it was held
        if begin_at is not None:
            check_begin(begin_at, now.wall)
            job = job.with_spec(begin_at=begin_at)
        self._put(out, job)
        self._released(out, job)
        out.tell(EventKind.RELEASED, job, now.wall)
        return out

    def update(
        self,
        job_id: int,
        changes: Mapping[str, object],
        now: Now,
        *,
        may_raise_limit: bool,
        recalled: Sequence[Job] = (),
    ) -> Outcome:
        """Replace fields of a job's specification.

        Waiting jobs take any; a running job takes new limits of time, and of memory if it has one, and only
        `may_raise_limit` makes them larger or lifts them. `recalled` as in `submit`. Raises NotFound, WrongState,
        Forbidden, Conflict, or what a submission would.
        """
        old = self.job(job_id)
        if settled := FIXED & changes.keys():
            raise Impossible(f"The {min(settled)} of job {job_id} was settled when it was submitted")
        job = old.with_spec(**changes)
        self._may_update(old, job, changes, now, may_raise_limit=may_raise_limit)
        job = replace(job, spec=self._checked(job, changes, now, self._with(recalled)))
        if changes.keys() & (RESOURCES | {"priority", "time_limit_secs"}):  # another request has another place
            job = replace(job, planned_for=None, bypassed_at=None)
        if "name" in changes:
            job = replace(job, run_name=job.spec.name or generated_name(job.id))
        if job.signalled and _early_again(job, now.boot):
            job = replace(job, signalled=False)
        out = Outcome()
        if job == old:  # as it is already
            return out
        self._recall(out, recalled)
        self._put(out, job)
        out.tell(EventKind.UPDATED, job, now.wall)
        if job.state in (State.QUEUED, State.HOLD) and (cause := doomed(job.spec, self.jobs)) is not None:
            self._end(out, job, State.CANCELLED, now, **_doomed_by(cause))
            self._tell_completed_groups(out, now)
        return out

    def _checked(self, job: Job, changes: Mapping[str, object], now: Now, known: Mapping[JobId, Job]) -> JobSpec:
        """The changed specification, if it may stand. What was not changed is not held against the job again."""
        check(job.spec)
        if RESOURCES & changes.keys():
            check_fits(job.spec, self.resources)
            self.quotas.check_ever(job.spec)
        if "project" in changes:
            self.policy.check_project(job.spec)
        if "begin_at" in changes:
            check_begin(job.spec.begin_at, now.wall)
        if "depends_on" not in changes:
            return job.spec
        spec = _resolved(job.spec, known)
        check_dependencies(spec, known)
        if closes_cycle(job.id, spec.depends_on, known):
            raise Impossible(f"Job {job.id} would come to wait for itself")
        return spec

    def _may_update(
        self, old: Job, new: Job, changes: Mapping[str, object], now: Now, *, may_raise_limit: bool
    ) -> None:
        if old.state in (State.QUEUED, State.HOLD):
            return
        if old.state is not State.RUNNING or not changes.keys() <= {"time_limit_secs", "memory_mb"}:
            what = "cannot be updated" if old.state in FINAL else "only its limits of time and memory can be changed"
            raise WrongState(f"Job {old.id} is {old.state.value}; {what}")
        if old.stop is not None:
            raise WrongState(f"Job {old.id} is being stopped; its limits cannot be changed any more")
        self._may_have_memory(old, new, may_raise_limit=may_raise_limit)
        before, after = old.spec.time_limit_secs, new.spec.time_limit_secs
        longer = before is not None and (after is None or after > before)
        if longer and not may_raise_limit:
            raise Forbidden(f"Only an administrator may raise the time limit of running job {old.id}")
        if longer:
            self._check_reserved(old, after, now)

    def _may_have_memory(self, old: Job, new: Job, *, may_raise_limit: bool) -> None:
        before, after, total = old.spec.memory_mb, new.spec.memory_mb, self.resources.memory_total_mb
        if before == after:
            return
        if before is None:
            raise WrongState(f"Job {old.id} is Running without a memory limit, and can be given none any more")
        if (after is None or after > before) and not may_raise_limit:
            raise Forbidden(f"Only an administrator may raise the memory limit of running job {old.id}")
        used = self.resources.memory_used_mb - before + (after or 0)
        if total is not None and used > max(total, self.resources.memory_used_mb):
            raise Conflict(f"Job {old.id} cannot have so much memory: the rest is promised to other running jobs")

    def _check_reserved(self, job: Job, limit_secs: float | None, now: Now) -> None:
        """Raise Conflict if a running job with this limit would stay on what is reserved for others."""
        taken_from = Planner(self, now).may_last(job, limit_secs)
        if taken_from is None:
            return
        whose = ", ".join(f"{r.id} of {r.user}" for r in self.book.ahead(taken_from) if r.holds(taken_from))
        raise Conflict(f"Job {job.id} cannot run that long: its GPUs are reserved from then on (reservation {whose})")

    def set_group_limit(self, group_id: str, max_concurrent: int | None, now: Now) -> tuple[int, Outcome]:
        """Change how many jobs of a group may run at once; returns how many jobs it concerns.

        Raises NotFound, Malformed.
        """
        if not self._members.get(group_id):
            raise NotFound(f"Group '{group_id}' does not exist")
        check_group_limit(max_concurrent)
        out = Outcome()
        self._set_limit(out, group_id, max_concurrent)
        concerned = [self.jobs[job_id] for job_id in self._members[group_id] if self.jobs[job_id].state in ACTIVE]
        for job in concerned:
            out.tell(EventKind.UPDATED, job, now.wall)
        return len(concerned), out

    def stop(self, job_id: int, cause: StopCause, now: Now, by: str | None = None, text: str | None = None) -> Outcome:
        """Cancel a waiting job at once, or begin to stop a running one. Raises NotFound, WrongState.

        `by`: who asked; `text`: why, in their words. Asking again while a job is being stopped is not an error and
        changes nothing; only a cancel still decides how a job ends that nobody had asked to stop.
        """
        out = Outcome()
        job = self.job(job_id)
        if job.state is State.RUNNING:
            if job.stop is None:
                self._begin_stop(out, job, cause, now, by, text)
            elif cause is StopCause.CANCEL and job.stop.cause in UNASKED:
                self._put(out, replace(job, stop=replace(job.stop, cause=cause, by=by, text=text)))
        elif cause is StopCause.CANCEL:
            if job.state in FINAL:
                raise refusal(job, State.CANCELLED, self.goes_on_as(job))
            said = cancelled(by, text) if by or text else None
            self._end(out, job, State.CANCELLED, now, reason=Reason(ReasonKind.CANCELLED), detail=said)
            self._tell_completed_groups(out, now)
        else:
            raise WrongState(f"Job {job_id} is {job.state.value}, not Running")
        return out

    def out_of_memory(self, job_id: int, text: str, now: Now) -> Outcome:
        """A running job uses more memory than it may: end it at once, also if it is being stopped already.

        Then it ends as it was going to. `text` says it in a sentence. Raises NotFound, WrongState.
        """
        out = Outcome()
        job = self._running(JobId(job_id))
        if job.stop is None:
            self._begin_stop(out, job, StopCause.MEMORY, now, text=text)
        elif job.stop.step is not StopStep.KILL:
            now_killed = stops.begin(StopCause.MEMORY, now.boot, self.grace_secs)
            stop = replace(job.stop, step=now_killed.step, next_at_boot=now_killed.next_at_boot)
            job = replace(job, stop=stop)
            self._put(out, job)
            out.effects.append(stops.action(job, stop))
        return out

    def retire(self, jobs: Iterable[JobId]) -> Outcome:
        """Let ended jobs leave, those that are still here and that nobody has come to need meanwhile."""
        out = Outcome()
        for job_id in jobs:
            job = self.jobs.get(job_id)
            if job is not None and self._may_retire(job):
                self._retire(out, job)
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
        """Start whatever can start now; nothing while the machine is drained."""
        out = Outcome()
        while self._begins and self._begins[0][0] <= now.wall:
            self._begin_if_due(heapq.heappop(self._begins)[1], now)
        self.planned = []
        if self.drained is not None:
            self.ready.block_all(ReasonKind.RESOURCES)
            return out
        while self.ready and self._pass(out, now, new_run_id):
            pass  # who stands elsewhere in the queue now, or is planned no more, may leave room for others
        return out

    def _begin_if_due(self, job_id: JobId, now: Now) -> None:
        """Let a job that waits for its begin time wait for the next thing, if that time has come."""
        if job_id in self._early and (self.jobs[job_id].spec.begin_at or 0.0) <= now.wall:
            self._early.discard(job_id)
            self._queue(self.jobs[job_id], now.wall)

    def _pass(self, out: Outcome, now: Now, new_run_id: Iterator[str]) -> bool:
        """Whether another pass may find more: a job got its first plan, or what was started has made a plan void.

        Each job gets a first plan once, and is started once, so passes come to an end.
        """
        planner, usage = Planner(self, now), UsageNow(self.fair_share, now)
        passed = dict[JobId, None]()
        turns = self.ready.turns(usage.of, planner.hopeless)
        for shape, job_id in turns:
            room = planner.place(shape)
            if isinstance(room, ReasonKind):
                self.ready.block(shape, room)
                turns.protecting = turns.protecting and planner.protect(self.jobs[job_id], shape, room)
            else:
                job = self._start(out, self.jobs[job_id], room, now, next(new_run_id))
                planner.started(job)
                usage.started(job)
                if room:
                    turns.gpus_taken()
                passed.update(dict.fromkeys(planner.bypassed_by(job)))
        plans = [plan for plan in planner.planned if not planner.outdated(plan)]
        earlier = [plan for plan in self.planned if plan.id in self.ready and not planner.outdated(plan)]
        self.planned = plans or earlier  # where too few GPUs are left for anybody, nobody was planned anew
        known, noted = True, len(plans) < len(planner.planned)
        for plan in plans:
            known = known and (plan.start_at is not None or plan.party is not None)
            # behind one that waits for the machine without a start, no start is sure
            noted |= self._note_plan(out, plan, now, promised=known and plan.party is None, passed=plan.id in passed)
        return noted

    def _note_plan(self, out: Outcome, plan: Planned, now: Now, *, promised: bool, passed: bool) -> bool:
        """Remember that a job must not be put off any more, or since when it is being passed."""
        old = self.jobs[plan.id]
        job = replace(old, bypassed_at=now.wall) if passed and old.bypassed_at is None else old
        job = replace(job, planned_for=plan.start_at) if promised and job.planned_for is None else job
        if job is not old:
            why = _present(self.ready.blocked(job.id))
            self._put(out, job)
            self._begin_if_due(job.id, now)
            self.ready.block(self.shape(job), why)
        return job is not old

    def _start(self, out: Outcome, job: Job, gpu_ids: tuple[int, ...], now: Now, run_id: str) -> Job:
        job = move(job, State.RUNNING, gpu_ids=gpu_ids, run_id=run_id, started_at=now.wall, started_boot=None)
        self._put(out, job)
        out.tell(EventKind.STARTED, job, now.wall)
        out.effects.append(Launch(job))
        return job

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

    def ended(self, job_id: JobId, how: Exit, now: Now, *, unseen: bool = False) -> Outcome:
        """The last process of a running job is gone. Raises WrongState.

        `unseen`: its main process ended while no daemon was there, so that a limit was found to be over by mistake.
        """
        out = Outcome()
        job = self._running(job_id)
        if unseen and job.stop is not None and job.stop.cause is StopCause.TIMEOUT and ended_in_time(job, how, now):
            job = replace(job, stop=None)
        state = final_state(job, how)
        finished_at = max(how.at, job.started_at or how.at)
        job = self.measuring.end(job)
        more_mb = oom.raised_mb(job, how, self.resources) if state is State.FAILED else None
        said = detail(job, state, how)
        if more_mb is not None:
            job = self._retry(out, job, now, gpu_memory_mb=more_mb, oom_restarts=job.spec.oom_restarts + 1)
            said = oom.sentence(job, more_mb)
        elif state is State.FAILED and retries(job):
            job = self._retry(out, job, now)
        self._end(
            out,
            job,
            state,
            now,
            finished_at=finished_at,
            exit_code=how.code,
            reason=final_reason(job, state, how),
            detail=said,
        )
        self._watch_group(out, self.jobs[job_id], now)
        self._tell_completed_groups(out, now)
        return out

    def _running(self, job_id: JobId) -> Job:
        job = self.job(job_id)
        if job.state is not State.RUNNING:
            raise WrongState(f"Job {job_id} is {job.state.value}, not Running")
        return job

    def _retry(self, out: Outcome, failed: Job, now: Now, **changes: object) -> Job:
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
        spec = replace(spec, name=failed.run_name, **changes)  # type: ignore[arg-type]
        attempt = self._create(out, spec, now, held=False)
        for dependent_id in sorted(self._dependents.get(failed.id, ())):
            dependent = self.jobs[dependent_id]
            moved = (attempt.id if d == failed.id else d for d in dependent.spec.depends_on)
            self._put(out, dependent.with_spec(depends_on=tuple(moved)))
        return replace(failed, retried_as=attempt.id)

    def enforce(self, now: Now, is_over: Callable[[Job], bool] = _not_over) -> Outcome:
        """Do what is due about running jobs: rungs of stops, early signals, time limits.

        A limit strikes nothing of which `is_over` tells that it has ended by itself, and that its end is on its way.
        """
        out = Outcome()
        while self._deadlines and self._deadlines[0][0] <= now.boot:
            job = self.jobs.get(heapq.heappop(self._deadlines)[1])
            due = stops.due_boot(job) if job is not None and job.state is State.RUNNING else None
            if job is not None and due is not None and due <= now.boot:
                self._enforce_one(out, job, now, is_over)
        return out

    def _enforce_one(self, out: Outcome, job: Job, now: Now, is_over: Callable[[Job], bool]) -> None:
        early, limit, started = job.spec.early_signal, job.spec.time_limit_secs, job.started_boot
        if job.stop is not None:
            job = replace(job, stop=stops.climb(job.stop, now.boot))
            self._put(out, job)
            out.effects.append(stops.action(job, _present(job.stop)))
        elif limit is not None and started is not None and started + limit <= now.boot:
            if is_over(job):
                self._over.add(job.id)
            else:
                self._begin_stop(out, job, StopCause.TIMEOUT, now)
        elif early is not None:
            self._put(out, replace(job, signalled=True))
            out.effects.append(SendSignal(job, early.signal))

    def machine_restarted(self, now: Now) -> Outcome:
        """The stored CLOCK_BOOTTIME values are of an earlier boot: nothing is to be concluded from them any more."""
        out = Outcome()
        for job_id in tuple(self.running):
            job = self.jobs[job_id]
            stop = replace(job.stop, next_at_boot=now.boot + self.grace_secs) if job.stop is not None else None
            self._put(out, replace(job, started_boot=None, stop=stop))
        return out

    # -- ends, and what follows from them --------------------------------------------------------------------------

    def _end(self, out: Outcome, job: Job, state: State, now: Now, **changes: object) -> None:
        """Bring a job to a final state, and with it every job that can no longer start because of it."""
        final = move(job, state, **{"finished_at": now.wall, "stop": None, **changes})
        self._put(out, final)
        self._charge(out, final, now)
        out.tell(OUTCOMES[state], final, now.wall)
        doomed: set[JobId] = set()
        fallen = deque(self._settle(final, doomed, now))
        while fallen:
            dependent_id, cause = fallen.popleft()
            dependent = move(self.jobs[dependent_id], State.CANCELLED, finished_at=now.wall, **_doomed_by(cause))
            self._put(out, dependent)
            out.tell(EventKind.CANCELLED, dependent, now.wall)
            fallen.extend(self._settle(dependent, doomed, now))

    def _tell_completed_groups(self, out: Outcome, now: Now) -> None:
        """Tell of every group whose last job ended in this step. At its end: a step may end some and add others."""
        ended = [event.job for event in out.events if event.job is not None and event.job.state in FINAL]
        last = {job.spec.group_id: job for job in ended if job.spec.group_id is not None}
        for group_id, job in last.items():
            if not self.group_open(group_id):
                about = {
                    "group_id": group_id,
                    "user": job.spec.owner,
                    "first_job_id": min(self.members(group_id)),
                    "counts": {state.value: number for state, number in self.group_counts(group_id).items()},
                }
                out.tell(EventKind.GROUP_COMPLETED, job, now.wall, about)

    def _charge(self, out: Outcome, final: Job, now: Now) -> None:
        """Remember what an ended job has had of the machine, where that orders the queue."""
        if self.fair_share.ordering and final.started_at is not None:
            self.fair_share.charge(final, now)
            out.settings["fair_share_usage"] = self.fair_share.to_map()

    def _settle(self, final: Job, doomed: set[JobId], now: Now) -> Iterator[tuple[JobId, JobId | None]]:
        """Queue the dependents that can start now; return those that never can, with the cause, and add them to
        `doomed`, whose members are known already.

        Each is looked at in full once and not at every end of what it waits for: a thousand jobs may wait for the same
        thousand.
        """
        for dependent_id in sorted(self._dependents.get(final.id, ())):
            dependent = self.jobs[dependent_id]
            if dependent_id in doomed or not self._decides(final, dependent):
                continue
            verdict, cause = judge(dependent.spec, self.jobs)
            if verdict is Verdict.SATISFIED and self._may_queue(dependent):
                self._queue(dependent, now.wall)
            elif verdict is Verdict.IMPOSSIBLE and dependent.spec.auto_cancel:
                doomed.add(dependent_id)
                yield dependent_id, cause

    def _decides(self, final: Job, dependent: Job) -> bool:
        """Whether the end of `final` can let a waiting job start, or show that it never will."""
        spec = dependent.spec
        good = satisfies(spec, final.state)
        if good is not (spec.dependency_mode is DependencyMode.ANY) and self._awaited[dependent.id]:
            return False  # one of all is done, or one of any is lost: it goes on waiting
        return self._may_queue(dependent) if good else spec.auto_cancel

    def _may_queue(self, waiting: Job) -> bool:
        return waiting.state is State.QUEUED and not self._waits_elsewhere(waiting)


def _resolved(spec: JobSpec, known: Mapping[JobId, Job]) -> JobSpec:
    """`spec` waiting for the attempts that now stand for the jobs it names."""
    if not spec.depends_on:
        return spec
    latest = dict.fromkeys(latest_attempt(dependency, known) for dependency in spec.depends_on)
    return replace(spec, depends_on=tuple(latest))


def _doomed_by(cause: JobId | None) -> dict[str, object]:
    """What a job cancelled for a dependency's sake says of it."""
    return {
        "reason": Reason(ReasonKind.DEPENDENCY_FAILED, cause),
        "detail": f"dependency {cause} did not finish",
    }


def _early_again(job: Job, now_boot: float) -> bool:
    """Whether a new time limit puts the early signal, once sent, into the future again."""
    due = stops.due_boot(replace(job, signalled=False))
    return job.stop is None and due is not None and due > now_boot


def _present(value: _T | None) -> _T:
    assert value is not None
    return value
