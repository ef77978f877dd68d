"""The daemon itself: health, status, figures, groups."""

import time
from dataclasses import replace

from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer, raw
from gflow.api.body import json_body
from gflow.api.callers import caller, check_group
from gflow.api.services import Services
from gflow.core.days import day_start
from gflow.core.errors import Malformed
from gflow.core.groups import id_of
from gflow.core.model import State
from gflow.core.outcome import Outcome
from gflow.core.selection import Selection
from gflow.core.usage import Usage
from gflow.wire.drains import DrainRequest, drained_json, stall_text
from gflow.wire.gpus import allowed_indices, available
from gflow.wire.requests import GroupLimit, read
from gflow.wire.stats import usage_json, usage_rows_json

DAYS = 14
"""How many days figures by day are of, unless it is said since when."""


def blueprint(services: Services) -> Blueprint:
    """Routes about the daemon."""
    routes = Blueprint("control", __name__)
    runtime, listing = services.runtime, services.listing
    engine, resources = runtime.engine, runtime.engine.resources
    started = time.monotonic()

    @routes.get("/")
    async def root() -> Response:
        query.allow()
        return raw(b"gflow\n", content_type="text/plain")

    @routes.get("/health")
    async def health() -> Response:
        query.allow()
        body, well = services.health()
        return answer(body, 200 if well else 503)

    @routes.get("/status")
    async def status() -> Response:
        query.allow()
        return answer(
            {
                **services.status,
                "uptime_secs": int(time.monotonic() - started),
                "allowed_gpu_indices": allowed_indices(resources, services.configured_gpus),
                "gpu_total": len(resources.gpus),
                "gpu_available": len(available(engine, runtime.clock())),
                "gpu_simulated": sum(gpu.simulated for gpu in resources.gpus.values()),
                "gpu_trouble": services.gpu_trouble(),
                "drained": drained_json(engine),
                "launch_trouble": stall_text(engine),
                "limits": services.limits(),
                "jobs": {state.value: engine.counts[state] for state in State},
            }
        )

    @routes.post("/reload")
    async def reload() -> Response:
        query.allow()
        runtime.check_open()
        applied, later = await services.reload()
        return answer({"applied": applied, "needs_restart": later})

    @routes.post("/replace")
    async def replace_program() -> Response:
        query.allow()
        runtime.check_open()
        await services.replace()
        return answer({"started_at": services.status["started_at"]}, 202)

    @routes.get("/stats")
    async def stats() -> Response:
        query.allow("user", "project", "since", "by")
        user, since, by = query.text("user"), query.number("since"), query.text("by")
        selection = Selection(owners=query.owners("user"), project=query.text("project"), since=since)
        if by is None:
            return answer(usage_json(await listing.usage(selection, runtime.clock()), user=user, since=since))
        if by not in ("user", "project", "day"):
            raise Malformed(f"Unknown by '{by}'; allowed: user, project, day")
        if by == "day":
            since, rows = await _days(replace(selection, since=None), since)
        else:
            rows = await listing.usage_by(selection, runtime.clock(), by)
        return answer(usage_rows_json(rows, by, user=user, since=since))

    async def _days(selection: Selection, since: float | None) -> tuple[float, dict[str, Usage]]:
        """Whole days, from the one of `since` on, or the last `DAYS` of them."""
        now = runtime.clock()
        first = day_start(now.wall, days_before=DAYS - 1) if since is None else day_start(max(0.0, since))
        return first, await listing.usage_by_day(selection, now, first)

    @routes.post("/drain")
    async def drain() -> Response:
        query.allow()
        asked = read(DrainRequest, await json_body())
        runtime.check_open()
        return await _steered(engine.drain(caller().name, asked.reason, runtime.clock()))

    @routes.post("/resume")
    async def resume() -> Response:
        query.allow()
        runtime.check_open()
        return await _steered(engine.resume(caller().name, runtime.clock()))

    async def _steered(outcome: Outcome) -> Response:
        """The answer to a change of whether jobs are started."""
        told = {"changed": bool(outcome), "drained": drained_json(engine), "running_jobs": len(engine.running)}
        await runtime.durable(runtime.commit(outcome))
        return answer(told)

    @routes.post("/groups/<group_id>/max-concurrency")
    async def group_limit(group_id: str) -> Response:
        query.allow()
        wanted = read(GroupLimit, await json_body()).max_concurrent
        if wanted is not None and wanted < 1:
            raise Malformed(f"Invalid max_concurrent {wanted}: use 1 or more")
        runtime.check_open()
        named = id_of(caller().name, group_id)
        group_id = named if named in engine.groups else group_id
        check_group(caller(), engine, group_id)
        updated, outcome = engine.set_group_limit(group_id, wanted, runtime.clock())
        await runtime.durable(runtime.commit(outcome))
        return answer({"group_id": group_id, "max_concurrent": wanted, "updated_jobs": updated})

    return routes
