"""Who is at the other end: of a Unix socket what the kernel says, not what the other end claims; of TCP, a stranger."""

import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Peer:
    """The credentials of a process when it connected, or began to listen."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Stranger:
    """Whoever connected over TCP, from `address`.

    `hosts` are the names under which the listener may be addressed, in lower case.
    """

    hosts: frozenset[str]
    address: str = "?"


class _Socket(Protocol):
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """As of any socket."""


class _TcpSocket(Protocol):
    def getpeername(self) -> Any:
        """As of any socket."""


def peer_of(sock: _Socket) -> Peer:
    """The credentials of the other end (SO_PEERCRED)."""
    return Peer(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))))


def address_of(sock: _TcpSocket) -> str:
    """Address and port of the other end of TCP; `?` if it has hung up already."""
    with contextlib.suppress(OSError):
        host, port, *_ = sock.getpeername()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "?"
