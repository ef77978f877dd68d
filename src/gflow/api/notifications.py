"""Who is told of events, and how that goes: `GET /notifications`; and, for administrators, tests and redeliveries."""

from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer
from gflow.api.body import json_body
from gflow.api.services import Services
from gflow.wire.requests import NotificationTest, Redelivery, read


def blueprint(services: Services) -> Blueprint:
    """Routes about notifications."""
    routes = Blueprint("notifications", __name__)
    runtime = services.runtime

    @routes.get("/notifications")
    async def status() -> Response:
        query.allow()
        notifications = services.notifications
        return answer({**notifications.status(), "given_up": await notifications.given_up()})

    @routes.post("/notifications/test")
    async def test() -> Response:
        query.allow()
        wanted = read(NotificationTest, await json_body({}))
        runtime.check_open()
        return answer({"results": await services.notifications.test(wanted.target)})

    @routes.post("/notifications/redeliver")
    async def redeliver() -> Response:
        query.allow()
        wanted = read(Redelivery, await json_body())
        runtime.check_open()
        return answer(await services.notifications.redeliver(wanted.id))

    return routes
