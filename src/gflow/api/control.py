"""The daemon itself: health, status, figures, groups."""

import time

from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer, raw
from gflow.api.body import json_body
from gflow.api.callers import caller, check_group
from gflow.api.services import Services
from gflow.core.errors import Malformed
from gflow.core.groups import id_of
from gflow.core.model import State
from gflow.core.selection import Selection
from gflow.wire.gpus import allowed_indices, available
from gflow.wire.requests import GroupLimit, read
from gflow.wire.stats import usage_json


def blueprint(services: Services) -> Blueprint:
    """Routes about the daemon."""
    routes = Blueprint("control", __name__)
    runtime = services.runtime
    engine, resources = runtime.engine, runtime.engine.resources
    started = time.monotonic()

    @routes.get("/")
    async def root() -> Response:
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
                "jobs": {state.value: engine.counts[state] for state in State},
            }
        )

    @routes.get("/stats")
    async def stats() -> Response:
        query.allow("user", "since")
        user, since = query.text("user"), query.number("since")
        selection = Selection(owners=None if user is None else frozenset({user}), since=since)
        usage = await services.listing.usage(selection, runtime.clock())
        return answer(usage_json(usage, user=user, since=since))

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
