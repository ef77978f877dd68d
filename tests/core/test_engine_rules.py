"""A machine that does anything at any time to an engine, and looks after every step whether all is still right.

What the bench checks at each step: every index, that no GPU and no memory is promised twice, that no group exceeds its
limit, one event for each transition, and that refusals change nothing. What is added here: effects ask for
nothing absurd, the words of `explain` agree with the scheduler, a restart from what was stored goes on in the same
place, and in the end no job is forgotten.
"""

import contextlib
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gflow.core.dependencies import Verdict, judge
from gflow.core.effects import Launch
from gflow.core.errors import Refused
from gflow.core.explain import Why, reasons
from gflow.core.forecast import expected_start
from gflow.core.lifecycle import FINAL
from gflow.core.model import DependencyMode, EarlySignal, Job, JobId, ReasonKind, State, StopCause
from gflow.core.redo import again, fallen_with, in_order
from gflow.core.sweeps import SETTLED
from support.effort import examples
from support.jobs import HOUR, Bench, gpus, spec

GPU_MEMORY_MB = 1000
GROUPS = ["g", "h"]

which = st.integers(0, 40)
caps = st.none() | st.integers(1, 3)
limits = st.sampled_from([None, None, 30.0, HOUR])
resources = st.sampled_from(
    [
        {},
        {"memory_mb": 300},
        {"cpus": 3},
        {"gpus": 1, "cpus": 2},
        {"gpus": 1},
        {"gpus": 2, "memory_mb": 600},
        {"gpus": 3},
        {"gpus": 1, "shared": True, "gpu_memory_mb": 400},
        {"gpus": 2, "shared": True, "gpu_memory_mb": 700},
    ]
)
dependencies = st.fixed_dictionaries(
    {
        "back": st.lists(st.integers(1, 6), max_size=3),
        "dependency_mode": st.sampled_from(DependencyMode),
        "auto_cancel": st.sampled_from([True, True, False]),
    }
)
extras = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.sampled_from([5, 10, 20]),
        "time_limit_secs": limits,
        "early_signal": st.just(EarlySignal(10, 20.0)),
        "max_retries": st.integers(1, 2),
        "group_id": st.sampled_from(GROUPS),
        "key": st.sampled_from(["x", "y"]),
        "after_end": st.just(True),
        "submit_key": st.sampled_from(["k", "l"]),
        "hold": st.just(True),
        "begin_in": st.sampled_from([-HOUR, 0.0, 5.0, HOUR]),
    },
)


def told(bench: Bench, job: Job) -> tuple[tuple[Why, ...], float | None]:
    """All that is said of when a job starts, and why not now."""
    return reasons(bench.engine, job, bench.now), expected_start(bench.engine, job, bench.now)


changes = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.sampled_from([5, 10, 20]),
        "time_limit_secs": limits,
        "memory_mb": st.sampled_from([None, 200, 5000]),
        "cpus": st.sampled_from([None, 1, 9]),
        "gpus": st.integers(0, 3),
        "auto_cancel": st.booleans(),
        "dependency_mode": st.sampled_from(DependencyMode),
        "begin_in": st.sampled_from([None, 5.0, HOUR]),
        "back": st.lists(st.integers(1, 6), max_size=2),
    },
)


