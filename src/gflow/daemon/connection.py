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
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from gflow.daemon.requests import Requests


class _Http1(H11Protocol):
    async def _check_protocol(self, event: h11.Request) -> None:
        if event.http_version not in (b"1.0", b"1.1"):
            raise ConnectionAbortedError(f"HTTP/{event.http_version.decode()} is not spoken here")

    async def _create_stream(self, request: h11.Request) -> None:
        """hypercorn's way without its look for an offer to upgrade."""
        if not _is_readable(request.target):
            await self._send_error_response(400)
            await self.send(Closed())
            return
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )


def _is_readable(target: bytes) -> bool:
    """Whether the framework can make a path of it: anything but a path may be a URL that is none."""
    if target.startswith(b"/"):
        return True
    with contextlib.suppress(ValueError):
        return bool(urlsplit(target.decode("latin-1")).path)
    return False


class Connection(TCPServer):
    """Serves one accepted stream when awaited. `idle_since` is when its last answer ended (trio time; never: busy)."""

    def __init__(
        self,
        app: ASGIWrapper,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        stream: trio.SocketStream,
    ) -> None:
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]
        self.idle_since = trio.current_time()
        self.socket = stream.socket
        self._head: bytes | None = None

    async def run(self) -> None:
        """Answer requests until the client or `shut` ends the connection: hypercorn's way without TLS and HTTP/2."""
        try:
            async with trio.open_nursery() as nursery:
                self.protocol = _Http1(  # type: ignore[assignment]
                    self.app,
                    self.config,
                    self.context,
                    Requests(nursery),  # type: ignore[arg-type]
                    ConnectionState(self.state),
                    False,
                    None,
                    None,
                    self.protocol_send,
                )
                await self._read_data()
        except OSError:
            pass
        finally:
            await self._close()

    async def _read_data(self) -> None:
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            while data := await self.stream.receive_some(MAX_RECV):
                await self.protocol.handle(RawData(bytes(data)))
            await self.protocol.handle(RawData(b""))
        await self.protocol.handle(Closed())

    def shut(self) -> None:
        """End both directions at once: the reader sees the end of the stream, a blocked sender an error."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Updated):
            self.idle_since = trio.current_time() if event.idle else math.inf
        elif isinstance(event, Closed):
            await self._send_head()
            if self._is_still_sent_to():
                self._let_them_finish()
                return
            self.shut()  # hypercorn's own way waits, and whoever asks for it is about to be cancelled
            await super().protocol_send(event)

    async def _send(self, data: bytes) -> None:
        if self._head is None and _waits_for_body(data):
            self._head = data
            return
        data = (self._head or b"") + data
        self._head = None
        if data:  # the end of a message of known length has no bytes of its own
            await self._write(data)

    async def _send_head(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            await self._write(head)

    async def _write(self, data: bytes) -> None:
        """hypercorn's way, but a lock that is free is taken without a step of the event loop."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self.send_lock.acquire_nowait()
        except trio.WouldBlock:
            await self.send_lock.acquire()
        try:
            with trio.CancelScope(shield=True):
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await self.protocol.handle(Closed())
            await trio.lowlevel.checkpoint()  # who sends on and on must let himself be told to stop
        finally:
            self.send_lock.release()

    def _is_still_sent_to(self) -> bool:
        """Whether the answer came before the end of the request, as it does when that is too large."""
        http1 = cast(_Http1, self.protocol)
        return not self.context.terminated.is_set() and http1.connection.their_state is h11.SEND_BODY

    def _let_them_finish(self) -> None:
        """Take what still comes and throw it away: clients that cannot send to the end often read no answer.

        That lasts until they hang up, or as long as a connection may be idle.
        """
        self.idle_since = trio.current_time()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)


def _waits_for_body(data: bytes) -> bool:
    """Whether this is the head of an answer of known length; hypercorn hands it over with its body or its end."""
    return data.startswith(b"HTTP/1.1 ") and b"\r\ncontent-length: " in data and data.endswith(b"\r\n\r\n")
