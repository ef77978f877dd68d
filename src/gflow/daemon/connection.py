"""One connection: hypercorn's, made cheaper and narrower.

- HTTP/1.1 and nothing else: an offer to upgrade to WebSocket or HTTP/2 is not taken, and a client that speaks cleartext
  HTTP/2 unasked, or what is no HTTP at all, is told so in the shape that all errors have, and hung up on.
- hypercorn starts and cancels a task around every request to close idle connections; here a connection remembers since
  when it is idle, and one task of the server looks at all of them.
- The head of an answer waits for its body, so that a small answer is one system call instead of two.
- hypercorn takes the end of what a client sends for a hang-up, and does not see it behind what it cannot take yet. Here
  what comes behind a request waits until that is answered, whoever sends no more gets his answers all the same, and a
  client that is gone is gone (`departures.py`) whatever it left behind.
- The last answer of a server that leaves says so (`Connection: close`), and a connection between two requests can be
  left open for another server to go on with.
"""

import contextlib
import math
import os
import select
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import cast
from urllib.parse import urlsplit

import h11
import msgspec
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from gflow.daemon.departures import Departures
from gflow.daemon.requests import Requests

_TAKING = (h11.IDLE, h11.SEND_BODY)
"""What a client can be doing for more of its request, or the next one, to be looked at."""

_NEWLINES = b"\r\n"

_NOTHING_MORE = (b"", False)

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

_MOST_COPIED = 64 * 1024
"""Up to so many bytes go out together with the head before them; copying more costs more than a second call."""


_TOO_LARGE = 431
"""h11's hint about a head that is longer than it may be."""

_MOST_SAID = 300


class _Http1(H11Protocol):
    connection: h11.Connection
    _is_head = False

    async def take(self, data: bytes) -> None:
        """Go on with what came from the client; b"": it sends no more."""
        if data[:1] in (b"\r", b"\n") and self._is_between_requests():
            data = data.lstrip(_NEWLINES)
            if not data:
                return
        self.connection.receive_data(data)
        await self._handle_events()

    async def take_rest(self) -> None:
        """Go on with what came behind a request, now that this is answered."""
        rest, is_all = self.connection.trailing_data
        if rest[:1] in (b"\r", b"\n") and self.connection.their_state is h11.IDLE:
            self.connection = h11.Connection(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)
            if rest := rest.lstrip(_NEWLINES):
                self.connection.receive_data(rest)
            if is_all:
                self.connection.receive_data(b"")
        await self._handle_events()

    def _is_between_requests(self) -> bool:
        """Where empty lines are to be skipped (RFC 9112, 2.2)."""
        return self.connection.their_state is h11.IDLE and not self.connection.trailing_data[0]

    def holds_more(self) -> bool:
        """Whether something came behind a request that is not answered yet."""
        return self.connection.their_state not in _TAKING and bool(self.connection.trailing_data[0])

    def holds_half(self) -> bool:
        """Whether a request has begun, and its head is not there yet."""
        return self.connection.their_state is h11.IDLE and bool(self.connection.trailing_data[0])

    def holds_nothing(self) -> bool:
        """Whether all that came is answered, and more may come."""
        return self.connection.their_state is h11.IDLE and self.connection.trailing_data == _NOTHING_MORE

    async def stream_send(self, event: StreamEvent) -> None:
        """hypercorn's way, but whose connection ends with this answer is told, and sends no further request."""
        if isinstance(event, Response) and self.context.terminated.is_set():
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _handle_events(self) -> None:
        """hypercorn's way, but it ends with the request instead of waiting until that is answered."""
        while self.connection.their_state in _TAKING:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._refuse(error.error_status_hint, f"This is no request of HTTP/1.1: {error}")
                await self.send(Closed())
                return
            if isinstance(event, h11.Request):
                await self.send(Updated(idle=False))
                await self._create_stream(event)
            elif isinstance(event, h11.Data) and self.stream is not None:
                await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
            elif isinstance(event, h11.EndOfMessage) and self.stream is not None:
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
            else:  # nothing more came, or the answer is out before the end of the request
                return

    async def _refuse(self, status: int, sentence: str) -> None:
        """Answer what does not get as far as the application; the connection is to be closed then."""
        code = "too_large" if status == _TOO_LARGE else "malformed"
        body = msgspec.json.encode({"error": sentence[:_MOST_SAID], "code": code})
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        answer: list[h11.Event] = [h11.Response(status_code=status, headers=headers)]
        if not (self._is_head and self.connection.our_state is h11.SEND_RESPONSE):
            answer.append(h11.Data(data=body))
        # in one piece: an application that answers half a request is not to come between
        sent = [self.connection.send(event) or b"" for event in (*answer, h11.EndOfMessage())]
        await self.send(RawData(b"".join(sent)))

    def _what_is_wrong_with(self, request: h11.Request) -> tuple[int, str] | None:
        """Status and sentence of the answer to a request that no application could do anything with."""
        if request.http_version not in (b"1.0", b"1.1"):
            return 505, f"HTTP/{request.http_version.decode()} is not spoken here; use HTTP/1.1"
        if not _is_readable(request.target):
            return 400, "The target of the request is no path and no URL"
        if _head_bytes(request) > self.config.h11_max_incomplete_size:
            return _TOO_LARGE, f"The head of the request is larger than {self.config.h11_max_incomplete_size >> 10} KiB"
        return None

    async def _create_stream(self, request: h11.Request) -> None:
        """hypercorn's way without its look for an offer to upgrade."""
        self._is_head = request.method == b"HEAD"
        if (wrong := self._what_is_wrong_with(request)) is not None:
            await self._refuse(*wrong)
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


