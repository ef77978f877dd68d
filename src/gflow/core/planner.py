"""One pass over the queue: where the next job fits, and what must be kept for the ones that do not fit yet.

Every job takes its turn in queue order. The first that finds no room is planned: the earliest moment at which the
limits of running jobs and the reservations leave it room becomes a claim, and whatever comes after may only take what
it can give back by then, or what is left over at that moment (EASY backfill: Lifka, "The ANL/IBM SP scheduling system",
1995). Where no limit tells, jobs from behind may pass for `max_bypass_secs`; then what it waits for is kept.

Within a pass room only shrinks, so what was refused stays refused.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gflow.core import quotas, stops
from gflow.core.claims import NEVER, NOTHING, Claim, Holding, Own, claims_against, own_now
from gflow.core.model import Job, JobId, JobSpec, Now, ReasonKind
from gflow.core.placement import share_mb
from gflow.core.queue import Shape
from gflow.core.reservations import GpuSet, gpu_set, indices

if TYPE_CHECKING:
    from gflow.core.table import Table

MOST_PROTECTED = 4
"""How many blocked jobs without a known start are looked at; behind them nobody is protected any more."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A blocked job that others must not delay.

    - start_at: when it can start at the latest, seconds since the epoch; None if no limit tells.
    - gpus: the devices it could use then. spare: how many of them it could do without. spare_mb, spare_cpus: host
      memory and CPUs left beside it then, None where it asks for none.
    - closed: others have passed it for long enough, and nothing it waits for is given out any more.
    - party: (scope, name) whose quota of GPUs it waits for, None if it waits for the machine.
    """

    id: JobId
    shape: Shape
    start_at: float | None
    gpus: GpuSet
    spare: int = 0
    spare_mb: int | None = None
    spare_cpus: int | None = None
    closed: bool = False
    party: tuple[str, str] | None = None


class Planner:
    """What is free, promised and planned at one moment. `started` says what was given out since."""

    def __init__(self, table: "Table", now: Now) -> None:
        self.table = table
        self.now = now
        self.planned: list[Planned] = []
        self._resources = table.resources
        self.permitted = self._resources.permitted()
        self.usable = self._resources.usable()
        self._reservations = table.book.ahead(now.wall)
        self._with_reservations = {reservation.user for reservation in self._reservations}
        self.holdings = self._holdings()
        self.free = self.usable & ~gpu_set(index for index, held in self.holdings.items() if held)
        self._claims: dict[str | None, list[Claim]] = {}
        self._moments: list[float] = []
        self._refused: set[object] = set()
        self._find_moments()

    # -- the question every job asks -------------------------------------------------------------------------------

    def place(self, shape: Shape) -> tuple[int, ...] | ReasonKind:
        """Device indices for a job of this shape that starts now, or what there is too little of."""
        if self.table.group_full(shape) or self.table.stall_of(shape.owner) is not None:
            return ReasonKind.RESOURCES
        if self._over(shape) is not None or self._closed_to(shape):
            return ReasonKind.QUOTA
        if self.table.lacks_memory(shape):
            return ReasonKind.MEMORY
        if self.table.lacks_cpus(shape):
            return ReasonKind.RESOURCES
        end_at = self.end_at(shape)
        if (shape.memory_mb or shape.cpus) and self.planned and not self._leaves_host(shape, end_at):
            return ReasonKind.RESOURCES
        if shape.gpus == 0:
            return ()
        return self._place_gpus(shape, end_at)

    def _over(self, shape: Shape) -> tuple[str, str, str, int] | None:
        return self.table.quotas.over(shape.owner, shape.project, shape.gpus)

    def outdated(self, planned: "Planned") -> bool:
        """Whether what was started since makes a job wait for a limit it did not wait for when it was planned."""
        over = self._over(planned.shape)
        kept = self.table.group_full(planned.shape) or self.table.stall_of(planned.shape.owner) is not None
        return kept or (over[:2] if over else None) != planned.party

    def hopeless(self, shape: Shape) -> bool:
        """Whether a look at the number of free devices is enough to see that there is no room."""
        return not shape.shared and shape.gpus > self.free.bit_count()

    def _closed_to(self, shape: Shape) -> bool:
        """Whether a job of this shape would go on passing one that waits for the same quota."""
        parties = (("user", shape.owner), ("project", shape.project))
        return shape.gpus > 0 and any(planned.closed and planned.party in parties for planned in self.planned)

    def _place_gpus(self, shape: Shape, end_at: float) -> tuple[int, ...] | ReasonKind:
        if self.hopeless(shape):
            return ReasonKind.GPU
        key = self._refusal_key(shape, end_at)
        if key in self._refused:
            return ReasonKind.GPU
        chosen = choose(self.candidates(shape), shape.gpus, self.relevant(shape, end_at))
        if chosen is None:
            self._refused.add(key)
            return ReasonKind.GPU
        return tuple(sorted(chosen))

    def _refusal_key(self, shape: Shape, end_at: float) -> object:
        """What a refusal depends on: of the end only the claims it reaches, of the owner only reservations."""
        owner = shape.owner if shape.owner in self._with_reservations else None
        reach = bisect_left(self._moments, end_at)
        return owner, shape.gpus, shape.gpu_indices, shape.shared, shape.gpu_memory_mb, reach

    def end_at(self, shape: Shape) -> float:
        """When a job of this shape that starts now is gone at the latest."""
        return self.now.wall + self.longest_secs(shape.limit_secs)

    def longest_secs(self, limit_secs: float | None) -> float:
        """How long a job can be there: its limit, and the ladder it is stopped by."""
        return NEVER if limit_secs is None else limit_secs + self.table.grace_secs + stops.TERM_GRACE_SECS

    def candidates(self, shape: Shape) -> list[int]:
        """The devices a job of this shape could start on by itself, in the order of the strategy.

        A user's own reserved devices come first: nobody else can use them.
        """
        fitting = self.fitting(shape)
        self._resources.shuffle(fitting)
        if shape.owner not in self._with_reservations:
            return fitting
        own = self._own(shape.owner).gpus
        return sorted(fitting, key=lambda index: not own >> index & 1)

    def _own(self, owner: str) -> Own:
        if owner not in self._with_reservations:
            return NOTHING
        return own_now(owner, self._reservations, self.holdings, self.usable, self.now.wall)

    def fitting(self, shape: Shape) -> list[int]:
        """The devices with room for a job of this shape just now, ascending; promises to others do not count."""
        return [index for index in indices(self._asked(shape)) if self._has_room(index, shape)]

    def _asked(self, shape: Shape) -> GpuSet:
        """The devices that work and that a job of this shape would take."""
        return self.usable & gpu_set(shape.gpu_indices) if shape.gpu_indices else self.usable

    def _has_room(self, index: int, shape: Shape) -> bool:
        if not shape.shared and not self.free >> index & 1:
            return False
        promised = self._resources.shared_by(index)
        if promised is None:
            return False
        return self._large_enough(index, shape, promised)

    def _large_enough(self, index: int, shape: Shape, promised_mb: int) -> bool:
        """For a job that shares, whether so much is left; for one that does not, how large the card is."""
        shared = shape.shared
        room = self._resources.room_mb(index, promised_mb) if shared else self._resources.gpus[index].memory_mb
        return room is None or (shape.gpu_memory_mb or 0) <= room

    def relevant(self, shape: Shape, end_at: float) -> list[Claim]:
        """The claims that a job of this shape, gone at `end_at`, has to heed."""
        plans = [claim for planned in self.planned if (claim := self._claim(planned, shape, end_at))]
        own = self._own(shape.owner) if plans else NOTHING
        # a plan for somebody else is no reason not to have what is reserved
        plans = [c._replace(gpus=c.gpus & ~own.gpus, allowance=max(c.allowance, own.number)) for c in plans]
        return self.promised(shape, end_at) + plans

    def promised(self, shape: Shape, end_at: float) -> list[Claim]:
        """Those of them that reservations make."""
        return [c for c in self._claims_against(shape.owner) if c.concerns(end_at, shared=shape.shared)]

    def _claims_against(self, owner: str) -> list[Claim]:
        whose = owner if owner in self._with_reservations else None
        known = self._claims.get(whose)
        if known is None:
            known = claims_against(owner, self._reservations, self.holdings, self.permitted, self.usable, self.now.wall)
            self._claims[whose] = known
        return known

    # -- jobs that must not be delayed -----------------------------------------------------------------------------

    def protect(self, job: Job, shape: Shape, why: ReasonKind) -> bool:
        """Keep others from delaying a job that found no room. False: no more jobs need protection."""
        if why is ReasonKind.QUOTA:
            self._protect_in_quota(job, shape)
            return True
        if self._waits_for_room(shape, why) and self._could_ever(shape):
            planned = self._plan(job, shape)
            self.planned.append(planned)
            self._find_moments()
            return planned.start_at is None and sum(p.party is None for p in self.planned) < MOST_PROTECTED
        return True

    def _waits_for_room(self, shape: Shape, why: ReasonKind) -> bool:
        """Whether it is the machine there is too little of; there is no word of gflow's for CPUs."""
        kept = self.table.group_full(shape) or self.table.stall_of(shape.owner) is not None
        few_cpus = why is ReasonKind.RESOURCES and self.table.lacks_cpus(shape) and not kept
        return few_cpus or why in (ReasonKind.GPU, ReasonKind.MEMORY)

    def _protect_in_quota(self, job: Job, shape: Shape) -> None:
        """Others under the quota of GPUs that a job waits for may pass it for a while only."""
        over = self._over(shape)
        if over is not None and over[2] == "max_running_gpus" and not any(p.party == over[:2] for p in self.planned):
            self.planned.append(Planned(job.id, shape, None, 0, closed=self._passed_long(job), party=over[:2]))

    def _passed_long(self, job: Job) -> bool:
        passed_for = self.now.wall - job.bypassed_at if job.bypassed_at is not None else -NEVER
        return passed_for >= self.table.policy.max_bypass_secs

    def _could_ever(self, shape: Shape) -> bool:
        """Whether it would have room if nothing ran. What waits for a broken device must not hold up all others."""
        able = [index for index in indices(self._asked(shape)) if self._large_enough(index, shape, 0)]
        return len(able) >= shape.gpus

    def _plan(self, job: Job, shape: Shape) -> Planned:
        for moment in self._moments_to_try():
            planned = self._planned_at(job.id, shape, moment)
            if planned is not None:
                return planned
        asked = gpu_set(shape.gpu_indices) if shape.gpu_indices else self.usable
        return Planned(job.id, shape, None, asked if shape.gpus else 0, closed=self._passed_long(job))

    def _moments_to_try(self) -> list[float]:
        """When room may appear: the ends of jobs, and of reservations."""
        ends = {h.end_at for held in self.holdings.values() for h in held}
        ends |= {end for job_id in self.table.running if (end := self.gone_at(self.table.jobs[job_id])) < NEVER}
        ends |= {edge for r in self._reservations for edge in (r.start_at, r.end_at)}
        return sorted(moment for moment in ends if self.now.wall < moment < NEVER)

    def _planned_at(self, job_id: JobId, shape: Shape, moment: float) -> Planned | None:
        """The plan for a job of this shape at a later moment, None if there is no room for it then."""
        host = self._resources
        spare_mb = self._spare(shape.memory_mb, host.memory_total_mb, lambda spec: spec.memory_mb, moment)
        spare_cpus = self._spare(shape.cpus, host.cpus_total, lambda spec: spec.cpus, moment)
        if (spare_mb or 0) < 0 or (spare_cpus or 0) < 0:
            return None
        later = self._fitting_at(shape, moment)
        claims = self._claims_after(shape, moment)
        if shape.gpus and choose(later, shape.gpus, claims) is None:
            return None
        gpus = gpu_set(later) & ~_barred(claims)
        spares = [gpus.bit_count() - shape.gpus]
        spares += [c.allowance - shape.gpus + (gpus & ~c.gpus).bit_count() for c in claims if gpus & c.gpus]
        return Planned(job_id, shape, moment, gpus, max(0, min(spares)), spare_mb, spare_cpus)

    def _claims_after(self, shape: Shape, moment: float) -> list[Claim]:
        """What a job of this shape that starts at a later moment would have to heed."""
        end_at = moment + self.longest_secs(shape.limit_secs)
        held = {index: [h for h in held if h.end_at > moment] for index, held in self.holdings.items()}
        claims = claims_against(shape.owner, self._reservations, held, self.permitted, self.usable, moment)
        return [c for c in claims if c.concerns(end_at, shared=shape.shared)]

    def _fitting_at(self, shape: Shape, moment: float) -> list[int]:
        return [index for index in indices(self._asked(shape)) if self._has_room_at(index, shape, moment)]

    def _has_room_at(self, index: int, shape: Shape, moment: float) -> bool:
        room = self._shares_at(index, moment)
        if room is None or (room and not shape.shared) or (not shape.shared and self._held_at(index, moment)):
            return False
        return self._large_enough(index, shape, room)

    def _held_at(self, index: int, moment: float) -> bool:
        return any(holding.end_at > moment for holding in self.holdings.get(index, ()))

    def _shares_at(self, index: int, moment: float) -> int | None:
        """What sharers that are still there count for; None if one has the device alone then."""
        shares = 0
        for job_id in self._resources.holders(index):
            job = self.table.jobs[job_id]
            if self.gone_at(job) > moment:
                share = share_mb(job)
                if share is None:
                    return None
                shares += share
        return shares

    def _spare(
        self, wanted: int | None, total: int | None, held: Callable[[JobSpec], int | None], moment: float
    ) -> int | None:
        """How much of the host's memory or CPUs is left beside a job that wants some; None if it wants none."""
        if not wanted or total is None:
            return None
        running = map(self.table.jobs.__getitem__, self.table.running)
        still = sum(amount for job in running if (amount := held(job.spec)) and self.gone_at(job) > moment)
        return total - still - wanted

    def _leaves_host(self, shape: Shape, end_at: float) -> bool:
        """Whether the memory and the CPUs of a job of this shape are none that a planned one waits for."""
        for planned in self.planned:
            if planned.closed and planned.party is None and _same_host(planned.shape, shape):
                return False
            if planned.start_at is None or planned.start_at >= end_at:
                continue
            if planned.spare_mb is not None and (shape.memory_mb or 0) > planned.spare_mb:
                return False
            if planned.spare_cpus is not None and (shape.cpus or 0) > planned.spare_cpus:
                return False
        return True

    def _claim(self, planned: Planned, shape: Shape, end_at: float) -> Claim | None:
        """What a planned job claims from one of another shape that is gone at `end_at`."""
        if planned.party is not None:
            return None
        if planned.closed:
            return Claim(self.now.wall, planned.gpus, 0)
        if planned.start_at is None or planned.start_at >= end_at or not planned.shape.gpus:
            return None
        spoiled = planned.gpus if not shape.shared else self._spoiled(planned, shape)
        return Claim(planned.start_at, spoiled, planned.spare)

    def _spoiled(self, planned: Planned, shape: Shape) -> GpuSet:
        """The devices of a plan on which another sharer would leave the planned job no room."""
        assert planned.start_at is not None
        if not planned.shape.shared:
            return planned.gpus
        found = 0
        for index in indices(planned.gpus):
            shares = (self._shares_at(index, planned.start_at) or 0) + (shape.gpu_memory_mb or 0)
            found |= 0 if self._large_enough(index, planned.shape, shares) else 1 << index
        return found

    def may_last(self, job: Job, limit_secs: float | None) -> float | None:
        """None if a running job may run so long, else when that would begin to take what is promised to others."""
        was, end_at = self.gone_at(job), self.gone_at(job.with_spec(time_limit_secs=limit_secs))
        taken = gpu_set(job.gpu_ids or ())
        without = {index: list(held) for index, held in self.holdings.items()}
        for index in job.gpu_ids or ():
            without[index].remove(Holding(job.spec.owner, was))
        owner = job.spec.owner
        claims = claims_against(owner, self._reservations, without, self.permitted, self.usable, self.now.wall)
        binding = [c for c in claims if c.at >= was and c.concerns(end_at, shared=job.spec.shared)]
        return next((c.at for c in binding if (c.gpus & taken).bit_count() > c.allowance), None)

    def bypassed_by(self, job: Job) -> list[JobId]:
        """The planned jobs without a known start that wait for something this job has just been given."""
        taken = gpu_set(job.gpu_ids or ())
        parties = set(quotas.parties(job.spec)) if taken else set()
        in_quota = [planned.id for planned in self.planned if planned.party in parties]
        return in_quota + [
            planned.id
            for planned in self.planned
            if planned.start_at is None
            and planned.party is None
            and (taken & planned.gpus or _same_host(planned.shape, job.spec))
        ]

    # -- keeping up ------------------------------------------------------------------------------------------------

    def started(self, job: Job) -> None:
        """A job was given what `place` said."""
        end_at = self.gone_at(job)
        for index in job.gpu_ids or ():
            self.holdings.setdefault(index, []).append(Holding(job.spec.owner, end_at))
            self.free &= ~(1 << index)
        self._claims.clear()
        self.planned = [self._after(planned, end_at) for planned in self.planned]

    def _after(self, planned: Planned, end_at: float) -> Planned:
        """A plan, once another job was started: its moment stays, what there is to spare then may have become less."""
        if planned.start_at is None or end_at <= planned.start_at:
            return planned
        again = self._planned_at(planned.id, planned.shape, planned.start_at)
        return again if again is not None else replace(planned, spare=0, spare_mb=0, spare_cpus=0)

    def _holdings(self) -> dict[int, list[Holding]]:
        jobs = self.table.jobs
        return {
            index: [Holding(jobs[job_id].spec.owner, self.gone_at(jobs[job_id])) for job_id in held]
            for index, held in self._resources.held()
        }

    def gone_at(self, job: Job) -> float:
        """When a running job is gone at the latest, in seconds since the epoch; not before now."""
        now = self.now
        if job.stop is not None:
            return now.wall + max(0.0, stops.killed_boot(job.stop) - now.boot)
        if job.spec.time_limit_secs is None:
            return NEVER
        began = now.boot if job.started_boot is None else job.started_boot
        return now.wall + max(0.0, began + self.longest_secs(job.spec.time_limit_secs) - now.boot)

    def _find_moments(self) -> None:
        """The times at which claims can begin to count. Refusals are keyed by how many of them a job reaches."""
        moments = {r.start_at for r in self._reservations} | {self.now.wall}
        moments |= {planned.start_at for planned in self.planned if planned.start_at is not None}
        self._moments = sorted(moments)
        self._refused.clear()


