"""HTTP/1.1 over a Unix socket (or TCP, or TLS), as little of it as our own daemon needs: one request per connection.

The standard library's client costs more to import than a whole command may take, so this stands on `_socket`.
It keeps two rules: nothing is sent before the kernel has said who listens, and no failure is silent - a body that
ends early raises, as does a stream.
"""

from __future__ import annotations

import _socket
import os
import sys

from gflow.client.errors import ConnectionLost, Misanswered, NoAnswer, Unreachable, Unresponsive
from gflow.client.patience import Patience, Vigil, connecting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER_TIMEOUT_SECS = 60.0
"""Longer than any request waits for the disk; `None` is for requests that wait for a job."""

_URLS = ("http://", "https://")
_TLS_ALERT = b"\x15\x03"
_CHUNK = 65536
_MAX_HEAD = 65536
_MAX_BODY = 1 << 30
_MAX_NUMBER = 15
_MAX_INTERIM = 16
_MAX_TRAILERS = 100
_DIGITS = {10: frozenset("0123456789"), 16: frozenset("0123456789abcdefABCDEF")}
_NO_BODY = (204, 304)

answered: list[str] = []
"""What was the last to answer this process, by name; empty if nothing has."""


def connect(path: str, timeout_secs: float = ANSWER_TIMEOUT_SECS) -> _socket.socket:
    """A connected socket whose other end belongs to this user or to root. Raises `Unreachable`.

    `path` may be an URL: whom the other end of https:// belongs to its certificate says; of http:// nobody does
    before there is a token to send.
    """
    if path.startswith(_URLS):
        from gflow.client import tcp

        return tcp.connect(path, timeout_secs)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        _take_place(sock, path, timeout_secs)
        _check_peer(sock, path)
    except OSError as error:
        sock.close()
        why = error.strerror or str(error)
        raise Unreachable(f"cannot reach gflowd at unix:{path} ({why}); {_how_to_start(path)}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _how_to_start(path: str) -> str:
    from gflow import paths

    if path == paths.SYSTEM_SOCKET:
        return "root starts it with 'gflowd up --system'"
    others = f"; that of all users: --url unix:{paths.SYSTEM_SOCKET}" if os.path.exists(paths.SYSTEM_SOCKET) else ""
    return f"start it with 'gflowd up'{others}"


def _take_place(sock: _socket.socket, path: str, timeout_secs: float) -> None:
    """Connect, with patience where the listener's queue is full."""
    patience = connecting(f"unix:{path}", timeout_secs)
    while True:
        _set_send_timeout(sock, patience.secs)
        try:
            sock.connect(path)
            break
        except BlockingIOError:
            if not patience.more():
                said = f"gflowd at unix:{path} takes no connection: it hangs or has too much to do; nothing was asked"
                raise Unresponsive(said) from None
    _set_send_timeout(sock, 0)


def _set_send_timeout(sock: _socket.socket, secs: float) -> None:
    """A blocking connect with a send timeout waits for room in the listener's queue; a non-blocking one gives up."""
    half = 8 if sys.maxsize > 2**32 else 4
    whole = int(secs)
    timeval = (whole, int((secs - whole) * 1_000_000))
    value = b"".join(number.to_bytes(half, sys.byteorder) for number in timeval)
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, value)


def _check_peer(sock: _socket.socket, path: str) -> None:
    credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    uid = int.from_bytes(credentials[4:8], sys.byteorder)
    if uid not in (0, os.geteuid()):
        raise Unreachable(f"refusing to talk to unix:{path}: it is served by uid {uid}, which is neither you nor root")


def ask(
    path: str,
    method: str,
    target: str,
    body: bytes | None = None,
    *,
    content_type: str = "application/json",
    timeout_secs: float | None = ANSWER_TIMEOUT_SECS,
    doubt: str = "",
) -> Question:
    """Send one request. Raises `Unreachable` or `ConnectionLost`.

    timeout_secs: how long the daemon may say nothing. doubt: what is added where nobody knows what became of it.
    """
    sock = connect(path, ANSWER_TIMEOUT_SECS if timeout_secs is None else timeout_secs)
    try:
        head = f"{method} {target} HTTP/1.1\r\n{_addressed(path, sock)}Connection: close\r\nAccept: */*\r\n"
        if body is not None:
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        named = name(path)
        patience = Vigil(path, named) if timeout_secs is None else Patience(named, timeout_secs)
        wait = Wait(sock, named, patience, doubt)
        wait.send(head.encode("ascii") + b"\r\n" + (body or b""))
    except BaseException:
        sock.close()
        raise
    return Question(wait)


def _addressed(path: str, sock: _socket.socket) -> str:
    """Whom the request is for; over TCP also who sends it, for the kernel does not say."""
    if not path.startswith(_URLS):
        return "Host: localhost\r\n"
    from gflow.client import tcp

    return tcp.headers(path, sock)


def name(path: str) -> str:
    """What an endpoint is called where people read it."""
    return path if path.startswith(_URLS) else f"unix:{path}"


def _where_to_look(name: str) -> str:
    """What may say why the daemon of this machine hung up: systemd does so for one that does not start."""
    from gflow import paths

    if not name.startswith("unix:"):
        return ""
    manager = "systemctl" if name == f"unix:{paths.SYSTEM_SOCKET}" else "systemctl --user"
    return f"; if it does not start, 'gflowd status' or '{manager} status gflowd' says why"


