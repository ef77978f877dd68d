"""Whose the other end of a connection within this machine is, as the kernel knows: he reads what goes there in clear.

On a machine that several people share, any of them may take a port that is free, such as one whose tunnel is down. What
counts is the end that was accepted, so nobody can step in between the question and what is sent. An end that nobody has
accepted yet is root's to the kernel, whoever waits for it: then it is the socket that listens, found as the kernel
itself does it, an address before every address.
"""

from __future__ import annotations

import _socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
"""The first with addresses of IPv4 alone; such connections are in the second if what listens does so on IPv6, too."""

_UID, _INODE = 6, 8
_MAPPED = bytes(10) + b"\xff\xff"
_LISTENS = "0A"


def owner(sock: _socket.socket, tables: tuple[str, str] = TABLES) -> int | None:
    """The uid; None if it is not to be told: there are no such tables, or what listens is not in this network."""
    far, near = sock.getpeername()[:2], sock.getsockname()[:2]
    contents = [_content(table) for table in tables]
    for content, theirs, ours in zip(contents, _written(*far), _written(*near), strict=True):
        entry = _entry(content, f"{theirs} {ours}")
        if entry is not None and (entry[_INODE] != b"0" or entry[_UID] != b"0"):
            return int(entry[_UID])
    return _listening(contents, (_written(*far), _written_any(far[1])))


def _listening(contents: list[bytes], places: Iterable[tuple[str, str]]) -> int | None:
    for place in places:
        for content, written, nobody in zip(contents, place, _written_any(0), strict=True):
            entry = _entry(content, f"{written} {nobody} {_LISTENS}")
            if entry is not None:
                return int(entry[_UID])
    return None


def _entry(content: bytes, key: str) -> list[bytes] | None:
    """The fields, from the local address on, of the line that has these."""
    at = content.find(f" {key} ".encode())
    return content[at : content.find(b"\n", at)].split() if at >= 0 else None


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
