"""Reaching a daemon over TCP: `https://host:port`, or `http://host:port` on this machine.

Who we are is said by a token. To a daemon without authentication, and to one of the older gflow, our name goes along in
a header; whether such a daemon is to be trusted is for whoever gave the URL to know. Without TLS a token goes, within
this machine, to this user and to root only.
"""

from __future__ import annotations

import _socket
import os

from gflow.client.errors import BadSetting, Unreachable
from gflow.client.patience import connecting

SCHEME, SECURE = "http://", "https://"
CONNECT_TIMEOUT_SECS = 5.0
"""For all addresses of a host together, and as long again for TLS: what does not even take a connection is not there,
most of the time."""

LEAST_SECS = 1.0
DEFAULT_HOST, DEFAULT_PORT = "localhost", 59000
"""What is used where only one of `daemon.host` and `daemon.port` is set."""

_KEEP_ALIVE = (
    (_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1),
    (_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, 60),
    (_socket.IPPROTO_TCP, _socket.TCP_KEEPINTVL, 15),
    (_socket.IPPROTO_TCP, _socket.TCP_KEEPCNT, 4),
)
"""Who follows a log for days notices a machine that is gone."""

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a daemon may listen on, a client cannot ask


class Remote(str):
    """The URL of a daemon, checked, and what is to be known for talking to it.

    - cacert: a file of CAs to trust in place of the system's.
    - plaintext: a token may be sent without TLS to another machine.
    - ssh_host: what ssh calls the machine; None for the host of the URL.
    """

    cacert: str | None = None
    plaintext: bool = False
    ssh_host: str | None = None


def remote(url: str) -> Remote:
    """`url` as a daemon's. Raises BadSetting."""
    if isinstance(url, Remote):
        return url
    scheme = SECURE if url.startswith(SECURE) else SCHEME
    host, port = _split(url)
    return Remote(f"{scheme}{_bracketed(host)}:{port}")


def endpoint(host: str | None, port: int | None, *, secure: bool) -> Remote:
    """The daemon that these settings make."""
    host = _EVERY_ADDRESS.get(host or DEFAULT_HOST, host or DEFAULT_HOST)
    return remote(f"{SECURE if secure else SCHEME}{_bracketed(host)}:{port or DEFAULT_PORT}")


def host_of(url: str) -> str:
    """The host of an URL."""
    return _split(url)[0]


def is_here(host: str) -> bool:
    """Whether this address or name is one of this machine's own: of its loopback."""
    return host == "localhost" or host.startswith(("127.", "::ffff:127.")) or host == "::1"


def user_name(uid: int | None = None) -> str:
    """The name of a user as the system knows it; of this one without `uid`."""
    import pwd

    uid = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def headers(url: str, sock: _socket.socket) -> str:
    """The lines that say whom a request is for and who sends it.

    Raises BadSetting or Unreachable where others could read a token.
    """
    from gflow.client import token
    from gflow.client.http import quote

    lines = f"Host: {url.partition('://')[2]}\r\nX-Gflow-User: {quote(user_name())}\r\n"
    ours = token.find()
    if ours is None:
        return lines
    if not url.startswith(SECURE):
        _check_readers(url, sock)
    return f"{lines}Authorization: Bearer {ours.text}\r\n"


def _check_readers(url: str, sock: _socket.socket) -> None:
    """Raise unless what is sent in the clear is read by this user or root only, or the settings trust the way."""
    peer = sock.getpeername()[0]
    is_within = is_here(peer) or peer == sock.getsockname()[0]
    if is_within:
        from gflow.client import listener

        owner = listener.owner(sock)
        if owner is not None:
            return _check_owner(url, owner)
    if not remote(url).plaintext:
        why = "the kernel does not say who listens there" if is_within else "on the way everybody could read it"
        raise BadSetting(
            f"refusing to send a token to {url}: {why}; write https://, or set client.allow_plaintext = true"
        )
    return None


def _check_owner(url: str, uid: int) -> None:
    """Whatever is set: anybody can take a port of this machine, for one that of a daemon or tunnel that is down."""
    if uid not in (0, os.geteuid()):
        raise Unreachable(
            f"refusing to send a token to {url}: it is served by {user_name(uid)} (uid {uid}), who is neither you nor"
            " root; is your daemon or tunnel down? For a daemon of somebody else write https://"
        )


def advice(url: str) -> str:
    """What to do about a daemon that does not know us."""
    from gflow.client import token

    ours = token.find()
    if ours is not None:
        return (
            f"gflowd at {url} does not accept the token of {ours.origin}: it is unknown, expired or revoked;"
            " ask an administrator for a new one"
        )
    from gflow import paths

    return (
        f"gflowd at {url} wants a token: put yours into {paths.token_file()} (mode 600) or GFLOW_TOKEN;"
        " an administrator makes one with 'gctl token create --user NAME'"
    )


def connect(url: str, timeout_secs: float = CONNECT_TIMEOUT_SECS) -> _socket.socket:
    """A connected socket, with TLS for https://.

    Raises `Unreachable` after `timeout_secs` or `CONNECT_TIMEOUT_SECS` at the latest, and as long again for TLS.
    """
    secs = min(timeout_secs, CONNECT_TIMEOUT_SECS)
    host, port = _split(url)
    why = "no address"
    try:
        addresses = _socket.getaddrinfo(host, port, 0, _socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(_unreachable(url, str(getattr(error, "strerror", None) or error))) from error
    for family, kind, protocol, _, address in addresses:
        patience = connecting(url, max(min(LEAST_SECS, secs), secs / len(addresses)))
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
                return _secured(sock, url, host, secs)
    raise Unreachable(_unreachable(url, why))


def _secured(sock: _socket.socket, url: str, host: str, secs: float) -> _socket.socket:
    for option in _KEEP_ALIVE:
        sock.setsockopt(*option)
    if not url.startswith(SECURE):
        return sock
    from gflow.client import tls

    sock.settimeout(secs)
    return tls.secured(sock, url, host, remote(url).cacert)


def _unreachable(url: str, why: str) -> str:
    what = "start it with 'gflowd up'" if is_here(host_of(url)) else "does gflowd run there, with daemon.host set?"
    return f"cannot reach gflowd at {url} ({why}); {what}"


def _split(url: str) -> tuple[str, int]:
    """Host and port of `scheme://host:port`, which may end in a slash."""
    scheme, _, named = url.partition("://")
    named = named.removesuffix("/")
    host, colon, port = named.rpartition(":")
    if not colon or named.endswith("]"):
        host, port = named, "443" if scheme == "https" else "80"
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not host.isprintable() or not set(host).isdisjoint("/?#@[] ") or not _is_port(port):
        raise BadSetting(f"cannot use {url} as an endpoint: write {scheme}://host:port")
    return host, int(port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
