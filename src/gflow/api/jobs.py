"""Jobs: look, change, hold, release, wait."""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple

import msgspec
import trio
from quart import Blueprint, Response

from gflow.api import directories, query
from gflow.api.answers import answer, raw
from gflow.api.body import json_body
from gflow.api.callers import Caller, caller, check_group
from gflow.api.listing import Listing
from gflow.api.owned import owned
from gflow.api.room import check_dependents, check_kept
from gflow.api.services import Services
from gflow.api.spooled import Spooled, spooled_script
from gflow.api.submitter import check_program
from gflow.core.engine import Engine
from gflow.core.errors import Impossible, Malformed, Unavailable
from gflow.core.eta import why_unknown
from gflow.core.explain import reasons
from gflow.core.lifecycle import FINAL
from gflow.core.model import Job, JobId, State
from gflow.core.selection import Selection
from gflow.core.submission import check_group_limit
from gflow.daemon.runtime import STOPPING
from gflow.launch.program import check_line
from gflow.wire.requests import JobUpdate, read, spec_changes

CHUNK = 500
"""Jobs encoded before others get a turn."""

LOOK_SECS = 15.0
"""So late whoever waits for a job is told that the token expired, should the clock have been set meanwhile."""

WHOLE = 20_000
"""More jobs than this are sent as they are found."""


def blueprint(services: Services) -> Blueprint:
    """Routes below `/jobs` that look at jobs or change them."""
    routes = Blueprint("jobs", __name__)
    runtime, listing = services.runtime, services.listing
    engine = runtime.engine

    @routes.get("/jobs")
    async def list_jobs() -> Response:
        query.allow("state", "user", "ids", "name", "project", "group", "limit", "offset", "created_after", "order")
        wanted = _wanted()
        if wanted.is_all and await listing.count(wanted.selection) > WHOLE:
            return _streamed(
                services.encoder(caller()), listing.pages(wanted.selection, newest_first=wanted.newest_first)
            )
        bodies: list[bytes] = []
        encoder = services.encoder(caller())
        jobs = await _chosen(listing, wanted)
        for start in range(0, len(jobs), CHUNK):
            bodies += map(encoder, jobs[start : start + CHUNK])
            await trio.lowlevel.checkpoint()
        return _array(bodies)

    @routes.get("/jobs/<int:job_id>")
    async def get_job(job_id: int) -> Response:
        query.allow()
        return raw(services.encoder(caller())(await listing.find(job_id)))

    @routes.get("/jobs/<int:job_id>/wait")
    async def wait(job_id: int) -> Response:
        query.allow("retries")
        job, follow = await listing.find(job_id), query.flag("retries")
        while job.state not in FINAL or (follow and job.retried_as is not None):
            if job.state in FINAL and job.retried_as is not None:
                job = await listing.find(job.retried_as)
                continue
            seen = runtime.bus.last_id
            if runtime.bus.closed:
                raise Unavailable(STOPPING)
            with trio.move_on_after(min(LOOK_SECS, services.secs_left(caller()))):
                await runtime.bus.wait_for_more(seen)
            services.check_still_lets_in(caller())
            job = await listing.find(job.id)
        await runtime.durable(runtime.last_seq)
        services.check_still_lets_in(caller())
        return raw(services.encoder(caller())(job))

    @routes.get("/jobs/<int:job_id>/why")
    async def why(job_id: int) -> Response:
        query.allow()
        job = await listing.find(job_id)
        start = await services.forecast.start_of(job)
        job, now = engine.jobs.get(job.id, job), runtime.clock()  # it may have changed meanwhile
        if job.detail is not None and not services.sees(caller(), job):
            job = replace(job, detail=None)
        told = [{"reason": why.reason, "text": why.text, "help": why.help} for why in reasons(engine, job, now)]
        start = start if job.state is State.QUEUED else None
        unknown = why_unknown(engine, job, now) if start is None else None
        about = {"id": job.id, "state": job.state, "reasons": told}
        return answer({**about, "expected_start": start, "expected_start_unknown": unknown})

    @routes.patch("/jobs/<int:job_id>")
    async def update(job_id: int) -> Response:
        query.allow()
        body = read(JobUpdate, await json_body())
        job = await owned(services, job_id)
        check_program(services, caller(), job, _named(body))
        if isinstance(body.run_dir, str):
            await directories.check(services, [body.run_dir])
        if _HEAVY.intersection(_named(body)):
            check_kept(services, caller())
        spooled = Spooled(services)
        try:
            script = await spooled_script(spooled, body, job.spec.run_dir)
            recalled = await listing.recalled(spec_changes(body, job.spec).get("depends_on", ()))
            now = engine.job(job_id)  # it may have changed while others were looked for
            seq = _update(now, body, script, recalled)
        finally:
            spooled.unpin()
        await runtime.durable(seq)
        record = msgspec.Raw(services.job_bytes(engine.job(job_id)))
        return answer({"job": record, "updated_fields": _named(body)})

    def _update(job: Job, body: JobUpdate, script: str | None, recalled: list[Job]) -> int:
        """Change the job, and the limit of its group; the number of the transaction to wait for."""
        who, changes = caller(), spec_changes(body, job.spec, script)
        if not _named(body):
            raise Malformed("Nothing to change: the update names no field")
        if body.max_concurrent is not msgspec.UNSET:
            _check_group_change(engine, job, body.max_concurrent, who)
        seq = 0
        if changes:
            if changes.keys() & {"command", "argv", "script_args", "parameters"}:
                check_line(replace(job.spec, **changes))
            added = set(changes.get("depends_on", ())) - set(job.spec.depends_on)
            check_dependents(engine, who, [replace(job.spec, depends_on=tuple(added))])
            outcome = engine.update(job.id, changes, runtime.clock(), may_raise_limit=who.admin, recalled=recalled)
            seq = runtime.commit(outcome)
        if body.max_concurrent is not msgspec.UNSET and job.spec.group_id is not None:
            _, outcome = engine.set_group_limit(job.spec.group_id, body.max_concurrent, runtime.clock())
            seq = runtime.commit(outcome)
        return seq

    @routes.post("/jobs/<int:job_id>/hold")
    async def hold(job_id: int) -> Response:
        query.allow()
        await owned(services, job_id)
        await runtime.durable(runtime.commit(engine.hold(job_id, runtime.clock())))
        return answer(None)

    @routes.post("/jobs/<int:job_id>/release")
    async def release(job_id: int) -> Response:
        query.allow("at")
        await owned(services, job_id)
        await runtime.durable(runtime.commit(engine.release(job_id, runtime.clock(), query.number("at"))))
        return answer(None)

    @routes.get("/jobs/resolve-dependency")
    async def resolve_dependency() -> Response:
        query.allow("username", "shorthand")
        user = query.text("username") or caller().name
        return answer({"job_id": (await _resolve(services, user, query.text("shorthand") or "")).id})

    return routes


