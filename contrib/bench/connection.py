"""HTTP to a daemon, over a Unix socket or TCP, on one connection that is kept open: what is timed is the daemon."""

import http.client
import json
import socket
from typing import Any

Endpoint = str | tuple[str, int]
"""The path of a Unix socket, or host and port."""


class Connection(http.client.HTTPConnection):
    """One kept connection to `endpoint`; a daemon that takes longer than `timeout` seconds has failed."""

    def __init__(self, endpoint: Endpoint, timeout: float = 60.0) -> None:
        super().__init__("localhost", timeout=timeout)
        self.endpoint = endpoint

    def connect(self) -> None:
        """Connect to the endpoint."""
        if isinstance(self.endpoint, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self.endpoint)
        else:
            self.sock = socket.create_connection(self.endpoint, self.timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer. Raises RuntimeError with the daemon's words if it refuses."""
        content = self.raw(method, path, json.dumps(body).encode() if body is not None else None)
        return json.loads(content)

    def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer's bytes; `body` is JSON."""
        self.request(method, path, body, {"Content-Type": "application/json"} if body is not None else {})
        answer = self.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {content.decode(errors='replace')[:300]}")
        return content
