"""A daemon for tests of commands: a real Unix socket, canned answers, and a record of what was asked.

It speaks HTTP by hand, so that tests can also make it answer wrongly: in pieces, in chunks, or not at all.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = Callable[[Asked], "bytes | list[bytes]"]


def reply(body: Any = None, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """A whole HTTP answer; `body` is bytes, text, or anything JSON can say.

    Of bytes it tells the offset, as logs do, of text the number of lines, as the queue does.
    """
    match body:
        case bytes():
            content, kind = body, "application/octet-stream"
            headers = {"X-Offset": "0", **(headers or {})}
        case str():
            content, kind = body.encode(), "text/plain"
            headers = {"X-Total": str(body.count("\n")), **(headers or {})}
        case _:
            content, kind = json.dumps(body).encode(), "application/json"
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def chunked(*pieces: bytes) -> bytes:
    """A whole HTTP answer whose body comes in chunks."""
    body = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in (*pieces, b""))
    return b"HTTP/1.1 200 OK\r\nx-offset: 0\r\ntransfer-encoding: chunked\r\n\r\n" + body


def log(content: bytes) -> Reply:
    """What a stream of this log is answered with, from wherever it is to begin."""

    def answer(asked: Asked) -> bytes:
        offset = asked.query.get("offset", "0")
        return reply(content[int(offset) :], headers={"X-Offset": offset})

    return answer


@dataclass
class FakeDaemon:
    """Answers `routes[(method, path)]`: bytes to send, or a function of the request that makes them.

    A list of bytes is sent piece by piece; an empty answer closes the connection without one.
    """

    path: Path
    routes: dict[tuple[str, str], bytes | Reply] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = self._listen()
        self._listener.listen(64)
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        return listener

    def _accepted(self, connection: socket.socket) -> socket.socket:
        return connection

    def on(self, method: str, path: str, answer: bytes | Reply) -> None:
        self.routes[method, path] = answer

    def __enter__(self) -> FakeDaemon:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._accepting, *self._threads):
            thread.join(10)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, accepted: socket.socket) -> None:
        accepted.settimeout(30)
        try:
            connection = self._accepted(accepted)
        except OSError:
            accepted.close()
            return
        with connection:
            try:
                asked = _read(connection)
            except (OSError, ValueError):
                return
            if asked is None:
                return
            self.asked.append(asked)
            answer = self.routes.get((asked.method, asked.path), _nothing_here)
            pieces = answer if isinstance(answer, bytes) else answer(asked)
            for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                try:
                    connection.sendall(piece)
                except OSError:
                    return


@dataclass
class FakeRemote(FakeDaemon):
    """The same at a port of `host`, with TLS if there is a `context`. /status says that it is another machine."""

    path: Path = Path("/nowhere")
    host: str = "127.0.0.1"
    context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        status = {"endpoint": "unix:/run/far away/s", "host": "gpubox", "boot_id": "another", "version": "1"}
        self.on("GET", "/status", reply(status))

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family)
        listener.bind((self.host, 0))
        return listener

    def _accepted(self, connection: socket.socket) -> socket.socket:
        return connection if self.context is None else self.context.wrap_socket(connection, server_side=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def url(self, host: str | None = None) -> str:
        """Its address, under this name."""
        name = host or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"{'http' if self.context is None else 'https'}://{name}:{self.port}"


def _nothing_here(asked: Asked) -> bytes:
    return reply({"error": f"no route {asked.method} {asked.path}", "code": "not_found"}, 404)


def _read(connection: socket.socket) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return Asked(method, unquote(parts.path), query, headers, body)
