"""An HTTP server in a thread, on a real socket, that answers as it is told to, byte for byte."""

import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

Talk = Callable[[socket.socket], None]


@dataclass
class Request:
    """What came."""

    line: str
    headers: dict[str, str]
    body: bytes


def answer(status: int, body: bytes = b"", **headers: str) -> Talk:
    """Answer whole, and keep the connection."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    data = "\r\n".join([*lines, "", ""]).encode() + body
    return lambda connection: connection.sendall(data)


def endless(connection: socket.socket) -> None:
    """An answer that never ends, as fast as it is read."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def reset(connection: socket.socket) -> None:
    """Hang up at once, in the rudest way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())


def hang_up(connection: socket.socket) -> None:
    """Close instead of answering."""
    connection.shutdown(socket.SHUT_RDWR)


def nonsense(connection: socket.socket) -> None:
    """Answer with what is no HTTP."""
    connection.sendall(b"nonsense\r\n\r\n")


@dataclass
class WebServer:
    """Answers with `talk`; `requests` has what came. `tls` makes it one of https."""

    talk: Talk = field(default_factory=lambda: answer(200))
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://localhost:{self.port}/hook"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def slow(self, connection: socket.socket) -> None:
        """Begin to answer, and go on when the test is over."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12")
        self.over.wait(30)

    def _start(self, run: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._start(lambda connection=connection: self._serve(connection))

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while (request := _read(stream)) is not None:
                    self.requests.append(request)
                    self.talk(connection)
        except OSError:
            pass  # it hung up, or did not like our certificate
        finally:
            connection.close()


def _read(stream) -> Request | None:
    line = stream.readline().decode().strip()
    if not line:
        return None
    headers = {}
    while header := stream.readline().decode().strip():
        name, _, value = header.partition(": ")
        headers[name.lower()] = value
    return Request(line, headers, stream.read(int(headers.get("content-length", 0))))
