"""quart, narrowed to what this API uses, which halves what it costs to answer a request.

- One task answers a request, not three: the body is read by whoever asks for it, and the server cancels the answer when
  its client hangs up (`gflow.daemon.hangup`). Under a server that cannot do that, quart's own way is kept.
- No sessions, no hooks (`before_request` and the like), no signals, and the `Host` header chooses nothing.
- Routes are for recognising a path, not for writing one: what werkzeug compiles for the latter takes a twentieth of the
  time a daemon needs to start.
- Before a handler runs, the gate says who calls and whether he may use the verb; what came of it is in the audit log.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, cast

import trio
from quart import Response, request
from quart.ctx import RequestContext
from quart.routing import QuartRule
from quart.sessions import NullSession, SessionInterface
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioBody, TrioRequest
from werkzeug.routing import IntegerConverter, MapAdapter

from gflow.api.audit import Trail
from gflow.api.body import MAX_BODY_BYTES
from gflow.api.callers import Caller
from gflow.api.crowd import Crowd, Leave
from gflow.api.gate import Gate, check
from gflow.api.refusals import Refusals
from gflow.daemon.hangup import HANG_UP

_LEAVE = "gflow.leave"
"""In the scope of a request: what gives back the place it has taken in the crowd."""

_Receive = Callable[[], Awaitable[Any]]


class _Body(TrioBody):
    """A body that is received while it is awaited, if `receive` is given."""

    receive: _Receive | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        if self.receive is None:
            return super().__await__()
        return self._received(self.receive).__await__()

    async def _received(self, receive: _Receive) -> bytes:
        while self._must_raise is None and not self._complete.is_set():
            message = await receive()
            if message["type"] == "http.disconnect":
                await trio.sleep_forever()  # the answer is being cancelled
            self.append(message["body"])
            if not message["more_body"]:
                self.set_complete()
        if self._must_raise is not None:
            raise self._must_raise
        return bytes(self._data)


class _Request(TrioRequest):
    """`caller` is who sent it. For the audit log, in words: `of_others` is what of other users' it acts on, `denied`
    has refusals of some of what it asked for."""

    body: _Body
    body_class = _Body
    caller: Caller

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.of_others: list[str] = []
        self.denied: list[str] = []


class _Exchange(TrioASGIHTTPConnection):
    """One request and its answer."""

    async def __call__(self, receive: _Receive, send: Any) -> None:
        cancel_on_hang_up = cast(
            Callable[[trio.CancelScope], None] | None, (self.scope.get("extensions") or {}).get(HANG_UP)
        )
        if cancel_on_hang_up is None:
            await super().__call__(receive, send)
            return
        request = cast(_Request, self._create_request_from_scope(send))
        request.body.receive = receive
        try:
            await self._answer(request, send, cancel_on_hang_up)
        finally:
            leave = cast(Leave | None, cast(dict[str, Any], self.scope).pop(_LEAVE, None))
            if leave is not None:
                leave()

    async def _answer(
        self, request: _Request, send: Any, cancel_on_hang_up: Callable[[trio.CancelScope], None]
    ) -> None:
        with trio.CancelScope() as scope:
            cancel_on_hang_up(scope)
            response = await self.app.handle_request(request)
            timeout = self.app.config["RESPONSE_TIMEOUT"]
            if isinstance(response, Response) and response.timeout != Ellipsis:
                timeout = response.timeout
            if timeout is not None:
                scope.deadline = trio.current_time() + timeout
            await self._send_response(send, response)


class _NoSessions(SessionInterface):
    _none = NullSession()

    async def open_session(self, *_ignored: object) -> NullSession:
        return self._none


class _Id(IntegerConverter):
    """Ids are written in the usual digits, and no id has more than these."""

    regex = "[0-9]{1,18}"


def _writes_no_paths(*_ignored: object, **_values: object) -> tuple[str, str]:
    raise NotImplementedError("no path is written by its route here")


class _Rule(QuartRule):
    """A route that recognises paths."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:  # noqa: ARG002
        return _writes_no_paths


def _body_bytes() -> int:
    """How long the body of the request is said to be: one in chunks may be of any length."""
    if "Transfer-Encoding" in request.headers:
        return MAX_BODY_BYTES
    return request.content_length or 0


class Framework(QuartTrio):
    """The application class."""

    asgi_http_class = _Exchange
    request_class = _Request
    url_rule_class = _Rule  # type: ignore[assignment]
    session_interface = _NoSessions()  # type: ignore[assignment]
    gate: Gate | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._crowd = Crowd()
        self._refusals = Refusals()
        self.url_map.converters["int"] = _Id

    def create_url_adapter(self, request: Any) -> MapAdapter | None:
        """Paths and methods alone say which route it is."""
        if request is None:
            return None
        return self.url_map.bind(
            "localhost", path_info=request.path, default_method=request.method, query_args=request.query_string.decode()
        )

    async def full_dispatch_request(self, request_context: RequestContext | None = None) -> Any:
        """The route's answer, or that of an error handler."""
        asked = cast(_Request, request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001
        peer = (cast(dict[str, Any], asked.scope).get("state") or {}).get("peer")
        trail = Trail(asked.method, asked.path, peer, asked.of_others, asked.denied, self._refusals)
        result: Any
        try:
            try:
                if self.gate is not None:
                    await self._let_in(self.gate, asked, trail)
                result = await self.dispatch_request(request_context)
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - there is a handler for each
                trail.refusal = error
                result = await self.handle_user_exception(error)
            response = await self.make_response(result)
            trail.status = response.status_code
        finally:
            trail.end()  # also of a request whose client has hung up before the answer
        return response

    async def _let_in(self, gate: Gate, asked: _Request, trail: Trail) -> None:
        """Find out who calls; a route that there is not is for `dispatch_request` to tell."""
        assert trail.peer is not None
        asked.caller = trail.who = await gate.caller(asked, trail.peer)
        rule = gate.rule(asked.endpoint)
        if rule is not None:
            trail.rule = rule
            check(rule, asked.caller, asked.method)
        if asked.endpoint is not None:
            scope = cast(dict[str, Any], asked.scope)
            scope[_LEAVE] = await self._crowd.enter(asked.endpoint, asked.caller, _body_bytes())

    async def do_teardown_request(self, *_ignored: object) -> None:
        """Nothing is set up for a request."""
