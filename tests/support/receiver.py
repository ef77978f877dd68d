"""A server that receives webhooks, in a process of its own, and behaves as the path of the request says.

    python receiver.py RECORD GATE

It prints its port, and adds a line of JSON to RECORD for each request: {"path", "id", "event", "body", "at"}. Paths:

    /ok, /ok/.. 204                              /slow/S     204 after S seconds
    /status/N   always N                         /flaky/N/K  N for the first K tries of a delivery, then 200
    /hang       no answer                        /reset/K    resets the connection the first K times
    /drop/K     closes it without an answer      /garbage    what is no HTTP
    /redirect   307 to /ok                       /later/S    429 with Retry-After the first time
    /endless    200, and a body without an end   /trickle    the head of an answer, a byte at a time
    /gate       503 until the file GATE is there
"""

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self

from support import wait


class Receiver:
    """`with Receiver(directory) as receiver:` has one running; `received` is what it got so far."""

    def __init__(self, directory: Path) -> None:
        self.record, self.gate = directory / "received", directory / "gate"
        self.record.touch()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.record), str(self.gate)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait(20)
        self._process.stdout.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def received(self, path: str | None = None) -> list[dict[str, Any]]:
        lines = self.record.read_text().split("\n")[:-1]
        found = [json.loads(line) for line in lines]
        return [one for one in found if path is None or one["path"] == path]

    def wait_for(self, count: int, path: str, deadline_secs: float = 30.0) -> list[dict[str, Any]]:
        """What came to `path`, once that are at least so many."""
        wait.until(lambda: len(self.received(path)) >= count, f"{count} requests for {path}", deadline_secs)
        return self.received(path)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    record: int
    gate: str
    tries: ClassVar[Counter[tuple[str, str]]] = Counter()
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        identity = self.headers["X-Gflow-Delivery"]
        told = {
            "path": self.path,
            "id": identity,
            "event": self.headers["X-Gflow-Event"],
            "body": json.loads(body),
            "at": time.monotonic(),
        }
        with self.lock:
            self.tries[self.path, identity] += 1
            told["try"] = self.tries[self.path, identity]
            os.write(self.record, json.dumps(told).encode() + b"\n")
        _, what, *rest = self.path.split("/")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, f"_{what}")(told["try"], *rest)

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", "2")
        self.end_headers()
        if status != 204:
            self.wfile.write(b"{}")

    def _ok(self, _try: int, *_name: str) -> None:
        self._answer(204)

    def _slow(self, _try: int, secs: str) -> None:
        threading.Event().wait(float(secs))
        self._answer(204)

    def _status(self, _try: int, status: str) -> None:
        self._answer(int(status))

    def _flaky(self, tried: int, status: str, times: str) -> None:
        self._answer(int(status) if tried <= int(times) else 200)

    def _hang(self, _try: int) -> None:
        threading.Event().wait(60)
        self.close_connection = True

    def _reset(self, tried: int, times: str) -> None:
        if tried > int(times):
            self._answer(200)
            return
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _drop(self, tried: int, times: str) -> None:
        if tried > int(times):
            self._answer(200)
        else:
            self.close_connection = True

    def _garbage(self, _try: int) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        self.close_connection = True

    def _redirect(self, _try: int) -> None:
        self._answer(307, Location="/ok")

    def _later(self, tried: int, secs: str) -> None:
        if tried == 1:
            self._answer(429, Retry_After=secs)
        else:
            self._answer(200)

    def _endless(self, _try: int) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        while True:
            self.wfile.write(b"x" * 65536)

    def _trickle(self, _try: int) -> None:
        self.close_connection = True
        for byte in b"HTTP/1.1 200 OK\r\nX-Filler: " + b"y" * 600:
            self.wfile.write(bytes([byte]))
            threading.Event().wait(0.1)

    def _gate(self, _try: int) -> None:
        self._answer(204 if os.path.exists(self.gate) else 503)

    def log_message(self, *_ignored: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # many targets connect at once


def main() -> None:
    _Handler.record = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
    _Handler.gate = sys.argv[2]
    server = _Server(("127.0.0.1", 0), _Handler)
    server.handle_error = lambda *_ignored: None  # type: ignore[method-assign]
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
