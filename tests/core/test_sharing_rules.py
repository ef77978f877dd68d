"""A machine that shares GPUs among users in every way there is, held to an oracle that tries every choice.

After each step: no device has two holders that do not share it, no memory of a device is promised twice (the bench),
what was started takes nothing that is reserved for others, and no ready job is left beside devices it may use, unless
it would delay one that is planned before it.
"""

import contextlib
from collections.abc import Iterable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gflow.core.effects import Launch
from gflow.core.errors import Refused
from gflow.core.events import EventKind
from gflow.core.fairshare import UsageNow
from gflow.core.model import GpuProcessId, GpuStatus, JobId, State, StopCause
from gflow.core.order import queue_key
from gflow.core.queue import rank
from gflow.core.quotas import Limits
from support.effort import examples
from support.jobs import HOUR, Bench, gpus
from support.oracle import could_start, gone_at, takes_reserved

DEVICES = 4
MEMORY_MB = 1000
USERS = ["ana", "ben", "cy"]
SLOT = 1800.0

users = st.sampled_from(USERS)
which = st.integers(0, 30)
limits = st.sampled_from([None, 300.0, 1500.0, HOUR, 3 * HOUR])
requests = st.sampled_from(
    [
        {"gpus": 1},
        {"gpus": 2},
        {"gpus": 3},
        {"gpus": 4},
        {"gpus": 1, "gpu_indices": (2,)},
        {"gpus": 2, "gpu_indices": (0, 3)},
        {"gpus": 1, "gpu_memory_mb": 900},
        {"gpus": 1, "shared": True, "gpu_memory_mb": 400},
        {"gpus": 1, "shared": True, "gpu_memory_mb": 700},
        {"gpus": 2, "shared": True, "gpu_memory_mb": 300},
        {"gpus": 0},
        {"gpus": 1, "memory_mb": 600},
    ]
)
promises = st.sampled_from(
    [{"gpu_count": 1}, {"gpu_count": 2}, {"gpu_count": 4}, {"gpu_indices": (0,)}, {"gpu_indices": (1, 2)}]
)
promised = st.tuples(users, promises, st.integers(0, 4), st.integers(1, 4))


