"""Receive gflow's webhooks and verify their signature; nothing but Python's standard library.

    GFLOW_WEBHOOK_SECRET=secret python receiver.py 8080

Prints a line for each event that is genuine, new and not older than five minutes.
"""

import hashlib
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["GFLOW_WEBHOOK_SECRET"].encode()
MAX_AGE_SECS = 300
MAX_BODY_BYTES = 1 << 20
MAX_SEEN = 100_000
seen: dict[str, None] = {}
lock = threading.Lock()


def genuine(headers, body: bytes, now: float) -> bool:
    """Whether gflow sent this, and lately."""
    timestamp = headers.get("X-Gflow-Timestamp", "")
    expected = "sha256=" + hmac.new(SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    given = headers.get("X-Gflow-Signature", "")
    return hmac.compare_digest(expected.encode(), given.encode()) and abs(now - int(timestamp)) < MAX_AGE_SECS


def new(delivery: str) -> bool:
    """Whether this one has not come before; of the earliest nothing is known any more."""
    with lock:
        if delivery in seen:
            return False
        seen[delivery] = None
        if len(seen) > MAX_SEEN:
            del seen[next(iter(seen))]
        return True


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is genuine, 403 to what is not."""

    timeout = 30

    def do_POST(self) -> None:
        """The name http.server looks for."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.send_error(400)
        elif len(length) > 9 or int(length) > MAX_BODY_BYTES:
            self.send_error(413)
        else:
            self.take(self.rfile.read(int(length)))

    def take(self, body: bytes) -> None:
        """What counts is in the body: headers are not signed, but for the timestamp."""
        if not genuine(self.headers, body, time.time()):
            self.send_error(403)
            return
        told = json.loads(body)
        if new(told["delivery"]):
            print(told["event"], told.get("job", {}).get("id", "-"), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Only events are printed."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"listening on port {server.server_port}", flush=True)
    server.serve_forever()