def _same_host(one: Shape, other: Shape | JobSpec) -> bool:
    """Whether both ask for memory of the machine, or both for CPUs."""
    return bool((one.memory_mb and other.memory_mb) or (one.cpus and other.cpus))


def choose(candidates: Sequence[int], number: int, claims: Sequence[Claim]) -> list[int] | None:
    """`number` of the candidates, the earliest ones that keep every claim; None if there are none.

    Claims that bind nothing, and candidates that are all barred, are sorted out first; then it is a search in which
    candidates that stand in the same claims are never tried twice.
    """
    barred = _barred(claims)
    left = [index for index in candidates if not barred >> index & 1]
    binding = list({(c.gpus, c.allowance) for c in claims if 0 < c.allowance < min(number, c.gpus.bit_count())})
    if len(left) < number:
        return None
    return _search(left, 0, number, [gpus for gpus, _ in binding], [allowance for _, allowance in binding])


def _barred(claims: Iterable[Claim]) -> GpuSet:
    """The devices that must not be touched at all."""
    barred = 0
    for claim in claims:
        barred |= claim.gpus if claim.allowance <= 0 else 0
    return barred


def _search(left: Sequence[int], first: int, number: int, sets: Sequence[GpuSet], room: list[int]) -> list[int] | None:
    if number == 0:
        return []
    failed: set[tuple[bool, ...]] = set()
    for place in range(first, len(left) - number + 1):
        index = left[place]
        kind = tuple(bool(gpus >> index & 1) for gpus in sets)
        if kind in failed or any(inside and not more for inside, more in zip(kind, room, strict=True)):
            continue
        rest = [more - inside for inside, more in zip(kind, room, strict=True)]
        found = _search(left, place + 1, number - 1, sets, rest)
        if found is not None:
            return [index, *found]
        failed.add(kind)
    return None
