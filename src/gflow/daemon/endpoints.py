"""Sockets and the accept loop.

hypercorn's own `serve` ends at one malformed packet, hangs at shutdown on a client that stopped reading, and tells
nothing about who called; so the sockets and the loop are ours, and hypercorn handles one connection at a time.
"""

import contextlib
import logging
import os
import resource
import socket
import ssl
import stat
import sys
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, LifespanState

from gflow.core.tokens import hidden
from gflow.daemon.connection import Connection, Stream
from gflow.daemon.departures import Departures
from gflow.daemon.flood import Flood
from gflow.daemon.loopback import network_of
from gflow.daemon.peer import Peer, Stranger, address_of, peer_of
from gflow.daemon.places import Places
from gflow.daemon.tls import secured

log = logging.getLogger(__name__)

BACKLOG = 512
GRACE_SECS = 3.0
"""What answers under way get at shutdown before their connections are closed."""

FRESH_SECS = 0.25
"""How long a connection may take to bring a request after the daemon has stopped accepting others."""

MAX_HEADER_BYTES = 64 * 1024
IDLE_SECS = 300.0

HEAD_SECS = 20.0
"""A request whose head takes longer to arrive is not waited for, nor the first of a connection."""

STALL_SECS = 3600.0
"""So long an answer is kept for a client that reads no further, as a pager does while somebody reads."""

LOOK_SECS = 5.0
"""How often connections are looked at for one of these."""

MAX_CONNECTIONS, OF_ONE, KEPT = 4096, 1024, 64
"""Open connections in all (at most half of the files the daemon may have open), those of one user, or over TCP of one
network (`network_of`), and those of the first that are for administrators only; `Places` says what if they are few."""

TURN_AWAY_SECS = 1.0
TURNED_AWAY = 64
"""How long one that finds no place has for hearing so, and how many may be about it."""

MOST_CHARS = 200
"""Of an error in the log; it may quote what the client sent."""

_TURNED_AWAY = b'{"error":"Too many connections are open, yours or in all; close some, or try again","code":"too_many"}'
_NO_PLACE = (
    b"HTTP/1.1 429 \r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_TURNED_AWAY), _TURNED_AWAY)
)


class SocketInUse(Exception):
    """Another daemon answers on the socket."""


