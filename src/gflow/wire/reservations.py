"""Reservations in the API: what callers may send, and gflow's own record, field for field, plus who made it."""

from typing import Annotated

from msgspec import Meta, Struct

from gflow.core.errors import Malformed
from gflow.core.gpu_list import LAST_INDEX
from gflow.core.reservations import Reservation
from gflow.core.slots import next_slot, on_grid
from gflow.core.zones import UTC_ZONE, Zone, named
from gflow.wire.jobs import Json, duration, moment
from gflow.wire.requests import Int, Moment, epoch

_LAST = 253_000_000_000.0
"""In the year 9987; clocks show nothing beyond 9999."""


class ReservationRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """GPUs to promise: so many, or those. `timezone` (IANA) is the one whose half hours `start_time` is on."""

    user: str
    gpu_count: Int | None = None
    gpu_indices: list[Annotated[int, Meta(ge=0, le=LAST_INDEX)]] | None = None
    start_time: Moment | float
    duration_secs: Int
    timezone: str | None = None


def starts_at(request: ReservationRequest, own: Zone) -> float:
    """When it is to start, in seconds since the epoch.

    Raises Malformed unless that is a full or a half hour in the zone of the request, in the daemon's `own`, or in UTC:
    clients of gflow do not say which zone they mean.
    """
    at = epoch(request.start_time)
    if at is None or not 0 <= at <= _LAST:
        raise Malformed("Invalid start_time: it is no moment of the years 1970 to 9986")
    zones = [own, UTC_ZONE] if request.timezone is None else [_zone(request.timezone), own, UTC_ZONE]
    if not any(on_grid(at, zone) for zone in zones):
        first = zones[0]
        raise Malformed(
            f"Reservations start on the full or half hour, and {first.stamp(at, secs=True)} is neither; "
            f"the next slot is {first.stamp(next_slot(at, first))}"
        )
    return at


def _zone(name: str) -> Zone:
    try:
        return named(name)
    except ValueError as error:
        raise Malformed(f"Invalid timezone: {error}") from None


def reservation_json(reservation: Reservation, wall: float) -> Json:
    """The record of a reservation, with its status at a moment."""
    indices = reservation.gpu_indices
    return {
        "id": reservation.id,
        "user": reservation.user,
        "gpu_spec": {"count": reservation.gpu_count} if indices is None else {"indices": list(indices)},
        "start_time": moment(reservation.start_at),
        "duration": duration(reservation.end_at - reservation.start_at),
        "status": reservation.status(wall),
        "created_at": moment(reservation.created_at),
        "cancelled_at": moment(reservation.cancelled_at),
        "created_by": reservation.created_by,
    }
