"""One connection: hypercorn's, made cheaper and narrower.

- HTTP/1.1 and nothing else: an offer to upgrade to WebSocket or HTTP/2 is not taken, and a client that speaks cleartext
  HTTP/2 unasked is hung up on.
- hypercorn starts and cancels a task around every request to close idle connections; here a connection remembers since
  when it is idle, and one task of the server looks at all of them.
- The head of an answer waits for its body, so that a small answer is one system call instead of two.
"""

import contextlib
import math
import socket
from typing import cast
from urllib.parse import urlsplit

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio import tcp_server
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import LifespanState


class _Http1(H11Protocol):
    async def _check_protocol(self, event: h11.Request) -> None:
        if event.http_version not in (b"1.0", b"1.1"):
            raise ConnectionAbortedError(f"HTTP/{event.http_version.decode()} is not spoken here")

    async def _create_stream(self, request: h11.Request) -> None:
        if not _is_readable(request.target):
            await self._send_error_response(400)
            await self.send(Closed())
            return
        await super()._create_stream(_without_upgrade(request))


def _is_readable(target: bytes) -> bool:
    """Whether the framework can make a path of it: anything but a path may be a URL that is none."""
    if target.startswith(b"/"):
        return True
    with contextlib.suppress(ValueError):
        return bool(urlsplit(target.decode("latin-1")).path)
    return False


def _without_upgrade(request: h11.Request) -> h11.Request:
    kept = [(name, value) for name, value in request.headers if name != b"upgrade"]
    if len(kept) == len(request.headers):
        return request
    return h11.Request(method=request.method, target=request.target, headers=kept, http_version=request.http_version)


def _speak_http1(*of_a_wrapper: object) -> H11Protocol:
    """Stands in for hypercorn's choice of a protocol; the last argument is what TLS negotiated."""
    return _Http1(*of_a_wrapper[:-1])  # type: ignore[arg-type]


# The server looks the class up in its module; there is no parameter for it.
tcp_server.ProtocolWrapper = _speak_http1  # type: ignore[attr-defined, assignment]


class _IdleSince:
    """Stands in for hypercorn's idle task: it only notes when the idle time began (trio time; never: busy)."""

    def __init__(self) -> None:
        self.since = trio.current_time()

    async def restart(self, *_ignored: object) -> None:
        self.since = trio.current_time()

    async def stop(self) -> None:
        self.since = math.inf


class Connection(tcp_server.TCPServer):
    """Serves one accepted stream when awaited."""

    def __init__(
        self,
        app: ASGIWrapper,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        stream: trio.SocketStream,
    ) -> None:
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]
        self.idle = _IdleSince()
        self.idle_task = self.idle  # type: ignore[assignment]
        self.socket = stream.socket
        self._head: bytes | None = None

    def shut(self) -> None:
        """End both directions at once: the reader sees the end of the stream, a blocked sender an error."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if self._head is None and _waits_for_body(event.data):
                self._head = event.data
                return
            event = RawData((self._head or b"") + event.data)
            self._head = None
            if not event.data:
                return  # the end of a message of known length has no bytes of its own
        elif self._head is not None:
            head, self._head = self._head, None
            await super().protocol_send(RawData(head))
        if isinstance(event, Closed):
            if self._is_still_sent_to():
                self._let_them_finish()
                return
            self.shut()  # hypercorn's own way waits, and whoever asks for it is about to be cancelled
        await super().protocol_send(event)

    def _is_still_sent_to(self) -> bool:
        """Whether the answer came before the end of the request, as it does when that is too large."""
        http1 = cast(_Http1, self.protocol)
        return not self.context.terminated.is_set() and http1.connection.their_state is h11.SEND_BODY

    def _let_them_finish(self) -> None:
        """Take what still comes and throw it away: clients that cannot send to the end often read no answer.

        That lasts until they hang up, or as long as a connection may be idle.
        """
        self.idle.since = trio.current_time()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)


def _waits_for_body(data: bytes) -> bool:
    """Whether this is the head of an answer of known length; hypercorn hands it over with its body or its end."""
    return data.startswith(b"HTTP/1.1 ") and b"\r\ncontent-length: " in data and data.endswith(b"\r\n\r\n")
