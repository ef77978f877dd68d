"""Reservations: who has GPUs promised, and when. Administrators make them; their users, too, may give them up."""

from collections.abc import Iterator

from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer, raw
from gflow.api.body import json_body
from gflow.api.callers import caller, check_holder
from gflow.api.services import Services
from gflow.core.errors import Malformed
from gflow.core.reservations import Book, Reservation, Status
from gflow.core.zones import Zone, named
from gflow.wire.requests import read
from gflow.wire.reservations import ReservationRequest, reservation_json, starts_at

_EVERYBODY = (None, ["all"], ["*"])
_STATUSES = {status.value.lower(): status for status in Status}


def blueprint(services: Services) -> Blueprint:
    """Routes below `/reservations`."""
    routes = Blueprint("reservations", __name__)
    runtime = services.runtime
    engine = runtime.engine

    @routes.get("/reservations")
    async def list_reservations() -> Response:
        query.allow("user", "status", "active_only")
        now = runtime.clock().wall
        found = sorted(_wanted(engine.book, now), key=lambda reservation: (reservation.start_at, reservation.id))
        return answer([reservation_json(reservation, now) for reservation in found])

    @routes.get("/reservations/<int:reservation_id>")
    async def get_reservation(reservation_id: int) -> Response:
        query.allow()
        return answer(reservation_json(engine.book.get(reservation_id), runtime.clock().wall))

    @routes.post("/reservations")
    async def create() -> Response:
        query.allow()
        who = caller()
        wanted = read(ReservationRequest, await json_body())
        timezone = services.status["timezone"]
        start_at = starts_at(wanted, Zone() if timezone is None else named(timezone))
        runtime.check_open()
        made, outcome = engine.reserve(
            wanted.user.strip(),
            start_at,
            start_at + wanted.duration_secs,
            runtime.clock(),
            gpu_count=wanted.gpu_count,
            gpu_indices=wanted.gpu_indices,
            by=who.name,
        )
        await runtime.durable(runtime.commit(outcome))
        return answer({"reservation_id": made.id})

    @routes.delete("/reservations/<int:reservation_id>")
    async def cancel(reservation_id: int) -> Response:
        query.allow()
        check_holder(caller(), engine.book.get(reservation_id))
        runtime.check_open()
        await runtime.durable(runtime.commit(engine.cancel_reservation(reservation_id, runtime.clock())))
        return raw(b"", content_type="text/plain")  # as gflow answers

    return routes


def _wanted(book: Book, now: float) -> Iterator[Reservation]:
    """The reservations that the parameters of the request choose."""
    users, statuses = query.words("user"), _statuses()
    active_only = query.flag("active_only")
    for reservation in book.entries.values():
        status = reservation.status(now)
        if users not in _EVERYBODY and reservation.user not in users:
            continue
        if (statuses is None or status in statuses) and (not active_only or status is Status.ACTIVE):
            yield reservation


def _statuses() -> frozenset[Status] | None:
    words = query.words("status")
    if words is None:
        return None
    for word in words:
        if word.lower() not in _STATUSES:
            raise Malformed(f"Unknown status '{word}'; allowed: {', '.join(Status)}")
    return frozenset(_STATUSES[word.lower()] for word in words)
