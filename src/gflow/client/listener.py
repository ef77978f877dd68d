"""Who listens on a port of this machine, as the kernel knows: he reads what goes to loopback without TLS.

On a machine that several people share, any of them may take a port that is free, such as one whose tunnel is down.
"""

from __future__ import annotations

import _socket
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"
_MAPPED = bytes(10) + b"\xff\xff"


def stranger(sock: _socket.socket, tables: tuple[str, ...] = TABLES) -> str | None:
    """Who has the other end of a connection within this machine, in words; None if that is this user or root."""
    (host, port), (_, ours) = sock.getpeername()[:2], sock.getsockname()[:2]
    owners = set(_owners(_packed(host), port, ours, tables))
    if not owners:
        return "nobody knows who"  # it has stopped listening, for one
    strangers = sorted(owners - {0, os.geteuid()})
    return f"uid {strangers[0]}, which is neither you nor root" if strangers else None


def _owners(address: bytes, port: int, ours: int, tables: tuple[str, ...]) -> Iterator[int]:
    """Of the sockets that listen where we have connected to; and, where that is known, of the other end itself."""
    for table in tables:
        for line in _lines(table):
            _, local, remote, state, *rest = line.split()
            at, _, number = local.partition(":")
            if int(number, 16) != port or _bytes(at) not in (address, bytes(16), _MAPPED + bytes(4)):
                continue
            if state == _LISTENS or int(remote.partition(":")[2], 16) == ours:
                yield int(rest[3])


def _lines(table: str) -> list[str]:
    try:
        with open(table, encoding="ascii") as file:
            return file.read().splitlines()[1:]
    except OSError:
        return []


def _packed(host: str) -> bytes:
    """An address as 16 bytes; one of IPv4 as IPv6 has it."""
    if ":" in host:
        return _socket.inet_pton(_socket.AF_INET6, host.partition("%")[0])
    return _MAPPED + _socket.inet_pton(_socket.AF_INET, host)


def _bytes(text: str) -> bytes:
    """An address of the kernel's tables: words of 32 bits, each in the order of this machine."""
    words = [bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8)]
    packed = b"".join(word[::-1] for word in words) if sys.byteorder == "little" else b"".join(words)
    return packed if len(packed) == 16 else _MAPPED + packed
