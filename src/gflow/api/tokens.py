"""`/tokens`: made, listed and revoked over the Unix socket; users their own, administrators everybody's.

Those of others are made by root and the daemon's own user only.
"""

import os
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
        person = await services.users.find(who.uid if user == who.name else user)
        if asked.admin and not person.admin:
            raise Forbidden(f"{user} is no administrator, so a token cannot make one of {user}; see access.admins")
        runtime.check_open()
        uid = None if person.uid == NO_USER else person.uid
        wanted = Wanted(user, uid, asked.name, asked.expires_secs, asked.read_only, asked.admin)
        now, secret = runtime.clock(), secrets.token_urlsafe(SECRET_BYTES)
        text, token, outcome = tokens.issue(wanted, secret, who.name, now.wall)
        await runtime.durable(runtime.commit(outcome))
        made = {"token": text, **token_json(token, now.wall), "user_is_known": uid is not None}
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
        seq = runtime.commit(tokens.revoke(token_id))
        runtime.bus.stir()
        await runtime.durable(seq)
        return answer(token_json(token, wall))

    return routes


def _check_maker(who: Caller, user: str, *, admin: bool) -> None:
    """Only who could be them anyway makes tokens for others: such a token may run programs as them."""
    if user != who.name and who.uid not in (0, os.geteuid()):
        raise Forbidden(f"Only root and the daemon's own user may make a token for {user}; you are {who.name}")
    if admin and not who.admin:
        raise Forbidden(f"Only an administrator may make a token for administrators; you are {who.name}")
