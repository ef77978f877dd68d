"""Reservations: GPUs that are a user's for a time, by number or by index.

A reservation is a record that never changes but by being cancelled; whether it is pending, active or completed follows
from the clock. `GpuSet` is a set of device indices as bits, which is what all the accounting is done with.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gflow.core.errors import Impossible, Malformed, NotFound, WrongState

GpuSet = int
"""Bit i is the device with index i."""

SLOT_SECS = 1800
"""Reservations begin and end on the half hour."""

LONGEST_SECS = 366 * 86400
MAX_USER = 128
KEPT_SECS = 30 * 86400.0
"""How long a reservation that is over stays in the list."""

LATE_SECS = 60.0
"""A start this far back is taken for a slow request."""


class Status(enum.StrEnum):
    """Where a reservation stands; the values are gflow's JSON words."""

    PENDING = "Pending"
    ACTIVE = "Active"
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"


def gpu_set(indices: Iterable[int]) -> GpuSet:
    """The set with these indices."""
    found = 0
    for index in indices:
        found |= 1 << index
    return found


def indices(gpus: GpuSet) -> Iterator[int]:
    """The indices in a set, ascending."""
    while gpus:
        lowest = gpus & -gpus
        yield lowest.bit_length() - 1
        gpus ^= lowest


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """`gpu_count` GPUs, or those with `gpu_indices` (exactly one of the two), for `user` from `start_at` to `end_at`.

    Moments are seconds since the epoch. `created_by`: who made it, None if that is not known.
    """

    id: int
    user: str
    start_at: float
    end_at: float
    gpu_count: int | None = None
    gpu_indices: tuple[int, ...] | None = None
    created_at: float
    created_by: str | None = None
    cancelled_at: float | None = None

    @property
    def gpus(self) -> GpuSet:
        """The devices it names; empty if it goes by number."""
        return gpu_set(self.gpu_indices or ())

    @property
    def count(self) -> int:
        """How many devices it is of, if it goes by number, else 0."""
        return self.gpu_count or 0

    @property
    def size(self) -> int:
        """How many devices it is of."""
        return self.gpu_count if self.gpu_count is not None else len(self.gpu_indices or ())

    def status(self, wall: float) -> Status:
        """Where it stands at a moment."""
        if self.cancelled_at is not None:
            return Status.CANCELLED
        if wall < self.start_at:
            return Status.PENDING
        return Status.ACTIVE if wall < self.end_at else Status.COMPLETED

    def holds(self, wall: float) -> bool:
        """Whether it is in force at a moment."""
        return self.cancelled_at is None and self.start_at <= wall < self.end_at


@dataclass(slots=True)
class Book:
    """All reservations, by id. Those that are over leave after `KEPT_SECS`."""

    entries: dict[int, Reservation] = field(default_factory=dict)
    next_id: int = 1

    def get(self, reservation_id: int) -> Reservation:
        """The reservation with this id. Raises NotFound."""
        try:
            return self.entries[reservation_id]
        except KeyError:
            raise NotFound(f"Reservation {reservation_id} does not exist") from None

    def ahead(self, wall: float) -> list[Reservation]:
        """Those in force, now or later, by start."""
        live = (r for r in self.entries.values() if r.cancelled_at is None and r.end_at > wall)
        return sorted(live, key=lambda r: (r.start_at, r.id))

    def next_edge(self, wall: float) -> float | None:
        """When the next one begins or ends."""
        edges = [edge for r in self.ahead(wall) for edge in (r.start_at, r.end_at) if edge > wall]
        return min(edges, default=None)

    def cancelled(self, reservation_id: int, wall: float) -> Reservation:
        """The reservation as it is once cancelled. Raises NotFound, WrongState."""
        found = self.get(reservation_id)
        status = found.status(wall)
        if status in (Status.COMPLETED, Status.CANCELLED):
            raise WrongState(f"Reservation {reservation_id} is {status.value} already")
        return replace(found, cancelled_at=wall)

    def put(self, reservation: Reservation, wall: float) -> None:
        """Store one, and let go of those that are long over."""
        self.entries[reservation.id] = reservation
        self.next_id = max(self.next_id, reservation.id + 1)
        for old in [r.id for r in self.entries.values() if max(r.end_at, r.cancelled_at or 0.0) < wall - KEPT_SECS]:
            del self.entries[old]

    def to_settings(self) -> dict[str, Any]:
        """As it is kept with the state."""
        return {
            "reservations": [_to_map(r) for r in self.entries.values()] or None,
            "next_reservation_id": self.next_id,
        }


def book_from(settings: Mapping[str, Any]) -> Book:
    """The book `to_settings` was made of. Raises KeyError, TypeError or ValueError for anything else."""
    entries = [_from_map(plain) for plain in settings.get("reservations") or ()]
    next_id = max([settings.get("next_reservation_id") or 1, *(r.id + 1 for r in entries)])
    return Book({r.id: r for r in entries}, next_id)


def check_request(reservation: Reservation, now: float) -> None:
    """Refuse a reservation that makes no sense by itself. Raises Malformed, Impossible."""
    check_user(reservation.user)
    count, named = reservation.gpu_count, reservation.gpu_indices
    if (count is None) == (named is None):
        raise Malformed("A reservation is of a number of GPUs or of certain ones: give gpu_count or gpu_indices")
    if reservation.size < 1:
        raise Malformed("A reservation needs at least one GPU")
    secs = reservation.end_at - reservation.start_at
    if not 0 < secs <= LONGEST_SECS or secs % SLOT_SECS:
        raise Malformed("A reservation lasts a multiple of 30 minutes, at most 366 days")
    if reservation.start_at < now - LATE_SECS:
        raise Impossible("The start of the reservation is past")
    if reservation.start_at > now + 10 * LONGEST_SECS:
        raise Impossible("The start of the reservation is more than ten years away")


def check_user(name: str) -> None:
    """Refuse what can be nobody's name: it would only spoil lists. Raises Malformed."""
    if not name.strip():
        raise Malformed("A user is needed")
    if len(name) > MAX_USER or not name.isprintable() or name != name.strip() or "," in name:
        raise Malformed(f"Invalid user name: use up to {MAX_USER} printable characters without commas")


def _to_map(reservation: Reservation) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": reservation.id,
        "user": reservation.user,
        "start_at": reservation.start_at,
        "duration_secs": reservation.end_at - reservation.start_at,
        "created_at": reservation.created_at,
    }
    optional = {
        "gpu_count": reservation.gpu_count,
        "gpu_indices": list(reservation.gpu_indices) if reservation.gpu_indices is not None else None,
        "created_by": reservation.created_by,
        "cancelled_at": reservation.cancelled_at,
    }
    return plain | {key: value for key, value in optional.items() if value is not None}


def _from_map(plain: Mapping[str, Any]) -> Reservation:
    """What `_to_map` made, or an import; there `status` tells of a cancellation without a moment."""
    named = plain.get("gpu_indices")
    start_at = float(plain["start_at"])
    cancelled_at = plain.get("cancelled_at")
    if cancelled_at is None and plain.get("status") == Status.CANCELLED:
        cancelled_at = start_at
    return Reservation(
        id=int(plain["id"]),
        user=str(plain["user"]),
        start_at=start_at,
        end_at=start_at + float(plain["duration_secs"]),
        gpu_count=plain.get("gpu_count"),
        gpu_indices=tuple(sorted(set(named))) if named is not None else None,
        created_at=float(plain.get("created_at") or start_at),
        created_by=plain.get("created_by"),
        cancelled_at=cancelled_at,
    )
