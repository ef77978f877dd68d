"""Ports for servers that must be told one."""

import contextlib
import secrets
import socket


def free_port() -> int:
    """A port of this machine that nobody has just now, below those that are given to whoever connects somewhere."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError), socket.create_server(("0.0.0.0", port)):
            return port
