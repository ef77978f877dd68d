"""The queue as lines of text, for `gqueue`: filtered, sorted and cut here, so that the command loads almost nothing."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import trio
from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer, raw
from gflow.api.callers import Caller, caller
from gflow.api.forecast import Starts
from gflow.api.listing import Listing
from gflow.api.services import Services
from gflow.core.brief import Briefs
from gflow.core.ended import Ended
from gflow.core.errors import Malformed
from gflow.core.lifecycle import CODES
from gflow.core.model import Job, JobId, Now, State
from gflow.core.progress import Progress
from gflow.core.stops import elapsed_secs
from gflow.wire.columns import COLUMNS, ENDED_COLUMNS, ENDED_EPOCH_COLUMNS, EPOCH_COLUMNS, Row, ended_line, line
from gflow.wire.groups import group_json

CHUNK = 500
_PARAMETERS = tuple("columns states users ids names project group limit sort since mine terminals epoch".split())
_Pages = AsyncGenerator[Sequence[Job | Ended], None]
DEFAULT_STATES = frozenset({State.QUEUED, State.HOLD, State.RUNNING})
_STATE_ORDER = {state: position for position, state in enumerate(CODES)}

SORTS: dict[str, Callable[[Job, Now], Any]] = {
    "id": lambda job, _now: job.id,
    "state": lambda job, _now: (_STATE_ORDER[job.state], job.id),
    "time": lambda job, now: (-(elapsed_secs(job, now) or 0.0), job.id),
    "name": lambda job, _now: (job.run_name, job.id),
    "gpus": lambda job, _now: (-job.spec.gpus, job.id),
    "nodes": lambda job, _now: (-job.spec.gpus, job.id),
    "priority": lambda job, _now: (-job.spec.priority, job.id),
}


def blueprint(services: Services) -> Blueprint:
    """`GET /queue`, `GET /groups`, `GET /forecast`."""
    routes = Blueprint("queue", __name__)
    clock, engine = services.runtime.clock, services.runtime.engine

    @routes.get("/queue")
    async def queue() -> Response:
        query.allow(*_PARAMETERS)
        columns, now = _columns(), clock()
        made, of_ended = (EPOCH_COLUMNS, ENDED_EPOCH_COLUMNS) if query.flag("epoch") else (COLUMNS, ENDED_COLUMNS)
        cells = [made[name] for name in columns]
        briefly = [of_ended[name] for name in columns if name in of_ended]
        starts: Starts = await services.forecast.starts() if "START" in columns else {}
        briefs = Briefs(engine, now) if "REASON" in columns else None
        terminals = await _terminals(services) if query.flag("terminals") else None
        total, pages = await _pages(services.listing, now, terminals, briefly=len(briefly) == len(cells))
        who, lines = caller(), list[str]()
        async with aclosing(pages):
            async for page in pages:
                progress = await services.gauge.of(seen_of(who, page)) if "PROGRESS" in columns else {}
                lines += [
                    ended_line(job, briefly)
                    if isinstance(job, Ended)
                    else line(_row(who, job, now, starts, briefs, progress.get(job.id)), cells)
                    for job in page
                ]
                await trio.lowlevel.checkpoint()
        body = "".join(lines).encode(errors="surrogateescape")
        response = raw(body, content_type="text/plain; charset=utf-8")
        if services.listing.unreadable:
            response.headers["X-Unreadable"] = str(len(services.listing.unreadable))
        response.headers["X-Total"] = str(len(lines) if total is None else total)
        return response

    @routes.get("/groups")
    async def groups() -> Response:
        query.allow("mine", "users")
        owners = frozenset({caller().name}) if query.flag("mine") else query.owners("users")
        found = [group_json(engine, group_id) for group_id in engine.open_groups()]
        found.sort(key=lambda group: int(group["first_job_id"]))
        return answer([group for group in found if owners is None or group["user"] in owners])

    @routes.get("/forecast")
    async def forecast() -> Response:
        query.allow()
        starts = await services.forecast.starts()
        return answer([{"id": job_id, "expected_start": start} for job_id, start in sorted(starts.items())])

    def seen_of(who: Caller, page: Sequence[Job | Ended]) -> list[Job]:
        """The jobs at hand that may be looked into."""
        return [job for job in page if isinstance(job, Job) and services.sees(who, job)]

    def _row(who: Caller, job: Job, now: Now, starts: Starts, briefs: Briefs | None, progress: Progress | None) -> Row:
        waits, reason = job.state is State.QUEUED, services.reason(job)
        start = starts.get(job.id) if waits else None
        brief = briefs.of(job) if waits and briefs is not None else None
        drained, stalled = engine.drained is not None, engine.stall_of(job.spec.owner) is not None
        if job.detail is not None and not services.sees(who, job):
            job = replace(job, detail=None)
        return Row(job, reason, now, progress, start, brief, drained=drained, stalled=stalled)

    return routes


def _columns() -> list[str]:
    names = query.words("columns")
    if not names:
        raise Malformed(f"No columns given; allowed: {', '.join(COLUMNS)}")
    for name in names:
        if name not in COLUMNS:
            raise Malformed(f"Unknown column '{name}'; allowed: {', '.join(COLUMNS)}")
    return names


async def _terminals(services: Services) -> set[JobId]:
    """The jobs that have a terminal to attach to."""
    engine = services.runtime.engine
    running = [engine.jobs[job_id] for job_id in engine.running]
    return await trio.to_thread.run_sync(services.launcher.terminals, running)


def _ids(terminals: set[JobId] | None) -> list[JobId] | None:
    """The jobs asked for by id, and of those the ones with a terminal if that is asked for; None if neither is."""
    ids = query.ids("ids")
    if terminals is None:
        return ids
    return sorted(terminals) if ids is None else [job_id for job_id in ids if job_id in terminals]


async def _pages(
    listing: Listing, now: Now, terminals: set[JobId] | None, *, briefly: bool
) -> tuple[int | None, _Pages]:
    """The jobs to show: the first `limit`, or with a minus the last; and how many are meant, None if all are shown.

    `briefly`: no more of jobs in the history than `Ended` has is needed.
    """
    sort = query.text("sort") or "id"
    if sort not in SORTS:
        raise Malformed(f"Unknown sort key '{sort}'; allowed: {', '.join(SORTS)}")
    ids, limit = _ids(terminals), query.integer("limit") or 0
    selection = query.selection("states", "users", "names", since=query.number("since"))
    if selection.states is None and ids is None:
        selection = replace(selection, states=DEFAULT_STATES)
    if query.flag("mine"):
        selection = replace(selection, owners=frozenset({caller().name}))
    selection = replace(selection, group=query.text("group"))
    if ids is None and sort == "id":
        if not limit:
            enough = briefly and selection.group is None
            return None, listing.brief_pages(selection) if enough else listing.pages(selection)
        jobs = await listing.select(selection, newest_first=limit < 0, limit=abs(limit))
        return await listing.count(selection), _cut(jobs if limit > 0 else jobs[::-1])
    jobs = await listing.select(selection) if ids is None else list(selection.of(await listing.find_all(ids)))
    jobs.sort(key=lambda job: SORTS[sort](job, now))
    return len(jobs), _cut(jobs[:limit] if limit > 0 else jobs[limit:] if limit < 0 else jobs)


async def _cut(jobs: Sequence[Job]) -> _Pages:
    for start in range(0, len(jobs), CHUNK):
        yield jobs[start : start + CHUNK]
