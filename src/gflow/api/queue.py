"""The queue as lines of text, for `gqueue`: filtered, sorted and cut here, so that the command loads almost nothing."""

from collections.abc import Callable
from typing import Any

import trio
from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import raw
from gflow.api.callers import caller
from gflow.api.services import Services
from gflow.core.errors import Malformed
from gflow.core.lifecycle import CODES
from gflow.core.model import Job, Now, State
from gflow.core.stops import elapsed_secs
from gflow.wire.columns import COLUMNS, Row, line

CHUNK = 500
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
    """`GET /queue`."""
    routes = Blueprint("queue", __name__)
    clock = services.runtime.clock

    @routes.get("/queue")
    async def queue() -> Response:
        query.allow("columns", "states", "users", "ids", "names", "project", "limit", "sort", "since", "mine")
        cells, now = _columns(), clock()
        jobs = _chosen(services)
        sort = query.text("sort") or "id"
        if sort not in SORTS:
            raise Malformed(f"Unknown sort key '{sort}'; allowed: {', '.join(SORTS)}")
        jobs.sort(key=lambda job: SORTS[sort](job, now))
        total, jobs = len(jobs), _limited(jobs)
        lines: list[str] = []
        for start in range(0, len(jobs), CHUNK):
            lines.extend(line(Row(job, services.reason(job), now), cells) for job in jobs[start : start + CHUNK])
            await trio.lowlevel.checkpoint()
        body = "".join(lines).encode(errors="surrogateescape")
        response = raw(body, content_type="text/plain; charset=utf-8")
        response.headers["X-Total"] = str(total)
        return response

    return routes


def _columns() -> list[Callable[[Row], str]]:
    names = query.words("columns")
    if not names:
        raise Malformed(f"No columns given; allowed: {', '.join(COLUMNS)}")
    for name in names:
        if name not in COLUMNS:
            raise Malformed(f"Unknown column '{name}'; allowed: {', '.join(COLUMNS)}")
    return [COLUMNS[name] for name in names]


def _chosen(services: Services) -> list[Job]:
    engine = services.runtime.engine
    ids, states = query.ids("ids"), query.states("states")
    if states is None:
        states = frozenset(State) if ids is not None else DEFAULT_STATES
    users = None if query.words("users") in (None, ["all"], ["*"]) else query.words("users")
    if query.flag("mine"):
        users = [caller().name]
    names, project, since = query.words("names"), query.text("project"), query.number("since")
    jobs = engine.jobs
    pool = jobs.values() if ids is None else [jobs[job_id] for job_id in ids if job_id in jobs]
    return [
        job
        for job in pool
        if job.state in states
        and (users is None or job.spec.owner in users)
        and (names is None or job.run_name in names)
        and (project is None or job.spec.project == project)
        and (since is None or job.submitted_at >= since)
    ]


def _limited(jobs: list[Job]) -> list[Job]:
    limit = query.integer("limit") or 0
    return jobs[:limit] if limit > 0 else jobs[limit:] if limit < 0 else jobs
