"""Where every request is let in, or not: who it is from, and whether its rule allows that.

The kernel names whoever comes by the Unix socket, and nothing that a request says changes that, not even a token. Over
TCP a token says who it is, where `daemon.auth` is not "none".
"""

from collections.abc import Callable, Mapping

from quart import Request

from gflow.api import browsers
from gflow.api.access import LOOKING, Rule, Who
from gflow.api.callers import ANYBODY, Caller
from gflow.api.users import MOST_KEPT, NO_USER, Person, Users
from gflow.core.errors import Forbidden, Unauthorized
from gflow.core.tokens import Tokens
from gflow.daemon.peer import Peer, Stranger

UNKNOWN = (
    "This request needs a token (Authorization: Bearer ...), and has none that is good: it may be missing, unknown, "
    "expired or revoked"
)
_SCHEME = "bearer "


class Gate:
    """`rules` are by endpoint. auth: "none" lets everybody in who comes over TCP, as nobody in particular."""

    def __init__(
        self, users: Users, tokens: Tokens, rules: Mapping[str, Rule], wall: Callable[[], float], auth: str | None
    ) -> None:
        self._users = users
        self._tokens = tokens
        self._rules = rules
        self._wall = wall
        self._auth = auth
        self._callers: dict[int, tuple[Person, Caller]] = {}

    async def caller(self, request: Request, peer: Peer | Stranger) -> Caller:
        """Who sent the request. Raises Unauthorized, Forbidden, Unavailable."""
        if isinstance(peer, Peer):
            return self._local(await self._users.find(peer.uid))
        browsers.check(request, peer)
        if self._auth == "none":
            return ANYBODY
        return await self._bearer(request)

    def _local(self, person: Person) -> Caller:
        """A user of this machine; the same one for as long as nothing else is known of him."""
        known = self._callers.get(person.uid)
        if known is not None and known[0] is person:
            return known[1]
        who = Caller(person.name, person.uid, person.admin)
        if len(self._callers) >= MOST_KEPT:
            self._callers.clear()
        self._callers[person.uid] = person, who
        return who

    async def _bearer(self, request: Request) -> Caller:
        given = request.headers.getlist("Authorization")
        text = given[0] if len(given) == 1 else ""
        secret = text[len(_SCHEME) :].strip() if text[: len(_SCHEME)].lower() == _SCHEME else ""
        token = self._tokens.find(secret, self._wall())
        if token is None:
            raise Unauthorized(UNKNOWN)
        person = await self._users.find(token.user if token.uid is None else token.uid)
        if (person.name, person.uid) != (token.user, NO_USER if token.uid is None else token.uid):
            raise Unauthorized(UNKNOWN)  # the name is somebody else's now
        admin = token.admin and person.admin
        return Caller(token.user, person.uid, admin, token=token.id, read_only=token.read_only)

    def rule(self, endpoint: str | None) -> Rule | None:
        """The rule of a route, None where there is no route."""
        return None if endpoint is None else self._rules[endpoint]


def check(rule: Rule, who: Caller, method: str) -> None:
    """Raise Forbidden unless `who` may use a verb with this rule, as far as it does not depend on whose job it is."""
    if who.read_only and method not in LOOKING:
        raise Forbidden("This token is read-only: it may look, and change nothing")
    if rule.local and who.remote:
        raise Forbidden(f"To {rule.what}, use the Unix socket; over TCP that cannot be done")
    if rule.who is Who.ADMIN and who.anonymous:
        raise Forbidden(
            f"Only an administrator may {rule.what}, and over TCP nobody knows who you are; use the Unix socket"
        )
    is_operator = who.admin or (who.anonymous and rule.who is Who.OPERATOR)
    if rule.who in (Who.ADMIN, Who.OPERATOR) and not is_operator:
        raise Forbidden(f"Only an administrator may {rule.what}; you are {who.name}{_why(who)}")


def _why(who: Caller) -> str:
    """What somebody may wonder about whose token is not for administrators."""
    return ", and your token is none for administrators" if who.token is not None else ""