class Wait:
    """One connection, and how long its other end may say nothing. `doubt` is told with every loss."""

    __slots__ = ("_doubt", "name", "patience", "sock")

    def __init__(self, sock: _socket.socket, name: str, patience: Patience | Vigil, doubt: str = "") -> None:
        self.sock = sock
        self.name = name
        self.patience = patience
        self._doubt = doubt
        sock.settimeout(patience.secs)

    def send(self, data: bytes) -> None:
        """All of it. A server may answer before it has read everything (413, for one), and hang up: that is no loss."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sock.send(rest) :]
            except (BrokenPipeError, ConnectionResetError):
                return
            except TimeoutError:
                self._go_on()
            except OSError as error:
                raise self.lost(f"lost the connection to gflowd while asking ({error.strerror or error})") from error

    def receive(self) -> bytes:
        """What there is, once there is something; nothing at the end."""
        while True:
            try:
                return self.sock.recv(_CHUNK)
            except TimeoutError:
                self._go_on()
            except ConnectionResetError as error:
                raise self.lost(
                    f"lost the connection to gflowd ({error.strerror}){_where_to_look(self.name)}"
                ) from error
            except OSError as error:
                raise self.lost(f"lost the connection to gflowd ({error.strerror or error})") from error

    def _go_on(self) -> None:
        if not self.patience.more():
            raise NoAnswer(f"gflowd at {self.name} does not answer{self._doubt}") from None
        self.sock.settimeout(self.patience.secs)

    def lost(self, why: str) -> ConnectionLost:
        """The error that says `why`."""
        return ConnectionLost(f"{why}{self._doubt}")


class Question:
    """A request under way. `fileno` is for waiting for whichever of several is answered first."""

    def __init__(self, wait: Wait) -> None:
        self._wait = wait
        self._sock = wait.sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def answer(self) -> Answer:
        """The answer, once its head is there. Raises `ConnectionLost`."""
        try:
            return Answer(self._wait)
        except BaseException:
            self._sock.close()
            raise


class Answer:
    """One answer of the daemon called `name`: `status`, `headers` (lower-case names), and the body, to be read once.

    `fileno` is for waiting until there is more to read, `patience` for how long that may take.
    """

    def __init__(self, wait: Wait) -> None:
        self._wait = wait
        self._sock = wait.sock
        self.name = wait.name
        self.patience = wait.patience
        self._buffer = b""
        self._before_wait: Callable[[Answer], None] | None = None
        for _ in range(_MAX_INTERIM):
            self.status, self.headers = self._head()
            if self.status >= 200:
                answered[:] = [self.name]
                return
        raise self.unexpected()

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def read(self, most: int | None = None) -> bytes:
        """The whole body, of at most so many bytes; the connection is closed. Raises `ConnectionLost`."""
        pieces, left = [], _MAX_BODY if most is None else most
        for piece in self.chunks():
            left -= len(piece)
            if left < 0:
                self.close()
                raise self.unexpected(" without end")
            pieces.append(piece)
        return b"".join(pieces)

    def count(self, header: str, absent: str = "") -> int:
        """The number that a header says. Raises `Misanswered`."""
        text = self.headers.get(header, absent)
        if not _is_count(text, 10):
            self.close()
            raise self.unexpected()
        return int(text)

    def unexpected(self, how: str = "") -> Misanswered:
        """The error for an answer that is none of gflow's."""
        return Misanswered(f"the daemon at {self.name} answered with something else{how}: is it gflow?")

    def chunks(self, before_wait: Callable[[Answer], None] | None = None) -> Iterator[bytes]:
        """The body as it arrives; `before_wait` is called whenever the next byte has yet to come."""
        self._before_wait = before_wait
        try:
            if self.status in _NO_BODY:
                return
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                yield from self._chunked()
            elif "content-length" in self.headers:
                yield from self._sized(self._number(self.headers["content-length"], 10))
            else:
                yield from self._until_closed()
        finally:
            self._sock.close()

    def _receive(self) -> bytes:
        if self._before_wait is not None:
            self._before_wait(self)
        return self._wait.receive()

    def _more(self) -> None:
        data = self._receive()
        if not data:
            if self._buffer.startswith(_TLS_ALERT):
                raise Misanswered(f"what listens at {self.name} speaks TLS; write https://")
            raise self._wait.lost("gflowd closed the connection before it had answered")
        self._buffer += data

    def _head(self) -> tuple[int, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise Misanswered(f"what listens at {self._wait.name} does not speak HTTP")
            self._more()
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, status = first.partition(" ")
        if not version.startswith("HTTP/1.") or not status[:3].isdigit():
            raise Misanswered(f"what listens at {self._wait.name} does not speak HTTP")
        fields = (line.partition(":") for line in lines)
        return int(status[:3]), {name.strip().lower(): value.strip() for name, _, value in fields}

    def _sized(self, left: int) -> Iterator[bytes]:
        while left:
            if not self._buffer:
                self._more()
            data, self._buffer = self._buffer[:left], self._buffer[left:]
            left -= len(data)
            yield data

    def _chunked(self) -> Iterator[bytes]:
        while size := self._number(self._line().partition(b";")[0].decode("latin-1").strip(), 16):
            yield from self._sized(size)
            self._line()
        for _ in range(_MAX_TRAILERS):
            if not self._line():
                return
        raise self.unexpected()

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise self.unexpected()
            self._more()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _until_closed(self) -> Iterator[bytes]:
        data = self._buffer or self._receive()
        self._buffer = b""
        while data:
            yield data
            data = self._receive()

    def _number(self, text: str, base: int) -> int:
        if not _is_count(text, base):
            raise self.unexpected()
        return int(text, base)


def _is_count(text: str, base: int) -> bool:
    """Whether this is digits alone: what `int` takes besides, such as a sign, is no size."""
    return 0 < len(text) <= _MAX_NUMBER and _DIGITS[base].issuperset(text)
