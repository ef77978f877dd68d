"""TCP beside the Unix socket, for clients of the older gflow.

Over TCP nobody has to say who calls, so it is served on addresses of this machine only: whatever a name stands for, not
one of its addresses may be seen from outside.
"""

import errno
import ipaddress
import os
import socket

BACKLOG = 512

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What binding says where a machine has no IPv6, or no IPv4."""


class CannotListen(Exception):
    """The address cannot be served; the message is one line."""


def bind_loopback(host: str, port: int) -> list[socket.socket]:
    """Listening sockets at every address of `host`. Raises CannotListen."""
    addresses = _addresses(host, port)
    outside = [address for address in addresses.values() if not is_loopback(address)]
    if outside:
        raise CannotListen(
            f'daemon.host: {host} is {outside[0]}, and with daemon.auth = "none" only loopback addresses are served;'
            " use localhost, or leave daemon.host out"
        )
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


def is_loopback(name: str) -> bool:
    """Whether this is an address, and of this machine only."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


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
