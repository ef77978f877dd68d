"""Whose the other end of a connection within this machine is, as the kernel knows: he reads what goes there in clear.

On a machine that several people share, any of them may take a port that is free, such as one whose tunnel is down. What
counts is the end that was accepted, so nobody can step in between the question and what is sent. An end that nobody has
accepted yet is root's to most kernels, whoever waits for it: then it is the socket that listens, as long as it is seen
afterwards that it has still not been accepted. The kernel is asked for these sockets alone (sock_diag), which takes no
time however many there are; where it cannot be, its tables are read.
"""

from __future__ import annotations

import _socket
import sys

from gflow.client import diag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Place = tuple[str, int]
    Find = Callable[[Place, Place | None], tuple[int, int] | None]

_UID, _INODE = 6, 8
_MAPPED = bytes(10) + b"\xff\xff"


def owner(sock: _socket.socket) -> int | None:
    """The uid; None if it is not to be told: the kernel does not say, or what listens is not in this network."""
    far, near = sock.getpeername()[:2], sock.getsockname()[:2]
    for find in (diag.find, listed):
        uid = owner_by(find, far, near)
        if uid is not None:
            return uid
    return None


def owner_by(find: Find, far: Place, near: Place) -> int | None:
    """The same by what `find` finds: uid and inode of the socket between two places, or that listens at one."""
    accepted = find(far, near)
    if not _is_known(accepted):
        listening = find(far, None)
        accepted = find(far, near)
        if not _is_known(accepted):
            accepted = listening
    return accepted[0] if accepted else None


def _is_known(found: tuple[int, int] | None) -> bool:
    return found is not None and found != (0, 0)


def listed(
    local: Place, remote: Place | None, tables: tuple[str, str] = ("/proc/net/tcp", "/proc/net/tcp6")
) -> tuple[int, int] | None:
    """What the tables of TCP have, the first with addresses of IPv4 alone; an address goes before every address."""
    contents = [_content(table) for table in tables]
    for place in [_written(*local)] if remote else [_written(*local), _written_any(local[1])]:
        others = _written(*remote) if remote else [f"{nobody} 0A" for nobody in _written_any(0)]
        for content, here, there in zip(contents, place, others, strict=True):
            entry = _entry(content, f"{here} {there}")
            if entry:
                return int(entry[_UID]), int(entry[_INODE])
    return None


def _entry(content: bytes, key: str) -> list[bytes]:
    """The fields, from the local address on, of the line that has these."""
    at = content.find(f" {key} ".encode())
    return content[at : content.find(b"\n", at)].split() if at >= 0 else []


def _content(table: str) -> bytes:
    try:
        with open(table, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _written(host: str, port: int) -> tuple[str, str]:
    """An address as each of the tables has it, in words of 32 bits; in that of IPv4 nothing is like one of IPv6."""
    if ":" in host:
        packed = _socket.inet_pton(_socket.AF_INET6, host.partition("%")[0])
    else:
        packed = _MAPPED + _socket.inet_pton(_socket.AF_INET, host)
    words = [f"{int.from_bytes(packed[at : at + 4], sys.byteorder):08X}" for at in range(0, 16, 4)]
    return f"{words[3] if packed.startswith(_MAPPED) else '-'}:{port:04X}", f"{''.join(words)}:{port:04X}"


def _written_any(port: int) -> tuple[str, str]:
    """The same for every address."""
    return f"{0:08X}:{port:04X}", f"{0:032X}:{port:04X}"
