"""Quotas: what counts for whom, what is used of it, and changing it at run time."""

from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer
from gflow.api.body import json_body
from gflow.api.services import Services
from gflow.core.quotas import table_to_map
from gflow.wire.quotas import QuotaChange, quotas_json
from gflow.wire.requests import read


def blueprint(services: Services) -> Blueprint:
    """`/quotas`."""
    routes = Blueprint("quotas", __name__)
    runtime = services.runtime
    engine = runtime.engine

    @routes.get("/quotas")
    async def look() -> Response:
        query.allow()
        return answer(quotas_json(engine.quotas))

    @routes.put("/quotas")
    async def change() -> Response:
        query.allow()
        asked = read(QuotaChange, await json_body())
        runtime.check_open()
        outcome = engine.set_quota(asked.scope, asked.name, asked.limits.limits())
        await runtime.durable(runtime.commit(outcome))
        return answer({"scope": asked.scope, "name": asked.name or "", "overrides": _overrides()})

    @routes.delete("/quotas")
    async def remove() -> Response:
        query.allow("scope", "name")
        scope, name = query.text("scope") or "", query.text("name")
        runtime.check_open()
        await runtime.durable(runtime.commit(engine.remove_quota(scope, name)))
        return answer({"scope": scope, "name": name or "", "removed": True, "overrides": _overrides()})

    def _overrides() -> dict[str, object]:
        return table_to_map(engine.quotas.overrides)

    return routes
