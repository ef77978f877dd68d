"""quart, narrowed to what this API uses, which halves what it costs to answer a request.

- One task answers a request, not three: the body is read by whoever asks for it, and the server cancels the answer when
  its client hangs up (`gflow.daemon.hangup`). Under a server that cannot do that, quart's own way is kept.
- No sessions, no hooks (`before_request` and the like), no signals, and the `Host` header chooses nothing.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, cast

import trio
from quart import Response, request
from quart.ctx import RequestContext
from quart.sessions import NullSession, SessionInterface
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioBody, TrioRequest
from werkzeug.routing import IntegerConverter, MapAdapter

from gflow.api import browsers
from gflow.api.body import MAX_BODY_BYTES
from gflow.api.crowd import Crowd, Leave
from gflow.daemon.hangup import HANG_UP
from gflow.daemon.peer import Stranger

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
    body: _Body
    body_class = _Body


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


def _body_bytes() -> int:
    """How long the body of the request is said to be: one in chunks may be of any length."""
    if "Transfer-Encoding" in request.headers:
        return MAX_BODY_BYTES
    return request.content_length or 0


class Framework(QuartTrio):
    """The application class."""

    asgi_http_class = _Exchange
    request_class = _Request
    session_interface = _NoSessions()  # type: ignore[assignment]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._crowd = Crowd()
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
        result: Any
        try:
            scope = cast(dict[str, Any], request.scope)
            if isinstance(peer := (scope.get("state") or {}).get("peer"), Stranger):
                browsers.check(request, peer)
            if request.url_rule is not None:
                scope[_LEAVE] = await self._crowd.enter(request.url_rule.endpoint, peer, _body_bytes())
            result = await self.dispatch_request(request_context)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - there is a handler for each
            result = await self.handle_user_exception(error)
        return await self.make_response(result)

    async def do_teardown_request(self, *_ignored: object) -> None:
        """Nothing is set up for a request."""
