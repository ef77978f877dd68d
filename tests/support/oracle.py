"""What must hold of GPUs and reservations, said in the plainest way: by looking at every moment and every choice.

Nothing here knows how the planner works. "Short" at a moment is by how many devices the reservations in force then
could not be served, if nobody who runs ended before the latest moment it may.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from math import inf
from typing import NamedTuple

from gflow.core.engine import Engine
from gflow.core.model import Job, Now
from gflow.core.reservations import Reservation
from gflow.core.stops import TERM_GRACE_SECS


class Held(NamedTuple):
    """One job on one device."""

    device: int
    owner: str
    until: float


def gone_at(engine: Engine, job: Job, now: Now) -> float:
    """The latest moment a running job may still be there."""
    if job.stop is not None:
        left = job.stop.next_at_boot - now.boot + (TERM_GRACE_SECS if job.stop.step.value == "interrupt" else 0.0)
        return now.wall + max(0.0, left)
    limit = job.spec.time_limit_secs
    if limit is None:
        return inf
    began = now.boot if job.started_boot is None else job.started_boot
    return now.wall + max(0.0, began + limit + engine.grace_secs + TERM_GRACE_SECS - now.boot)


def held(engine: Engine, now: Now, *, but: Iterable[int] = ()) -> list[Held]:
    """All jobs on all devices, without some."""
    jobs = [engine.jobs[job_id] for job_id in engine.running if job_id not in set(but)]
    return [Held(device, job.spec.owner, gone_at(engine, job, now)) for job in jobs for device in job.gpu_ids or ()]


def short(reservations: list[Reservation], holders: list[Held], devices: set[int], at: float) -> int:
    """By how many devices the reservations by number are short at a moment."""
    active = [r for r in reservations if r.holds(at)]
    named = {index for r in active for index in r.gpu_indices or ()}
    there = [holder for holder in holders if holder.until > at]
    owners = {device: {holder.owner for holder in there if holder.device == device} for device in devices - named}
    promised = Counter[str]()
    for reservation in active:
        promised[reservation.user] += reservation.gpu_count or 0
    wanted = sum(max(0, count - sum(who == {user} for who in owners.values())) for user, count in promised.items())
    return max(0, wanted - sum(not who for who in owners.values()))


def moments(reservations: list[Reservation], now: Now, until: float) -> list[float]:
    """When most can be promised, before a job is gone."""
    starts = {max(r.start_at, now.wall) for r in reservations}
    return sorted(at for at in starts | {now.wall} if at < until)


def takes_reserved(engine: Engine, now: Now, owner: str, devices: Iterable[int], until: float, but: int = 0) -> bool:
    """Whether a job of `owner` on these devices until then has what is reserved for others.

    `but` is the id of the job itself, if it runs already.
    """
    chosen = list(devices)
    ahead = [r for r in engine.book.entries.values() if r.cancelled_at is None and r.end_at > now.wall]
    others = held(engine, now, but=[but])
    mine = [Held(device, owner, until) for device in chosen]
    for at in moments(ahead, now, until):
        for reservation in ahead:
            if reservation.holds(at) and reservation.user != owner and set(chosen) & set(reservation.gpu_indices or ()):
                return True
        there = devices_at(engine, now, at)
        if short(ahead, others + mine, there, at) > short(ahead, others, there, at):
            return True
    return False


def devices_at(engine: Engine, now: Now, at: float) -> set[int]:
    """The devices there are at a moment; one that is out of use now may be back by then."""
    resources = engine.resources
    allowed = {index for index in resources.gpus if resources.allowed is None or index in resources.allowed}
    return {index for index in allowed if at > now.wall or resources.veto(index) is None}


def could_start(engine: Engine, now: Now, job: Job) -> tuple[int, ...] | None:
    """Devices a ready job could be started on right now, trying every choice; plans for others are not looked at."""
    spec, resources = job.spec, engine.resources
    usable = [index for index in sorted(resources.gpus) if resources.veto(index) is None and _fits(engine, index, job)]
    if spec.gpu_indices:
        usable = [index for index in usable if index in spec.gpu_indices]
    limit = spec.time_limit_secs
    until = inf if limit is None else now.wall + limit + engine.grace_secs + TERM_GRACE_SECS
    for choice in combinations(usable, spec.gpus):
        if not takes_reserved(engine, now, spec.owner, choice, until):
            return choice
    return None


def _fits(engine: Engine, index: int, job: Job) -> bool:
    on_it = [engine.jobs[job_id] for job_id in engine.running if index in (engine.jobs[job_id].gpu_ids or ())]
    total, wanted = engine.resources.gpus[index].memory_mb, job.spec.gpu_memory_mb or 0
    assert total is not None
    seen = engine.resources.status.get(index)
    guests = (seen.used_mb or 0) if seen is not None and engine.resources.guests(index) else 0
    if not job.spec.shared:
        return not on_it and wanted <= total
    promised = sum(max(other.spec.gpu_memory_mb or 0, other.gpu_share_mb or 0) for other in on_it)
    return all(other.spec.shared for other in on_it) and max(promised, guests) + wanted <= total