class SharingRules(RuleBasedStateMachine):
    """Jobs, reservations, faults and people's wishes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(DEVICES, gpu_memory_mb=MEMORY_MB, memory_mb=1000, fair_share_half_life_secs=HOUR)
        self.status: dict[int, GpuStatus] = {}

    @property
    def engine(self) -> Any:
        return self.bench.engine

    def attempt(self, act: Any, *args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(Refused):
            self.bench.step(act, *args, **kwargs)

    def pick(self, number: int, *states: State) -> JobId | None:
        ids = [job.id for job in self.engine.jobs.values() if job.state in states]
        return ids[number % len(ids)] if ids else None

    # -- what people do

    @initialize(wanted=st.lists(promised, max_size=3))
    def some_are_reserved(self, wanted: list[Any]) -> None:
        for user, promise, slots, length in wanted:
            self.reserve_one(user, promise, slots, length)

    @rule(wanted=st.lists(st.tuples(users, requests, limits, st.sampled_from([10, 10, 20])), min_size=1, max_size=4))
    def submit(self, wanted: list[Any]) -> None:
        for user, request, limit, priority in wanted:
            with contextlib.suppress(Refused):
                self.bench.submit(owner=user, time_limit_secs=limit, priority=priority, **request)

    @rule(wanted=promised)
    def reserve(self, wanted: Any) -> None:
        self.reserve_one(*wanted)

    def reserve_one(self, user: str, promise: Any, slots: int, length: int) -> None:
        start = self.bench.now.wall - self.bench.now.wall % SLOT + SLOT * slots
        self.attempt(self.engine.reserve, user, start, start + SLOT * length, self.bench.now, **promise)

    @rule(number=which)
    def cancel_reservation(self, number: int) -> None:
        ids = sorted(self.engine.book.entries) or [99]
        self.attempt(self.engine.cancel_reservation, ids[number % len(ids)], self.bench.now)

    @rule(allowed=st.none() | st.sets(st.integers(0, DEVICES - 1)))
    def set_gpus(self, allowed: set[int] | None) -> None:
        self.attempt(self.engine.allow_gpus, allowed, self.bench.now)

    @rule(user=users, jobs=st.none() | st.integers(0, 3), devices=st.none() | st.integers(0, 3))
    def set_quota(self, user: str, jobs: int | None, devices: int | None) -> None:
        self.attempt(self.engine.set_quota, "user", user, Limits(jobs, devices, None))

    @rule(user=users)
    def remove_quota(self, user: str) -> None:
        self.attempt(self.engine.remove_quota, "user", user)

    @rule(number=which, limit=limits)
    def change_limit(self, number: int, limit: float | None) -> None:
        job_id = self.pick(number, State.QUEUED, State.RUNNING)
        if job_id is not None:
            changes = {"time_limit_secs": limit}
            self.attempt(self.engine.update, job_id, changes, self.bench.now, may_raise_limit=True)

    @rule(number=which, priority=st.sampled_from([5, 10, 20]))
    def change_priority(self, number: int, priority: int) -> None:
        job_id = self.pick(number, State.QUEUED)
        if job_id is not None:
            self.attempt(self.engine.update, job_id, {"priority": priority}, self.bench.now, may_raise_limit=False)

    @rule(number=which)
    def cancel(self, number: int) -> None:
        job_id = self.pick(number, State.QUEUED, State.RUNNING)
        if job_id is not None:
            self.attempt(self.engine.stop, job_id, StopCause.CANCEL, self.bench.now)

    # -- what happens

    @rule(number=which, code=st.sampled_from([0, 1]))
    def end(self, number: int, code: int) -> None:
        job_id = self.pick(number, State.RUNNING)
        if job_id is not None:
            self.bench.end(job_id, code)

    @rule(device=st.integers(0, DEVICES - 1), fault=st.sampled_from([None, "lost"]), pid=st.none() | st.integers(7, 8))
    def see(self, device: int, fault: str | None, pid: int | None) -> None:
        foreign = () if pid is None else (GpuProcessId(pid, 1),)
        self.status[device] = GpuStatus(used_mb=500 if pid else 0, utilisation_pct=50, fault=fault, foreign=foreign)
        self.observe()

    @rule(device=st.integers(0, DEVICES - 1))
    def ignore(self, device: int) -> None:
        self.attempt(self.engine.ignore_gpu_process, device, GpuProcessId(7, 1))

    @rule(number=which, used=st.sampled_from([200, 500, 900]))
    def measure(self, number: int, used: int) -> None:
        job_id = self.pick(number, State.RUNNING)
        for device in (self.engine.jobs[job_id].gpu_ids or ()) if job_id is not None else ():
            self.status[device] = GpuStatus(used_mb=used, utilisation_pct=0, job_mb={JobId(job_id or 0): used})
        self.observe()

    def observe(self) -> None:
        self.bench.step(self.engine.observe_gpus, gpus(DEVICES, MEMORY_MB), self.status, self.bench.now)

    @rule(secs=st.sampled_from([1.0, 60.0, 900.0, SLOT, HOUR]))
    def sleep(self, secs: float) -> None:
        """Time passes; whoever must have ended by a moment has ended, and at each such moment there is a pass."""
        until = self.bench.now.wall + secs
        while (due := min(self.ends(), default=(until, None)))[0] < until and due[1] is not None:
            self.bench.sleep(max(0.0, due[0] - self.bench.now.wall))
            self.bench.step(self.engine.enforce, self.bench.now)
            self.bench.end(due[1], 137)
            self.schedule()
        self.bench.sleep(until - self.bench.now.wall)
        self.bench.step(self.engine.enforce, self.bench.now)

    def ends(self) -> list[tuple[float, JobId | None]]:
        running = [self.engine.jobs[job_id] for job_id in self.engine.running]
        return [(gone_at(self.engine, job, self.bench.now), job.id) for job in running]

    @rule()
    def restart(self) -> None:
        bench = self.bench.restarted()
        self.bench._later.clear()
        self.bench = bench
        self.observe()

    # -- what must hold

    @invariant()
    def schedule(self) -> None:
        before = self.bench.now
        reserved_before = dict(self.engine.book.entries)
        self.bench.effects()
        self.bench.schedule()
        started = [effect.job.id for effect in self.bench.effects() if isinstance(effect, Launch)]
        assert (before, reserved_before) == (self.bench.now, self.engine.book.entries)
        for job_id in started:
            self.bench.launched(job_id)
        self.nobody_got_what_is_reserved(started)
        self.nobody_waits_beside_room()
        kinds = {event.kind for event in self.bench.events()}
        assert kinds <= set(EventKind)

    def nobody_got_what_is_reserved(self, started: Iterable[int]) -> None:
        for job_id in started:
            job, now = self.engine.jobs[job_id], self.bench.now
            until = gone_at(self.engine, job, now)
            assert not takes_reserved(self.engine, now, job.spec.owner, job.gpu_ids or (), until, but=job_id), (
                f"job {job_id} of {job.spec.owner} was started on {job.gpu_ids}, which are reserved for others"
            )

    def nobody_waits_beside_room(self) -> None:
        engine, now = self.engine, self.bench.now
        usage = UsageNow(engine.fair_share, now)
        ranks = {job_id: rank(key, usage.of(shape.owner)) for job_id, shape, key in engine.ready.items()}
        first_planned = min((ranks[plan.id] for plan in engine.planned), default=None)
        for job_id, shape, _ in engine.ready.items():
            job = engine.jobs[job_id]
            if first_planned is not None and ranks[job_id] >= first_planned:
                continue
            if engine.lacks_memory(shape) or engine.quotas.over(job.spec.owner, None, job.spec.gpus):
                continue
            choice = could_start(engine, now, job)
            assert choice is None, f"job {job_id} ({queue_key(job)}) waits, but could have {choice}"


SharingRulesTest = SharingRules.TestCase
SharingRulesTest.settings = settings(max_examples=examples(150), stateful_step_count=60)
