"""Builders for tests of the core: a specification in one call, and a bench that drives an engine.

The bench keeps the rules every step must keep: the invariants hold, a refusal changes nothing at all, an outcome names
every job that changed, every transition makes exactly one event, and a test takes notice of every event and effect.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from gflow.core.effects import Effect, Interrupt, Launch, SendSignal
from gflow.core.engine import Engine
from gflow.core.errors import Refused
from gflow.core.events import OUTCOMES, Event, EventKind
from gflow.core.fairshare import FairShare
from gflow.core.groups import cell_of
from gflow.core.invariants import check, check_settled
from gflow.core.model import Exit, Gpu, Group, Job, JobId, JobSpec, Now, Reason, State, StopCause
from gflow.core.outcome import Outcome
from gflow.core.policy import Policy
from gflow.core.quotas import Quotas
from gflow.core.sweeps import latest_by_cell

START = Now(wall=1_700_000_000.0, boot=5_000.0)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

Told = tuple[str, int]
Asked = tuple[Any, ...]
Anything = Mapping[Any, object]


def spec(**fields: Any) -> JobSpec:
    """A job of user `ana` that runs `true`, with the given fields."""
    if not fields.keys() & {"command", "argv", "script_digest"}:
        fields["command"] = "true"
    return JobSpec(**{"owner": "ana", "run_dir": "/home/ana", **fields})


def gpus(number: int, memory_mb: int | None = None) -> list[Gpu]:
    """Devices 0 to `number` - 1, all of one size."""
    return [Gpu(index, f"GPU-{index}", "Test", memory_mb, simulated=True) for index in range(number)]


_NESTED = ("_dependents", "_awaited", "_members", "_by_owner", "_group_states", "_cells")


def snapshot(engine: Engine) -> dict[str, Any]:
    """All the engine holds, copied to every depth, in a form that compares."""
    queue = {shape: (lane.keys.copy(), lane.blocked) for shape, lane in engine.ready._lanes.items()}
    usage = {name: dict(+counter) for name, counter in vars(engine.quotas.usage).items()}
    kept = (dict(engine.kept.memory), dict(engine.kept.files))
    shared = (usage, kept, engine.quotas.overrides, engine.kept_settings(), dict(engine.measuring._gathered))
    places = {job_id: (lane.shape, key) for job_id, (lane, key) in engine.ready._place.items()}
    resources = engine.resources
    machine = (resources.gpus.copy(), dict(resources.status), resources.memory_total_mb, resources.memory_used_mb)
    machine += (resources.cpus_total, resources.cpus_used)
    holders = {index: held.copy() for index, held in resources._holders.items()}
    plain = {
        name: value
        for name, value in vars(engine).items()
        if name not in ("ready", "resources", "book", "quotas", "fair_share", "measuring", "kept", *_NESTED)
    }
    copied = {name: value.copy() if hasattr(value, "copy") else value for name, value in plain.items()}
    nested = {name: {key: type(values)(values) for key, values in getattr(engine, name).items()} for name in _NESTED}
    return {
        **copied,
        **nested,
        "queue": queue,
        "places": places,
        "machine": machine,
        "holders": holders,
        "shared": shared,
    }


_NO_TRANSITIONS = (
    EventKind.UPDATED,
    EventKind.GPU_MEMORY_EXCEEDED,
    EventKind.GPU_IDLE,
    EventKind.GROUP_COMPLETED,
    EventKind.GROUP_HELD,
)


class Bench:
    """An engine with a clock, and everything it said and asked for since the test last looked."""

    def __init__(
        self,
        gpu_count: int = 0,
        *,
        gpu_memory_mb: int | None = None,
        memory_mb: int | None = None,
        cpus: int | None = None,
        grace_secs: float = 10.0,
        **policy: Any,
    ) -> None:
        self.engine = Engine(grace_secs=grace_secs, policy=Policy(**policy))
        self.engine.set_machine(gpus(gpu_count, gpu_memory_mb), memory_mb, cpus)
        self.now = START
        self.stored_jobs: dict[JobId, Job] = {}
        self.stored_groups: dict[str, Group] = {}
        self.stored_settings: dict[str, Any] = {}
        self.past: dict[JobId, Job] = {}
        self._over_cap: set[str] = set()
        self.run_ids = (f"run-{number}" for number in count(1))
        self._events: list[Event] = []
        self._effects: list[Effect] = []
        self._later: list[Bench] = []

    # -- looking

    def job(self, job_id: int) -> Job:
        return self.engine.job(job_id)

    def states(self, *job_ids: int) -> list[str]:
        return [self.job(job_id).state.value for job_id in job_ids]

    def reason(self, job_id: int) -> Reason | None:
        return self.engine.reason(self.job(job_id))

    def told(self) -> list[Told]:
        """The events since the last call, as (word after `job_`, id); of what is no job's the id is 0."""
        return [
            (event.kind.value.removeprefix("job_"), event.job.id if event.job is not None else 0)
            for event in self.events()
        ]

    def events(self) -> list[Event]:
        """The events since the last call, whole."""
        events, self._events = self._events, []
        return events

    def effects(self) -> list[Effect]:
        """The effects since the last call, whole."""
        effects, self._effects = self._effects, []
        return effects

    def asked(self) -> list[Asked]:
        """The effects since the last call, as ("launch", id), ("interrupt", id) or ("signal", id, number)."""
        return [_plain(effect) for effect in self.effects()]

    def assert_heard(self) -> None:
        """Fail if the test did not look at everything that was said and asked for."""
        assert self.told() == []
        assert self.asked() == []
        for bench in self._later:
            bench.assert_heard()

    # -- steps

    def step(self, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of the engine and hold it to the rules of every step; returns what it returned."""
        before = snapshot(self.engine)
        try:
            result = act(*args, **kwargs)
        except Refused:
            assert snapshot(self.engine) == before, "a refusal changed something"
            raise
        outcome = result[-1] if isinstance(result, tuple) else result
        if isinstance(outcome, Outcome):
            self._account(outcome, before)
        check(self.engine, over_cap=self._over_cap)
        self._over_cap = {group_id for group_id in self.engine.groups if self._exceeds(group_id)}
        return result

    def _exceeds(self, group_id: str) -> bool:
        cap = self.engine.groups[group_id].max_concurrent
        return cap is not None and self.engine.group_running[group_id] > cap

    def _account(self, outcome: Outcome, before: dict[str, Any]) -> None:
        jobs: dict[JobId, Job] = before["jobs"]
        for job_id in outcome.retired:
            self.past[job_id] = jobs.pop(job_id)
            del self.stored_jobs[job_id]
        assert_names_changes(outcome.jobs, jobs, self.engine.jobs)
        implied = {group_id: group for group_id, group in self.engine.groups.items() if group == Group(group_id)}
        earlier = {group_id: group for group_id, group in before["groups"].items() if group_id in self.engine.groups}
        assert_names_changes(outcome.groups, {**implied, **earlier}, self.engine.groups)
        held = {event.about["group_id"] for event in outcome.events if event.kind is EventKind.GROUP_HELD}
        for job_id, job in outcome.jobs.items():
            old = jobs[job_id].state if job_id in jobs else None
            if old is None and job_id in self.past:
                assert replace(job, redone_as=self.past[job_id].redone_as) == self.past[job_id]
                continue
            kinds = [event.kind for event in outcome.events if event.job is not None and event.job.id == job_id]
            with_group = old is State.QUEUED and job.state is State.HOLD and job.spec.group_id in held
            expected = [] if with_group else transitions(old, job.state)
            assert [kind for kind in kinds if kind not in _NO_TRANSITIONS] == expected, (
                f"job {job_id} went from {old} to {job.state} and was told of as {kinds}"
            )
        for event in outcome.events:
            if event.job is not None and event.kind in OUTCOMES.values():
                assert OUTCOMES[event.job.state] is event.kind
                assert event.job.finished_at is not None
        self._over_cap |= {group_id for group_id in outcome.groups if self._exceeds(group_id)}
        self.stored_jobs.update(outcome.jobs)
        self.stored_groups.update(outcome.groups)
        self.stored_settings.update(outcome.settings)
        self._events += outcome.events
        self._effects += outcome.effects

    def submit(self, **fields: Any) -> int:
        """Submit one job; `hold=True` bears it on hold."""
        kwargs = {name: fields.pop(name, None) for name in ("groups", "hold_after")}
        hold = frozenset({0}) if fields.pop("hold", False) else frozenset()
        recalled = self.recalled(*fields.get("depends_on", ()))
        return self.submit_all([spec(**fields)], hold=hold, recalled=recalled, **kwargs)[0]

    def left_of(self, specs: Iterable[JobSpec]) -> list[Job]:
        """The latest jobs that have left of the cells of these."""
        cells = {cell for each in specs if (cell := cell_of(each)) is not None}
        gone = [job for job in self.past.values() if job.id not in self.engine.jobs and cell_of(job.spec) in cells]
        return list(latest_by_cell(gone).values())

    def recalled(self, *job_ids: int) -> list[Job]:
        """Those of these jobs that have left, each with the attempts that took its place."""
        found = [
            self.past[JobId(job_id)] for job_id in job_ids if job_id in self.past and job_id not in self.engine.jobs
        ]
        return [*found, *(later for job in found if job.retried_as for later in self.recalled(job.retried_as))]

    def retire(self, keep: int, *, long_ago: float = 0.0, recently: float = 0.0, most: int = 1000) -> list[int]:
        """Let ended jobs leave; the moments are in seconds back from now. Returns those that did."""
        wall = self.now.wall
        chosen = self.engine.retirable(keep, wall - long_ago if long_ago else 0.0, wall - recently, most)
        outcome = self.step(self.engine.retire, [job.id for job in chosen])
        assert sorted(outcome.retired) == sorted(job.id for job in chosen)
        return [int(job_id) for job_id in outcome.retired]

    def submit_all(self, specs: Sequence[JobSpec], **kwargs: Any) -> list[int]:
        jobs, _ = self.step(self.engine.submit, specs, self.now, cells=self.left_of(specs), **kwargs)
        return [int(job.id) for job in jobs]

    def schedule(self) -> list[int]:
        """A pass; returns the jobs it started, in order."""
        outcome = self.step(self.engine.schedule, self.now, self.run_ids)
        check_settled(self.engine, self.now)
        return [effect.job.id for effect in outcome.effects]

    def launched(self, *job_ids: int) -> None:
        """The first instruction of these jobs runs now."""
        for job_id in job_ids:
            self.step(self.engine.launched, job_id, self.now.wall, self.now.boot)

    def end(self, job_id: int, code: int | None = 0, text: str | None = None) -> None:
        self.step(self.engine.ended, job_id, Exit(code, self.now.wall, text), self.now)

    def hold(self, job_id: int) -> None:
        self.step(self.engine.hold, job_id, self.now)

    def release(self, job_id: int, begin_at: float | None = None) -> None:
        self.step(self.engine.release, job_id, self.now, begin_at)

    def update(self, job_id: int, *, admin: bool = False, **changes: Any) -> None:
        recalled = self.recalled(*changes.get("depends_on", ()))
        self.step(self.engine.update, job_id, changes, self.now, may_raise_limit=admin, recalled=recalled)

    def cancel(self, job_id: int, by: str | None = None) -> None:
        self.stop(job_id, StopCause.CANCEL, by=by)

    def stop(self, job_id: int, cause: StopCause, **kwargs: Any) -> None:
        self.step(self.engine.stop, job_id, cause, self.now, **kwargs)

    def left_over(self, job_id: int) -> None:
        self.step(self.engine.left_over, job_id, self.now)

    def enforce(self) -> list[Asked]:
        """Do what is due, and return what that asked for."""
        self.step(self.engine.enforce, self.now)
        return self.asked()

    def set_group_limit(self, group_id: str, cap: int | None) -> int:
        concerned, _ = self.step(self.engine.set_group_limit, group_id, cap, self.now)
        return int(concerned)

    def set_machine(self, devices: Iterable[Gpu], memory_mb: int | None = None, cpus: int | None = None) -> None:
        self.step(self.engine.set_machine, list(devices), memory_mb, cpus)

    def out_of_memory(self, job_id: int, text: str = "out of memory") -> None:
        self.step(self.engine.out_of_memory, job_id, text, self.now)

    def sleep(self, secs: float) -> None:
        """Let both clocks advance."""
        self.now = Now(self.now.wall + secs, self.now.boot + secs)

    def step_wall_clock(self, secs: float) -> None:
        """Set the wall clock; what has passed on the other one is not touched."""
        self.now = self.now._replace(wall=self.now.wall + secs)

    # -- beginnings of stories, with what they say checked and done with

    def queued(self, **fields: Any) -> int:
        """A job that waits; its submission is heard."""
        job_id = self.submit(**fields)
        assert self.told() == [("submitted", job_id)]
        return job_id

    def starts(self, *job_ids: int) -> None:
        """A pass starts exactly these jobs, in this order, and their first instructions run now."""
        assert self.schedule() == list(job_ids)
        assert self.told() == [("started", job_id) for job_id in job_ids]
        assert self.asked() == [("launch", job_id) for job_id in job_ids]
        self.launched(*job_ids)

    def running(self, **fields: Any) -> int:
        """A job that starts at once and runs."""
        job_id = self.queued(**fields)
        self.starts(job_id)
        return job_id

    def ended(self, code: int = 0, **fields: Any) -> int:
        """A job that has run and ended with `code`."""
        job_id = self.running(**fields)
        self.end(job_id, code)
        assert self.told() == [("failed" if code else "completed", job_id)]
        return job_id

    def restarted(self) -> "Bench":
        """Another bench, whose engine took over what the outcomes of this one said was to be stored."""
        other = Bench(grace_secs=self.engine.grace_secs)
        other.engine.policy = self.engine.policy
        other.engine.quotas = Quotas(self.engine.policy.quotas)
        other.engine.fair_share = FairShare(self.engine.policy.fair_share_half_life_secs)
        self._later.append(other)
        there = self.engine.resources
        other.engine.set_machine(tuple(there.gpus.values()), there.memory_total_mb, there.cpus_total)
        other.now, other._over_cap, other.run_ids = self.now, self._over_cap.copy(), self.run_ids
        other.stored_jobs, other.stored_groups = self.stored_jobs.copy(), self.stored_groups.copy()
        other.stored_settings = self.stored_settings.copy()
        other.past = self.past.copy()
        stored = self.stored_jobs.values(), self.stored_groups.values(), self.engine.next_job_id, self.now
        other.step(other.engine.restore, *stored, self.stored_settings)
        assert other.engine.kept_settings() == self.engine.kept_settings()
        return other


def transitions(before: State | None, after: State) -> list[EventKind]:
    """The events that a job's way from one state to another must have made."""
    if before is after:
        return []
    if before is None:
        return [EventKind.SUBMITTED, *transitions(State.QUEUED, State.QUEUED if after is State.HOLD else after)]
    if after in OUTCOMES:
        return [OUTCOMES[after]]
    return {State.RUNNING: [EventKind.STARTED], State.HOLD: [EventKind.HELD], State.QUEUED: [EventKind.RELEASED]}[after]


def assert_names_changes(
    named: Mapping[Any, object], before: Mapping[Any, object], after: Mapping[Any, object]
) -> None:
    """`named` holds the newest version of everything that is not the same object in `before` and `after`."""
    changed = {key for key, value in after.items() if key in before and before[key] is not value}
    assert changed | (after.keys() - before.keys()) <= named.keys(), "a change is missing from the outcome"
    assert all(after[key] is value for key, value in named.items()), "the outcome holds an old version"


def _plain(effect: Effect) -> Asked:
    match effect:
        case Launch(job):
            return "launch", job.id
        case Interrupt(job):
            return "interrupt", job.id
        case SendSignal(job, number):
            return "signal", job.id, number


def with_cap(group_id: str, cap: int | None, **fields: Any) -> dict[str, Any]:
    """Fields of a job in a group with a limit, for `Bench.submit`."""
    return {**fields, "group_id": group_id, "groups": {group_id: cap}}
