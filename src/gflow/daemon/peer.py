"""Who is at the other end of a Unix socket: what the kernel says, not what the other end claims."""

import socket
import struct
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Peer:
    """The credentials of a process when it connected, or began to listen."""

    pid: int
    uid: int
    gid: int


class _Socket(Protocol):
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """As of any socket."""


def peer_of(sock: _Socket) -> Peer:
    """The credentials of the other end (SO_PEERCRED)."""
    return Peer(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))))
