"""Receive gflow's webhooks and verify their signature; nothing but Python's standard library.

    GFLOW_WEBHOOK_SECRET=secret python receiver.py 8080

Prints a line for each event that is genuine, new and not older than five minutes.
"""

import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["GFLOW_WEBHOOK_SECRET"].encode()
MAX_AGE_SECS = 300
MAX_BODY_BYTES = 1 << 20
seen: dict[str, None] = {}


def genuine(headers, body: bytes, now: float) -> bool:
    """Whether gflow sent this, and lately."""
    timestamp = headers.get("X-Gflow-Timestamp", "")
    expected = "sha256=" + hmac.new(SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    given = headers.get("X-Gflow-Signature", "")
    return hmac.compare_digest(expected.encode(), given.encode()) and abs(now - int(timestamp)) < MAX_AGE_SECS


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is genuine, 403 to what is not."""

    timeout = 30

    def do_POST(self) -> None:
        """The name http.server looks for."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MAX_BODY_BYTES))
        if not genuine(self.headers, body, time.time()):
            self.send_error(403)
            return
        delivery = self.headers["X-Gflow-Delivery"]
        if delivery not in seen:  # the same event may come more than once
            seen[delivery] = None
            print(self.headers["X-Gflow-Event"], json.loads(body).get("job", {}).get("id", "-"), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Only events are printed."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"listening on port {server.server_port}", flush=True)
    server.serve_forever()