class AnythingAtAnyTime(RuleBasedStateMachine):
    """Rules pick their job by a number, so that a failing run shrinks well."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(2, gpu_memory_mb=GPU_MEMORY_MB, memory_mb=1000, cpus=4)
        self.launched: set[str] = set()

    # -- picking

    def ids(self, *states: State) -> list[JobId]:
        return [job.id for job in self.bench.engine.jobs.values() if not states or job.state in states]

    def pick(self, number: int, *states: State) -> JobId:
        ids = self.ids(*states) or [JobId(9999)]
        return ids[number % len(ids)]

    def fields(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """What was drawn, with ids and moments in place of distances from now."""
        fields = dict(drawn)
        if "back" in fields:
            newest = self.bench.engine.next_job_id
            fields["depends_on"] = tuple(JobId(newest - back) for back in fields.pop("back"))
        if "begin_in" in fields:
            begin_in = fields.pop("begin_in")
            fields["begin_at"] = None if begin_in is None else self.bench.now.wall + begin_in
        return fields

    def attempt(self, act: Any, *args: Any, **kwargs: Any) -> None:
        """What is refused has changed nothing; the bench has seen to that."""
        with contextlib.suppress(Refused):
            act(*args, **kwargs)

    # -- what people do

    @initialize()
    def one_of_each(self) -> None:
        self.bench.submit(gpus=1, time_limit_secs=HOUR)
        self.bench.submit(depends_on=(1,), max_retries=1)

    @rule(resources=resources, dependencies=dependencies, extras=extras, cap=caps)
    def submit(self, resources: Any, dependencies: Any, extras: Any, cap: int | None) -> None:
        fields = self.fields({**resources, **dependencies, **extras})
        if "group_id" in fields and cap is not None:
            fields["groups"] = {fields["group_id"]: cap}
            fields["hold_after"] = {fields["group_id"]: cap}
        before = (
            self.bench.engine.in_cell(("ana", fields["group_id"], fields["key"]))
            if {"group_id", "key"} <= fields.keys()
            else None
        )
        with contextlib.suppress(Refused):
            job_id = self.bench.submit(**fields)
            if before is not None and before.state in SETTLED and "submit_key" not in fields:
                assert job_id == before.id, "a cell that is settled was submitted again"

    @rule(resources=resources, group=st.sampled_from(GROUPS), tasks=st.integers(1, 4), cap=caps)
    def submit_array(self, resources: Any, group: str, tasks: int, cap: int | None) -> None:
        specs = [spec(task_id=task, group_id=group, **resources) for task in range(tasks)]
        self.attempt(self.bench.submit_all, specs, groups={group: cap})

    @rule(number=which)
    def hold(self, number: int) -> None:
        self.attempt(self.bench.hold, self.pick(number, State.QUEUED))

    @rule(number=which, begin_in=st.sampled_from([None, None, 10.0]))
    def release(self, number: int, begin_in: float | None) -> None:
        begin_at = None if begin_in is None else self.bench.now.wall + begin_in
        self.attempt(self.bench.release, self.pick(number, State.HOLD), begin_at)

    @rule(number=which, changes=changes)
    def update(self, number: int, changes: Any) -> None:
        self.attempt(self.bench.update, self.pick(number), **self.fields(changes))

    @rule(number=which, limit=limits, admin=st.booleans())
    def change_a_running_limit(self, number: int, limit: float | None, admin: bool) -> None:
        self.attempt(self.bench.update, self.pick(number, State.RUNNING), admin=admin, time_limit_secs=limit)

    @rule(number=which, cause=st.sampled_from(StopCause))
    def stop(self, number: int, cause: StopCause) -> None:
        self.attempt(self.bench.stop, self.pick(number), cause, by="ana")

    @rule(number=which)
    def cancel_what_waits(self, number: int) -> None:
        job_id = self.pick(number, State.QUEUED, State.HOLD)
        foreseen = [(job.id, cause) for job, cause in self.bench.engine.dependents([job_id])]
        self.attempt(self.bench.cancel, job_id)
        for fallen, cause in foreseen:
            job = self.bench.job(fallen)
            awaited = {number: self.bench.job(number) for number in job.spec.depends_on}
            goes = job.spec.auto_cancel and judge(job.spec, awaited)[0] is Verdict.IMPOSSIBLE
            assert (job.state is State.CANCELLED) == goes
            if not goes:  # it waits in vain, or for one that does
                assert job.state in (State.QUEUED, State.HOLD)
                continue
            assert job.reason is not None
            assert job.reason.kind is ReasonKind.DEPENDENCY_FAILED
            assert job.reason.job in self.bench.job(fallen).spec.depends_on
            assert cause in self.bench.job(fallen).spec.depends_on

    @rule(number=which, cascade=st.booleans(), held=st.booleans())
    def redo(self, number: int, cascade: bool, held: bool) -> None:
        """As the API does it: not while a later attempt is under way."""
        jobs = self.bench.engine.jobs
        first = jobs.get(self.pick(number, *FINAL))
        if first is None or first.state not in FINAL:
            return
        attempts = [first]
        while attempts[-1].retried_as is not None:
            attempts.append(jobs[attempts[-1].retried_as])
        if attempts[-1].state not in FINAL:
            return
        ids = [job.id for job in attempts]
        wanted = [(job.id, again(job, "ben")) for job in [first, *in_order(fallen_with(ids, jobs.values()))]]
        wanted = wanted if cascade else wanted[:1]
        recalled = self.bench.recalled(*(d for _, wish in wanted for d in wish.depends_on))
        redo = self.bench.engine.redo
        self.attempt(self.bench.step, redo, wanted, self.bench.now, attempts=ids, held=held, recalled=recalled)

    @rule(group=st.sampled_from(GROUPS), cap=caps)
    def set_group_limit(self, group: str, cap: int | None) -> None:
        self.attempt(self.bench.set_group_limit, group, cap)

    # -- what happens

    @rule()
    def schedule(self) -> None:
        self.bench.schedule()

    @rule(number=which)
    def first_instruction(self, number: int) -> None:
        waiting = [job_id for job_id in self.bench.engine.running if self.bench.job(job_id).started_boot is None]
        if waiting:
            self.bench.launched(waiting[number % len(waiting)])

    @precondition(lambda self: self.bench.engine.running)
    @rule(number=which, code=st.sampled_from([0, 0, 1, 130, None]))
    def end(self, number: int, code: int | None) -> None:
        self.bench.end(self.pick(number, State.RUNNING), code, None if code is not None else "lost")

    @rule(number=which, code=st.sampled_from([0, 1]))
    def end_what_may_not_run(self, number: int, code: int) -> None:
        self.attempt(self.bench.end, self.pick(number), code)

    @precondition(lambda self: self.bench.engine.running)
    @rule(number=which)
    def left_over(self, number: int) -> None:
        self.bench.left_over(self.pick(number, State.RUNNING))

    @precondition(lambda self: self.bench.engine.running)
    @rule(number=which)
    def relaunch(self, number: int) -> None:
        self.bench.step(self.bench.engine.relaunch, self.pick(number, State.RUNNING), next(self.bench.run_ids))

    @rule(secs=st.sampled_from([0.0, 1.0, 5.0, 10.0, 30.0, HOUR]))
    def time_passes(self, secs: float) -> None:
        self.bench.sleep(secs)
        self.bench.step(self.bench.engine.enforce, self.bench.now)
        due = self.bench.engine.next_deadline_boot()
        assert due is None or due > self.bench.now.boot, "something is due and was not done"

    @precondition(lambda self: not any(job.spec.begin_at for job in self.bench.engine.jobs.values()))
    @rule(secs=st.sampled_from([-HOUR, -1.0, HOUR]))
    def somebody_sets_the_clock(self, secs: float) -> None:
        self.bench.step_wall_clock(secs)

    @rule(keep=st.integers(0, 5), long_ago=st.sampled_from([0.0, HOUR]), recently=st.sampled_from([0.0, 10.0]))
    def retire(self, keep: int, long_ago: float, recently: float) -> None:
        for job_id in self.bench.retire(keep, long_ago=long_ago, recently=recently):
            ended_at = self.bench.past[JobId(job_id)].finished_at
            assert ended_at is not None
            assert ended_at < self.bench.now.wall - recently

    @rule(number=st.integers(0, 3), memory_mb=st.sampled_from([None, 500, 1000]))
    def set_machine(self, number: int, memory_mb: int | None) -> None:
        self.bench.set_machine(gpus(number, GPU_MEMORY_MB), memory_mb, 4)

    @rule(number=which)
    def out_of_memory(self, number: int) -> None:
        self.attempt(self.bench.out_of_memory, self.pick(number))

    @rule()
    def restart(self) -> None:
        """The daemon is killed right after a pass, and another one takes over."""
        self.bench.schedule()
        self.look()
        before, after = self.bench, self.bench.restarted()
        assert after.schedule() == [], "a restart must not make room"
        for job in before.engine.jobs.values():
            assert after.engine.jobs[job.id] is job
            assert told(after, job) == told(before, job)
            if job.state is not State.QUEUED:
                assert after.engine.reason(job) == before.engine.reason(job)
            else:
                self.reason_is_explained(before, job)
                self.reason_is_explained(after, job)
        assert sorted(after.engine.ready.items()) == sorted(before.engine.ready.items())
        assert after.engine.next_deadline_boot() == before.engine.next_deadline_boot()
        assert after.engine.next_begin_at() == before.engine.next_begin_at()
        assert after.engine.next_job_id == before.engine.next_job_id
        self.bench = after

    def reason_is_explained(self, bench: Bench, job: Job) -> None:
        """The one word of the scheduler is among the words of `explain`; with several true ones, any will do."""
        reason = bench.engine.reason(job)
        assert reason is not None, f"job {job.id} waits after a pass, but nothing says why"
        assert reason.kind in {why.reason for why in reasons(bench.engine, job, bench.now)}

    # -- what must hold

    @invariant()
    def look(self) -> None:
        """Take notice of all that was said and asked for."""
        self.bench.events()
        for effect in self.bench.effects():
            assert effect.job.started_at is not None
            assert effect.job.state is State.RUNNING, f"{effect} concerns a job that does not run"
            if isinstance(effect, Launch):
                assert effect.job.run_id is not None
                assert effect.job.run_id not in self.launched, "launched twice under one run id"
                self.launched.add(effect.job.run_id)

    @invariant()
    def explain_agrees(self) -> None:
        engine = self.bench.engine
        for job in engine.jobs.values():
            found = reasons(engine, job, self.bench.now)
            assert found
            assert all(why.text.endswith(".") for why in found)
            if job.state is State.HOLD:
                assert found[0].reason is ReasonKind.HELD

    def teardown(self) -> None:
        """Given room and time, every job that can run does."""
        bench = self.bench
        bench.set_machine(gpus(3, GPU_MEMORY_MB), 10_000)
        bench.sleep(3 * HOUR)
        for group in GROUPS:
            self.attempt(bench.set_group_limit, group, None)
        for job_id in self.ids(State.HOLD):
            bench.release(job_id)
        while bench.schedule() or bench.engine.running:
            for job_id in tuple(bench.engine.running):
                bench.end(job_id)
        left = [job for job in bench.engine.jobs.values() if job.state not in FINAL]
        assert all(self.waits_in_vain(job.id) for job in left), f"forgotten: {left}"

    def waits_in_vain(self, job_id: JobId) -> bool:
        """Whether it was told to wait for what has failed, or for a job that does."""
        jobs = self.bench.engine.jobs
        unmet = [jobs[d] for d in jobs[job_id].spec.depends_on if jobs[d].state is not State.FINISHED]
        return any(job.state in FINAL or self.waits_in_vain(job.id) for job in unmet)


TestAnythingAtAnyTime = AnythingAtAnyTime.TestCase
TestAnythingAtAnyTime.settings = settings(max_examples=examples(60), stateful_step_count=40)
