"""What is promised to others: when, on which devices, and how many of them may be taken all the same.

A claim at a moment says "of these devices, a job that still runs then may have at most so many". Reservations by index
are claims with an allowance of none. Reservations by number become one claim at each moment where most is promised:
the starts of reservations, and now. In between, the number of free devices only grows. The planned start of a blocked
job is a claim, too (`planner`).

Ends are taken at the latest they can be: the time limit, and the ladder that stops a job after it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import compress, product
from typing import NamedTuple

from gflow.core.reservations import GpuSet, Reservation, gpu_set

NEVER = math.inf

_CHOSEN_FROM = 8
"""Of more users than this at a moment, who each have more devices than are promised to them, the others give away
nothing but what they have beyond: it bounds the number of claims, and only an array of MIG slices has so many."""


class Claim(NamedTuple):
    """A job that still runs at `at` (seconds since the epoch) may have at most `allowance` of the devices in `gpus`.

    `sharing`: it only binds jobs that share devices.
    """

    at: float
    gpus: GpuSet
    allowance: int
    sharing: bool = False

    def concerns(self, end_at: float, *, shared: bool) -> bool:
        """Whether it binds a job that is gone by `end_at` at the latest, and shares devices or not."""
        return self.at < end_at and (shared or not self.sharing)


class Holding(NamedTuple):
    """A running job on a device: whose it is, and when (seconds since the epoch) it is gone at the latest."""

    owner: str
    end_at: float


Holdings = Mapping[int, list[Holding]]
"""By device index; devices that nobody holds may be missing."""


def claims_against(
    owner: str, reservations: Iterable[Reservation], holdings: Holdings, permitted: GpuSet, usable: GpuSet, now: float
) -> list[Claim]:
    """What `owner`'s next job has to leave to others, by time.

    `reservations` are those in force now or later. `permitted` are the devices there are; `usable` those of them that
    work just now, which is only held against what starts now: until later they may work again.
    """
    ahead = [r for r in reservations if r.end_at > now]
    claims = [Claim(max(r.start_at, now), r.gpus, 0) for r in ahead if r.gpus and r.user != owner]
    if any(r.count and r.user != owner for r in ahead):
        for at in sorted({max(r.start_at, now) for r in ahead}):
            there = usable if at <= now else permitted
            claims += _by_number(owner, [r for r in ahead if r.holds(at)], holdings, there, at)
    return sorted(claims)


def _by_number(owner: str, active: list[Reservation], holdings: Holdings, there: GpuSet, at: float) -> Iterable[Claim]:
    """The claims that the reservations in force at one moment make by number."""
    promised: Counter[str] = Counter()
    for reservation in active:
        promised[reservation.user] += reservation.count
    if not any(promised[user] for user in promised if user != owner):
        return
    named = 0
    for reservation in active:
        named |= reservation.gpus
    free, filled = _at(holdings, there & ~named, at)
    missing = {user: max(0, count - filled[user].bit_count()) for user, count in promised.items()}
    own = min(missing.get(owner, 0), free.bit_count())
    beyond = free.bit_count() - sum(count for user, count in missing.items() if user != owner)
    allowance = max(own, beyond, 0)
    yield Claim(at, free, allowance)
    charged, spare = 0, list[tuple[GpuSet, int]]()
    for user in {user for user, count in promised.items() if count and user != owner}:
        over = filled[user].bit_count() - promised[user]
        if over > 0:
            spare.append((filled[user], over))
        else:
            charged |= filled[user]
    yield from _by_joining(at, free, allowance, charged, max(0, beyond - missing.get(owner, 0)), spare)


def _by_joining(
    at: float, free: GpuSet, allowance: int, charged: GpuSet, joinable: int, spare: list[tuple[GpuSet, int]]
) -> Iterable[Claim]:
    """The claims on jobs that share devices with those who have them reserved.

    Whoever joins one of the `charged` devices costs its user another one; so does, of the devices of a user in `spare`,
    each but as many as are beyond what is promised to him. Together with the `free` devices a job takes this may cost
    `allowance`, and `joinable` by itself. A sum of costs, none of them below zero, is within a bound if the sum of each
    choice of them is: hence a pair of claims for each choice of users.
    """
    spare = sorted(spare, key=lambda user: (-user[1], user[0]))
    for devices, over in spare[_CHOSEN_FROM:]:
        yield Claim(at, devices, over, sharing=True)
    for choice in product((False, True), repeat=len(spare[:_CHOSEN_FROM])):
        joined, beyond = charged, 0
        for devices, over in compress(spare, choice):
            joined |= devices
            beyond += over
        if joined:
            yield Claim(at, free | joined, allowance + beyond, sharing=True)
            yield Claim(at, joined, joinable + beyond, sharing=True)


def own_now(owner: str, reservations: Iterable[Reservation], holdings: Holdings, usable: GpuSet, now: float) -> "Own":
    """What reservations in force give `owner` just now, beyond what its jobs have of it already."""
    active = [r for r in reservations if r.holds(now)]
    named = own = 0
    for reservation in active:
        named |= reservation.gpus
        own |= reservation.gpus if reservation.user == owner else 0
    _, filled = _at(holdings, usable & ~named, now)
    promised = sum(r.count for r in active if r.user == owner)
    return Own(own, max(0, promised - filled[owner].bit_count()))


class Own(NamedTuple):
    """Devices reserved for a user by index, and how many more by number."""

    gpus: GpuSet
    number: int


NOTHING = Own(0, 0)


def _at(holdings: Holdings, gpus: GpuSet, at: float) -> tuple[GpuSet, dict[str, GpuSet]]:
    """Of these devices: those that are free at a moment, and those that one user alone has then."""
    free, filled = gpus, _Sets()
    for index, held in holdings.items():
        bit = 1 << index
        owners = {holding.owner for holding in held if holding.end_at > at} if gpus & bit else None
        if owners:
            free &= ~bit
            if len(owners) == 1:
                filled[owners.pop()] |= bit
    return free, filled


class _Sets(dict[str, GpuSet]):
    def __missing__(self, user: str) -> GpuSet:
        return 0


def shortfall(
    reservation: Reservation, others: Iterable[Reservation], holdings: Holdings, permitted: GpuSet
) -> float | None:
    """When a new reservation would be short of devices, because of other reservations or of jobs that run until then.

    None if it never would.
    """
    others = list(others)
    within = [r for r in others if r.start_at < reservation.end_at and r.end_at > reservation.start_at]
    for at in sorted({reservation.start_at, *(r.start_at for r in within if r.start_at > reservation.start_at)}):
        if not _feasible(reservation, [r for r in within if r.holds(at)], holdings, permitted, at):
            return at
    strays = (r for r in _numbered(reservation, within) if _cannot_stay(r, reservation, others, permitted))
    return next((r.start_at for r in strays), None)


def _numbered(reservation: Reservation, within: Iterable[Reservation]) -> list[Reservation]:
    """The reservations by number that a new one can leave without devices to stay on."""
    return [r for r in (reservation, *within) if r.count]


def _cannot_stay(
    numbered: Reservation, reservation: Reservation, others: Iterable[Reservation], permitted: GpuSet
) -> bool:
    """Whether a reservation by number could only be had by moving from device to device, which no job does."""
    named = 0
    for other in (reservation, *others):
        if other.start_at < numbered.end_at and numbered.start_at < other.end_at:
            named |= other.gpus
    return numbered.count > (permitted & ~named).bit_count()


def _feasible(
    reservation: Reservation, beside: Iterable[Reservation], holdings: Holdings, permitted: GpuSet, at: float
) -> bool:
    """Whether a reservation can have what it is of at one moment, beside others in force and the jobs running then."""
    named, promised = reservation.gpus, Counter({reservation.user: reservation.count})
    if named & ~permitted or taken_by_others(reservation, holdings, at):
        return False
    for other in beside:
        if other.gpus & reservation.gpus:
            return False
        named |= other.gpus
        promised[other.user] += other.count
    free, filled = _at(holdings, permitted & ~named, at)
    missing = sum(max(0, count - filled[user].bit_count()) for user, count in promised.items())
    return missing <= free.bit_count()


def taken_by_others(reservation: Reservation, holdings: Holdings, at: float) -> GpuSet:
    """The devices a reservation names that jobs of others still hold at a moment."""
    return gpu_set(
        index
        for index, held in holdings.items()
        if reservation.gpus >> index & 1 and any(h.end_at > at and h.owner != reservation.user for h in held)
    )
