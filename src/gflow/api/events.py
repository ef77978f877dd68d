"""`/events`: what happens, as server-sent events (WHATWG HTML, section 9.2) with ids.

A client that comes back with Last-Event-ID is sent what it missed; where that is no longer known, it is told so by an
event named `missed`.
"""

from collections.abc import AsyncIterator
from typing import Any

import trio
from quart import Blueprint, Response, request

from gflow.api import query
from gflow.api.answers import encode
from gflow.api.callers import Caller, caller
from gflow.api.services import Services
from gflow.core.errors import Malformed
from gflow.core.events import Event
from gflow.core.lifecycle import FINAL

KEEP_ALIVE_SECS = 15.0

AT_ONCE = 100
"""Events sent as one piece where there are many: for each follower a piece takes as long, whatever is in it."""

KEPT = 4096
"""Events that are kept as they go out: mostly all followers are sent the same."""


def blueprint(services: Services) -> Blueprint:
    """`GET /events`."""
    routes = Blueprint("events", __name__)
    told = _Told()

    @routes.get("/events")
    async def events() -> Response:
        query.allow("last_event_id")
        services.runtime.check_open()
        given = request.headers.get("Last-Event-ID") or query.text("last_event_id")
        if given is not None and not (given.isascii() and given.isdigit() and len(given) < 19):
            raise Malformed(f"Invalid Last-Event-ID '{given}': use the id of an event")
        newest = services.runtime.bus.last_id
        last_seen = int(given) if given is not None else newest
        if last_seen > newest:  # of another life of the data directory: all its events are gone
            last_seen = 0
        response = Response(_stream(services, told, caller(), last_seen), content_type="text/event-stream")
        response.headers["Cache-Control"] = "no-cache"
        response.timeout = None
        return response

    return routes


class _Told:
    """Events on the wire, by number."""

    def __init__(self) -> None:
        self._kept: dict[int, bytes] = {}

    def of(self, number: int, event: Event) -> bytes:
        """One event, made when it is first asked for."""
        found = self._kept.get(number)
        if found is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            found = self._kept[number] = message(number, event)
        return found


async def _stream(services: Services, told: _Told, who: Caller, last_seen: int) -> AsyncIterator[bytes]:
    bus = services.runtime.bus
    yield b"event: connected\ndata: {}\n\n"
    while not bus.closed and services.still_lets_in(who):
        missed, fresh = bus.since(last_seen)
        if missed:
            yield b'event: missed\ndata: {"type":"missed"}\n\n'
        for start in range(0, len(fresh), AT_ONCE):
            some = fresh[start : start + AT_ONCE]
            last_seen = some[-1][0]
            yield b"".join(told.of(number, event) for number, event in some)
        with trio.move_on_after(min(KEEP_ALIVE_SECS, services.secs_left(who))) as pause:
            await bus.wait_for_more(last_seen)
        if pause.cancelled_caught and services.still_lets_in(who):
            yield b": keep-alive\n\n"


def message(number: int, event: Event) -> bytes:
    """One event on the wire."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, event.kind.encode(), encode(event_json(event)))


def event_json(event: Event) -> dict[str, Any]:
    """The data of an event: its name, the job's id and what a follower of the queue wants to know."""
    job = event.job
    if job is None:
        return {"type": event.kind, "at": event.at, **event.about}
    data: dict[str, Any] = {
        "type": event.kind,
        **event.about,
        "job_id": job.id,
        "state": job.state,
        "user": job.spec.owner,
        "name": job.run_name,
        "at": event.at,
        "gpu_ids": list(job.gpu_ids or ()),
    }
    if job.state in FINAL:
        data |= {
            "final_state": job.state,
            "exit_code": job.exit_code,
            "memory_mb": job.spec.memory_mb,
            "cpus": job.spec.cpus,
            "retried_as": job.retried_as,
        }
    return data