def bind_unix(path: Path, mode: int = 0o600) -> socket.socket:
    """A listening socket at `path`, with that mode from birth. The caller holds the lock of the data directory.

    A socket file nobody listens on is replaced. Raises SocketInUse if somebody does, OSError if it cannot be made.
    """
    _clear_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(listener.fileno(), mode)  # before bind: Linux gives the file the mode of the descriptor
        umask = os.umask(0)
        try:
            listener.bind(os.fspath(path))
        except OSError as error:
            raise OSError(f"cannot listen on {path}: {error.strerror or error}") from None
        finally:
            os.umask(umask)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _clear_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketInUse(f"{path} exists and is not a socket; remove it or choose another with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except (BlockingIOError, TimeoutError):
            raise SocketInUse(f"another daemon listens on {path} and takes no connections") from None
        raise SocketInUse(f"pid {peer_of(probe).pid} already listens on {path}")


class ApiServer:
    """Serves an ASGI application on listening sockets until `close`.

    `stranger` is who comes over TCP: it says by which names that may be addressed. `tls` is put around TCP. Both may be
    set anew, for connections to come. `connections` are those that another server has left (`hand_over`).
    """

    def __init__(
        self,
        app: ASGIFramework,
        listeners: list[socket.socket],
        *,
        stranger: Stranger | None = None,
        tls: ssl.SSLContext | None = None,
        connections: Sequence[socket.socket] = (),
    ) -> None:
        self._app = ASGIWrapper(app)
        self.stranger = stranger or Stranger(frozenset())
        self.tls = tls
        self._listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in listeners]
        self._connected = [trio.SocketStream(trio.socket.from_stdlib_socket(sock)) for sock in connections]
        self._config = HypercornConfig()
        self._config.keep_alive_max_requests = sys.maxsize
        self._config.h11_max_incomplete_size = MAX_HEADER_BYTES
        self._config.include_date_header = False
        self._config.errorlog = logging.getLogger("hypercorn.error")  # no handler of its own: ours has every line
        self._context = WorkerContext(None)
        self._accepting = trio.CancelScope()
        self._all_accepted = trio.Event()
        self._open: set[Connection] = set()
        self._left: list[socket.socket] = []
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._places = Places(min(MAX_CONNECTIONS, files // 2), OF_ONE, KEPT)
        self._being_turned_away = 0
        self._hung_up = trio.Event()
        self._flood = Flood()
        self._connections: trio.Nursery
        self._departures: Departures

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `close` is called or the task is cancelled."""
        with self._flood, Departures() as self._departures:
            async with trio.open_nursery() as self._connections:
                self._connections.start_soon(self._departures.run)
                await self._accept(task_status)

    async def _accept(self, task_status: trio.TaskStatus[None]) -> None:
        with self._accepting:
            self._connections.start_soon(self._close_idle)
            for stream in self._connected:
                self._connections.start_soon(self._serve, stream, True)
            task_status.started()
            await trio.serve_listeners(self._serve, self._listeners, handler_nursery=self._connections)
        self._all_accepted.set()

    async def _serve(self, accepted: trio.SocketStream, has_asked: bool = False) -> None:
        peer = self._peer(accepted.socket)
        party, admin = _party(peer, accepted.socket)
        stranger = not isinstance(peer, Peer)
        if not self._places.has_room(party, admin=admin, stranger=stranger):
            await self._turn_away(accepted)
            return
        self._places.enter(party, stranger=stranger)
        try:
            stream = await self._secured(accepted)
            if stream is not None:
                await self._answer(stream, accepted.socket, peer, has_asked=has_asked)
        finally:
            self._places.leave(party, stranger=stranger)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await trio.aclose_forcefully(accepted)

    async def _turn_away(self, stream: trio.SocketStream) -> None:
        """Say that there is no place: behind what the client says first, or it would not get to read it.

        To whom speaks TLS it is not said: a handshake would cost more than a place does.
        """
        self._being_turned_away += 1
        try:
            if self._being_turned_away <= TURNED_AWAY and not self._is_for_tls(stream):
                with trio.move_on_after(TURN_AWAY_SECS), contextlib.suppress(trio.BrokenResourceError):
                    await stream.receive_some(MAX_HEADER_BYTES)
                    await stream.send_all(_NO_PLACE)
        finally:
            self._being_turned_away -= 1
            await trio.aclose_forcefully(stream)

    def _is_for_tls(self, accepted: trio.SocketStream) -> bool:
        return self.tls is not None and accepted.socket.family != socket.AF_UNIX

    async def _secured(self, accepted: trio.SocketStream) -> Stream | None:
        """What is spoken over: TCP goes through TLS if there is any. None if the client cannot."""
        if self.tls is None or not self._is_for_tls(accepted):
            return accepted
        return await secured(accepted, self.tls)

    async def _answer(
        self, stream: Stream, sock: trio.socket.SocketType, peer: Peer | Stranger, *, has_asked: bool
    ) -> None:
        state: LifespanState = {"peer": peer}
        connection = Connection(self._app, self._config, self._context, state, stream, sock, self._departures)
        connection.has_asked = has_asked
        self._open.add(connection)
        try:
            await connection
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
            pass
        except* Exception as errors:  # noqa: BLE001 - whatever a packet did to the parser, it did to this connection only
            log.info("connection dropped: %s", "; ".join(map(_in_brief, _leaves(errors))))
        finally:
            self._open.discard(connection)
            if connection.left is not None:
                self._left.append(connection.left)
            self._hung_up.set()

    def _peer(self, sock: trio.socket.SocketType) -> Peer | Stranger:
        if sock.family == socket.AF_UNIX:
            return peer_of(sock)
        return replace(self.stranger, address=address_of(sock))

    async def _close_idle(self) -> None:
        while True:
            await trio.sleep(min(LOOK_SECS, IDLE_SECS / 10))
            self._flood.look()
            now = trio.current_time()
            self._hang_up(now - IDLE_SECS)
            for connection in self._open:
                if connection.look(now) <= now - HEAD_SECS or connection.sends_since <= now - STALL_SECS:
                    connection.shut()

    def _hang_up(self, idle_since: float) -> None:
        """Close connections without a request under way that have been so since `idle_since` (trio time).

        What came and is not read yet may be a request.
        """
        for connection in self._open:
            if connection.idle_since <= idle_since and not connection.has_unread():
                connection.shut()

    async def hand_over(self) -> list[socket.socket]:
        """As `close`, but connections stay open, each where its next request begins: another server goes on with them.

        One that is busy comes with the end of its answer, if that is within `GRACE_SECS`. TLS cannot be handed over.
        """
        deadline = trio.current_time() + GRACE_SECS
        self._accepting.cancel()
        await self._all_accepted.wait()
        await trio.lowlevel.checkpoint()  # the last that were accepted begin
        with trio.move_on_at(deadline):
            while leaving := [connection for connection in self._open if connection.can_leave]:
                for connection in leaving:
                    connection.leave()
                await self._somebody_goes()
        await self.close(max(0.0, deadline - trio.current_time()))
        return self._left

    async def close(self, grace_secs: float | None = None) -> None:
        """Stop accepting, let answers finish, and so long after the call (`GRACE_SECS`) close what is left.

        A connection that was made just now is about to carry a request, which gets its answer, too.
        """
        asked = trio.current_time()
        self._accepting.cancel()
        for listener in self._listeners:
            listener.socket.close()
        await self._context.terminated.set()
        self._hang_up(asked - FRESH_SECS)
        await self._wait_closed(asked + FRESH_SECS)
        self._hang_up(trio.current_time())
        await self._wait_closed(asked + (GRACE_SECS if grace_secs is None else grace_secs))
        for connection in tuple(self._open):
            # a send to a client that stopped reading is shielded; only closing the socket ends it
            connection.shut()
            connection.socket.close()
        self._connections.cancel_scope.cancel()

    async def _wait_closed(self, deadline: float) -> None:
        """Wait until no connection is open, but no longer than until then (trio time)."""
        with trio.move_on_at(deadline):
            while self._open:
                await self._somebody_goes()

    async def _somebody_goes(self) -> None:
        self._hung_up = trio.Event()
        await self._hung_up.wait()


def _party(peer: Peer | Stranger, sock: trio.socket.SocketType) -> tuple[Hashable, bool]:
    """Whose connections count together, and whether that is an administrator."""
    if isinstance(peer, Peer):
        return peer.uid, peer.uid in (0, os.geteuid())
    try:
        return network_of(sock.getpeername()[0]), False
    except OSError:
        return "nobody, any more", False


def _in_brief(error: BaseException) -> str:
    """One line of plain characters, whatever of the client's is in it."""
    return ascii(hidden(f"{type(error).__name__}: {error}")[:MOST_CHARS])[1:-1]


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
