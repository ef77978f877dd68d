"""`/tokens`: made, listed and revoked over the Unix socket; users their own, administrators everybody's."""

import secrets

from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer
from gflow.api.body import json_body
from gflow.api.callers import Caller, caller, check_user_of
from gflow.api.services import Services
from gflow.api.users import NO_USER
from gflow.core.errors import Forbidden
from gflow.core.tokens import SECRET_BYTES, Wanted
from gflow.wire.requests import read
from gflow.wire.tokens import TokenRequest, token_json


def blueprint(services: Services) -> Blueprint:
    """Routes about tokens. The text of one is in the answer that makes it, and nowhere else."""
    routes = Blueprint("tokens", __name__)
    runtime, tokens = services.runtime, services.tokens

    @routes.get("/tokens")
    async def list_tokens() -> Response:
        query.allow()
        who, wall = caller(), runtime.clock().wall
        found = sorted(tokens.entries.values(), key=lambda token: token.id)
        return answer([token_json(token, wall) for token in found if who.admin or token.user == who.name])

    @routes.post("/tokens")
    async def create() -> Response:
        query.allow()
        asked, who = read(TokenRequest, await json_body({})), caller()
        user = who.name if asked.user is None else asked.user
        _check_maker(who, user, admin=asked.admin)
        person = await services.users.find(user)
        if asked.admin and not person.admin:
            raise Forbidden(f"{user} is no administrator, so a token cannot make one of {user}; see access.admins")
        runtime.check_open()
        wanted = Wanted(user, asked.name, asked.expires_secs, asked.read_only, asked.admin)
        now, secret = runtime.clock(), secrets.token_urlsafe(SECRET_BYTES)
        text, token, outcome = tokens.issue(wanted, secret, who.name, now.wall)
        await runtime.durable(runtime.commit(outcome))
        made = {"token": text, **token_json(token, now.wall), "user_is_known": person.uid != NO_USER}
        response = answer(made, 201)
        response.headers["Cache-Control"] = "no-store"
        return response

    @routes.delete("/tokens/<int:token_id>")
    async def revoke(token_id: int) -> Response:
        query.allow()
        who, wall = caller(), runtime.clock().wall
        token = tokens.get(token_id)
        check_user_of(who, token)
        runtime.check_open()
        await runtime.durable(runtime.commit(tokens.revoke(token_id)))
        return answer(token_json(token, wall))

    return routes


def _check_maker(who: Caller, user: str, *, admin: bool) -> None:
    if not who.admin and user != who.name:
        raise Forbidden(f"Only an administrator may make a token for {user}; you are {who.name}")
    if not who.admin and admin:
        raise Forbidden(f"Only an administrator may make a token for administrators; you are {who.name}")