def _head_bytes(request: h11.Request) -> int:
    """About what the head of a request took; h11 looks at heads that come in pieces only."""
    return len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)


def _is_readable(target: bytes) -> bool:
    """Whether the framework can make a path of it: anything but a path may be a URL that is none."""
    if target.startswith(b"/"):
        return True
    with contextlib.suppress(ValueError):
        return bool(urlsplit(target.decode("latin-1")).path)
    return False


class Connection(TCPServer):
    """Serves one accepted stream when awaited. `sock` is its socket, which may be below TLS.

    In trio time: `idle_since` is when its last answer ended (never: busy), `sends_since` since when it has been trying
    to send what it sends now (never: nothing is being sent). `left` is its socket once it was left to another server.
    """

    def __init__(
        self,
        app: ASGIWrapper,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        stream: Stream,
        sock: trio.socket.SocketType,
        departures: Departures,
    ) -> None:
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]
        self.idle_since = trio.current_time()
        self.sends_since = math.inf
        self.socket = sock
        self._half_since = math.inf
        self.has_asked = False
        self._departures = departures
        self._head: bytes | None = None
        self._is_over = False
        self._drops = False
        self._answered = trio.Event()
        self._is_plain = isinstance(stream, trio.SocketStream)
        self._reading = trio.CancelScope()
        self._leaves = False
        self.left: socket.socket | None = None

    async def run(self) -> None:
        """Answer requests until the client or `shut` ends the connection: hypercorn's way without HTTP/2."""
        try:
            async with trio.open_nursery() as nursery:
                self.protocol = _Http1(  # type: ignore[assignment]
                    self.app,
                    self.config,
                    self.context,
                    Requests(nursery, self._while_there),  # type: ignore[arg-type]
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
            while not self._is_over:
                data = None
                with trio.CancelScope() as self._reading:
                    self._stop_reading()
                    data = bytes(await self.stream.receive_some(MAX_RECV))
                if data is None:
                    self._leave_open()
                    break
                if not self._drops:
                    await self._take(data)
                if not data:
                    break
        await self.protocol.handle(Closed())

    async def _take(self, data: bytes) -> None:
        """Everything up to the last request that can be answered before more has to come."""
        http1 = cast(_Http1, self.protocol)
        await http1.take(data)
        while not self._is_over and not self._drops and (http1.holds_more() or (not data and http1.stream is not None)):
            self._answered = trio.Event()
            with self._while_there():
                await self._answered.wait()
            await http1.take_rest()

    @contextlib.contextmanager
    def _while_there(self) -> Iterator[None]:
        """What is done inside ends when the client hangs up; so does the connection, by BrokenResourceError."""
        is_tcp = self.socket.family != socket.AF_UNIX
        with self._departures.ending(self.socket.fileno(), tcp=is_tcp) as waiting:
            yield
        if waiting.cancelled_caught:
            self._end()
            raise trio.BrokenResourceError("the client hung up")

    @property
    def can_leave(self) -> bool:
        """Whether it can be left to another server, now or after its answer: what TLS knows of it cannot."""
        return self._is_plain and not self._drops and not self._is_over

    def leave(self) -> None:
        """End as soon as no request is under way, and leave the socket open, with whatever comes next, as `left`."""
        self._leaves = True
        self._stop_reading()

    def _stop_reading(self) -> None:
        """If this is to leave, and can now. What has been read by then is still answered."""
        idle = self._leaves and self.can_leave and self.idle_since < math.inf and hasattr(self, "protocol")
        if idle and cast(_Http1, self.protocol).holds_nothing():
            self._reading.cancel()

    def _leave_open(self) -> None:
        self.left = socket.socket(fileno=os.dup(self.socket.fileno()))
        self.socket.close()  # before anybody shuts it down, which would end it for both

    def has_unread(self) -> bool:
        """Whether something came that is not read yet."""
        if self.socket.fileno() < 0:  # closed, and about to end
            return False
        looked = select.poll()  # select() has only so many descriptors
        looked.register(self.socket.fileno(), select.POLLIN)
        return any(events & select.POLLIN for _, events in looked.poll(0))

    def _end(self) -> None:
        """Nobody is there any more; who reads, sends or waits is told."""
        self._is_over = True
        self._answered.set()
        self.shut()

    def shut(self) -> None:
        """End both directions at once: the reader sees the end of the stream, a blocked sender an error."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def look(self, now: float) -> float:
        """Since when half of a request's head was there at every look, or it has not begun with its first (never:
        neither)."""
        if not self.has_asked:
            return self.idle_since
        waits = self.idle_since < math.inf and not self._drops and hasattr(self, "protocol")
        half = waits and cast(_Http1, self.protocol).holds_half()
        self._half_since = min(self._half_since, now) if half else math.inf
        return self._half_since

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Updated):
            self.idle_since = trio.current_time() if event.idle else math.inf
            self.has_asked = True
            if event.idle:
                self._answered.set()
                self._stop_reading()
        elif isinstance(event, Closed):
            await self._send_head()
            if self._is_still_sent_to():
                self._let_them_finish()
                return
            self._end()  # hypercorn's own way waits, and whoever asks for it is about to be cancelled
            await super().protocol_send(event)

    async def _send(self, data: bytes) -> None:
        if self._head is None and _waits_for_body(data):
            self._head = data
            return
        if len(data) > _MOST_COPIED:
            await self._send_head()
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
        self.sends_since = trio.current_time()
        try:
            with trio.CancelScope(shield=True):
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):  # busy: with its own end
            self._end()
            await self.protocol.handle(Closed())
            await trio.lowlevel.checkpoint()  # who sends on and on must let himself be told to stop
        finally:
            self.sends_since = math.inf
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
        self._drops = True
        self._answered.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)


def _waits_for_body(data: bytes) -> bool:
    """Whether this is the head of an answer of known length; hypercorn hands it over with its body or its end."""
    return data.startswith(b"HTTP/1.1 ") and b"\r\ncontent-length: " in data and data.endswith(b"\r\n\r\n")