_CHANGED_BY = {"time_limit_delta": "time_limit", "parameter_changes": "parameters"}


_HEAVY = {
    "command",
    "argv",
    "script",
    "script_text",
    "script_args",
    "parameters",
    "parameter_changes",
    "depends_on_ids",
}
"""Changes by which a job may come to keep more."""


def _named(body: JobUpdate) -> list[str]:
    """The fields that an update names."""
    given = (name for name in JobUpdate.__struct_fields__ if getattr(body, name) is not msgspec.UNSET)
    return [_CHANGED_BY.get(name, name) for name in given]


def _check_group_change(engine: Engine, job: Job, max_concurrent: int | None, who: Caller) -> None:
    """Refuse a new limit for the job's group before anything of the job is changed along with it."""
    if job.spec.group_id is None:
        raise Impossible(f"Job {job.id} is in no group, so it has no max_concurrent")
    check_group_limit(max_concurrent)
    check_group(who, engine, job.spec.group_id)


async def _resolve(services: Services, user: str, shorthand: str) -> Job:
    """`@` is the user's latest job, `@~1` the one before; of one that was tried again, the last attempt.

    Raises Malformed.
    """
    back = shorthand[2:] if shorthand.startswith("@~") else "0" if shorthand == "@" else ""
    if back.isascii() and back.isdigit() and len(back) < 10:
        job = await services.listing.recent(user, int(back))
        if job is not None:
            return await _last_attempt(services, job)
    raise Malformed(f"'{shorthand}' stands for no job of {user}")


async def _last_attempt(services: Services, job: Job) -> Job:
    """The attempt at the job that counts: that of it which waits or runs, if there is one."""
    while job.retried_as is not None:
        later = await services.listing.find_all([job.retried_as])
        if not later:
            break  # it was pruned
        job = later[0]
    return job


class _Wanted(NamedTuple):
    """What `GET /jobs` asks for."""

    selection: Selection
    ids: list[JobId] | None
    newest_first: bool
    offset: int
    limit: int | None

    @property
    def is_all(self) -> bool:
        """Whether everything is wanted that is meant."""
        return self.ids is None and self.limit is None and not self.offset


def _wanted() -> _Wanted:
    order = query.text("order") or "asc"
    if order not in ("asc", "desc"):
        raise Malformed(f"Invalid order '{order}': use asc or desc")
    limit, offset = query.integer("limit", least=1), query.integer("offset", least=0) or 0
    after = query.number("created_after")
    since = None if after is None else math.nextafter(after, math.inf)
    selection = replace(query.selection("state", "user", "name", since=since), group=query.text("group"))
    return _Wanted(selection, query.ids("ids"), order == "desc", offset, limit)


async def _chosen(listing: Listing, wanted: _Wanted) -> list[Job]:
    selection, ids, newest_first, offset, limit = wanted
    if ids is None:
        return await listing.select(selection, newest_first=newest_first, offset=offset, limit=limit)
    jobs = list(selection.of(await listing.find_all(ids)))
    return jobs[:: -1 if newest_first else 1][offset : None if limit is None else offset + limit]


def _array(bodies: list[bytes]) -> Response:
    """An array of records that are encoded already. It can be many megabytes, which are never in one piece."""
    if len(bodies) <= CHUNK:
        return raw(b"[" + b",".join(bodies) + b"]")
    bodies[0] = b"[" + bodies[0]
    bodies[-1] += b"]"
    length = sum(map(len, bodies)) + len(bodies) - 1

    async def body() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(bodies), CHUNK):
            more = [b""] if start + CHUNK < len(bodies) else []  # the comma before the next piece
            yield b",".join(bodies[start : start + CHUNK] + more)

    response = Response(body(), content_type="application/json", headers={"Content-Length": str(length)})
    response.timeout = None
    return response


def _streamed(encoder: Callable[[Job], bytes], pages: AsyncGenerator[list[Job], None]) -> Response:
    """An answer that is longer than should be in memory as a whole: page after page."""

    async def body() -> AsyncGenerator[bytes, None]:
        separator = b"["
        async with aclosing(pages):
            async for page in pages:
                yield separator + b",".join(map(encoder, page))
                separator = b","
        yield b"]" if separator == b"," else b"[]"

    response = Response(body(), content_type="application/json")
    response.timeout = None
    return response
