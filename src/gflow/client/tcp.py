"""Reaching a daemon over TCP: `http://host:port`, where it has no authentication, or where it is of the older gflow.

Nobody says who is at the other end, on either side: our name goes along in a header, and whether the daemon is to be
trusted is for whoever gave the URL to know.
"""

from __future__ import annotations

import _socket
import os

from gflow.client.errors import BadSetting, Unreachable
from gflow.client.patience import connecting

SCHEME = "http://"
CONNECT_TIMEOUT_SECS = 10.0
"""For each address of the host: what does not even take a connection is not there, most of the time."""

DEFAULT_HOST, DEFAULT_PORT = "localhost", 59000
"""What is used where only one of `daemon.host` and `daemon.port` is set."""


def checked(url: str) -> str:
    """`url` as `http://host:port`. Raises BadSetting."""
    host, port = _split(url)
    return f"{SCHEME}{_bracketed(host)}:{port}"


def endpoint(host: str | None, port: int | None) -> str:
    """The URL of these settings."""
    return checked(f"{SCHEME}{_bracketed(host or DEFAULT_HOST)}:{port or DEFAULT_PORT}")


def authority(url: str) -> str:
    """`host:port` of an URL that was checked."""
    return url[len(SCHEME) :]


def user_name() -> str:
    """This user's name as the system knows it."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def connect(url: str, timeout_secs: float = CONNECT_TIMEOUT_SECS) -> _socket.socket:
    """A connected socket. Raises `Unreachable`, after `CONNECT_TIMEOUT_SECS` for each address of the host at most."""
    host, port = _split(url)
    why = "no address"
    try:
        addresses = _socket.getaddrinfo(host, port, 0, _socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(_unreachable(url, str(getattr(error, "strerror", None) or error))) from error
    for family, kind, protocol, _, address in addresses:
        patience = connecting(url, min(timeout_secs, CONNECT_TIMEOUT_SECS))
        going_on = True
        while going_on:
            sock = _socket.socket(family, kind, protocol)
            try:
                sock.settimeout(patience.secs)
                sock.connect(address)
            except OSError as error:
                sock.close()
                why = error.strerror or str(error)
                going_on = isinstance(error, TimeoutError) and patience.more()
            else:
                return sock
    raise Unreachable(_unreachable(url, why))


def _unreachable(url: str, why: str) -> str:
    return f"cannot reach gflowd at {url} ({why}); start it with 'gflowd up'"


def _split(url: str) -> tuple[str, int]:
    """Host and port of `http://host:port`, which may end in a slash."""
    named = url[len(SCHEME) :].removesuffix("/")
    host, colon, port = named.rpartition(":")
    if not colon or named.endswith("]"):
        host, port = named, "80"
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not host.isprintable() or not set(host).isdisjoint("/?#@[] ") or not _is_port(port):
        raise BadSetting(f"cannot use {url} as an endpoint: write http://host:port")
    return host, int(port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
