"""TCP beside the Unix socket, for clients on other machines and those of the older gflow.

Where nobody has to say who calls, and where whoever is on the way could read along, it is served on addresses of this
machine only: whatever a name stands for, then not one of its addresses may be seen from outside.
"""

import errno
import ipaddress
import os
import socket

BACKLOG = 512

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What binding says where a machine has no IPv6, or no IPv4."""

_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
"""A machine that went away without a word is noticed within two minutes, also by who only waits."""


class CannotListen(Exception):
    """The address cannot be served; the message is one line."""


def why_inside(*, anybody: bool, tls: bool, plaintext: bool) -> str | None:
    """Why only loopback addresses may be served, None if others may, too.

    anybody: nobody has to say who he is. plaintext: that tokens and jobs can be read on the way has been accepted.
    """
    if anybody:
        return (
            'with daemon.auth = "none" only loopback addresses are served;'
            " use localhost, or leave daemon.host or daemon.auth out"
        )
    if not tls and not plaintext:
        return (
            "without TLS only loopback addresses are served; set daemon.tls_cert and daemon.tls_key,"
            " or daemon.allow_plaintext = true where nobody on the way can read along"
        )
    return None


def bind_tcp(host: str, port: int, *, inside: str | None) -> list[socket.socket]:
    """Listening sockets at every address of `host`. Raises CannotListen.

    inside: why none but loopback addresses may be served, None if all may.
    """
    addresses = allowed_addresses(host, port, inside=inside)
    listeners: list[socket.socket] = []
    for family, address in addresses.items():
        try:
            listeners.append(_bind(family, address, port))
        except OSError as error:
            if error.errno in _NOT_HERE and len(addresses) > 1:
                continue
            for listener in listeners:
                listener.close()
            raise CannotListen(_why(host, port, error)) from error
    if not listeners:
        raise CannotListen(f"cannot listen on {host}:{port}: this machine has none of its addresses")
    return listeners


def allowed_addresses(host: str, port: int, *, inside: str | None) -> dict[socket.AddressFamily, str]:
    """The addresses that `bind_tcp` would serve. Raises CannotListen."""
    addresses = _addresses(host, port)
    outside = [address for address in addresses.values() if not is_loopback(address)]
    if outside and inside is not None:
        raise CannotListen(f"daemon.host: {host} is {outside[0]}, and {inside}")
    return addresses


def is_loopback(name: str) -> bool:
    """Whether this is an address, and of this machine only."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def network_of(address: str) -> str:
    """What one machine may have all addresses of: a /64 of IPv6, this machine's own, else the address itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.is_loopback:
        return "loopback"
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64))) if found.version == 6 else address


def own_names(host: str) -> frozenset[str]:
    """Names by which a listener at `host` may be addressed, in lower case: its own, and those of this machine."""
    machine = socket.gethostname()
    return frozenset(name.lower() for name in ("localhost", host, machine, machine.partition(".")[0]) if name)


def _addresses(host: str, port: int) -> dict[socket.AddressFamily, str]:
    """One address for each family that the host has one of."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"daemon.host: cannot find {host}: {getattr(error, 'strerror', error)}") from error
    addresses: dict[socket.AddressFamily, str] = {}
    for family, *_, address in found:
        name = str(address[0])
        if family not in addresses or not is_loopback(name):
            addresses[family] = name
    return addresses


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the last daemon may linger
        for level, option, value in _KEEP_ALIVE:  # what is accepted inherits it
            listener.setsockopt(level, option, value)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _why(host: str, port: int, error: OSError) -> str:
    what = f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
    if error.errno == errno.EADDRINUSE:
        return f"{what}; stop what has the port (an older gflowd?) or set another daemon.port"
    return what
