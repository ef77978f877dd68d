"""The HTTP application: one blueprint per resource, one shape of errors, nothing else."""

from werkzeug.exceptions import HTTPException

from gflow.api import (
    access,
    answers,
    control,
    ending,
    events,
    gpus,
    jobs,
    logs,
    metrics,
    notifications,
    openapi,
    queue,
    quotas,
    redo,
    reservations,
    state,
    submissions,
    tokens,
    watching,
)
from gflow.api.body import BODY_SECS, MAX_BODY_BYTES
from gflow.api.framework import Framework
from gflow.api.gate import Gate
from gflow.api.services import Services
from gflow.core.errors import Refused

_RESOURCES = (
    submissions,
    jobs,
    redo,
    ending,
    watching,
    queue,
    logs,
    events,
    control,
    gpus,
    quotas,
    reservations,
    state,
    notifications,
    metrics,
    openapi,
    tokens,
)


def create_app(services: Services) -> Framework:
    """The application over `services`. It has no lifespan tasks: a crash of one would go unnoticed."""
    app = Framework("gflow", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["BODY_TIMEOUT"] = BODY_SECS
    for module in _RESOURCES:
        app.register_blueprint(module.blueprint(services))
    rules = access.rules_of(routes(app))
    wall = services.runtime.clock
    app.gate = Gate(services.users, services.tokens, rules, lambda: wall().wall, services.auth)
    app.register_error_handler(Refused, answers.on_refused)
    app.register_error_handler(HTTPException, answers.on_http_error)
    app.register_error_handler(Exception, answers.on_crash)
    return app


def routes(app: Framework) -> list[tuple[str, str, str]]:
    """Endpoint, method and path of every route."""
    found = []
    for rule in app.url_map.iter_rules():
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        found += [(rule.endpoint, method, rule.rule) for method in sorted(methods)]
    return found
