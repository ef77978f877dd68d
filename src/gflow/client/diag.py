"""One socket of this network, as the kernel is asked for it: sock_diag(7), with what it takes to say by hand."""

from __future__ import annotations

import _socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    Place = tuple[str, int]

_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = 1
_HEAD, _UID_AT = 16, 64
_NO_COOKIE = b"\xff" * 8
_ANY_STATE = b"\xff" * 4


def find(local: Place, remote: Place | None) -> tuple[int, int] | None:
    """Uid and inode of the socket between two places, or without `remote` of the one that listens, if there is one.

    The inode is 0 if no process has it (yet). None is also for a kernel that cannot be asked.
    """
    try:
        answer = _ask(_question(local, remote))
    except OSError:
        return None
    if _number(answer[4:6]) != _BY_FAMILY or len(answer) < _HEAD + _UID_AT + 8:
        return None  # an error: there is none, for one
    at = _HEAD + _UID_AT
    return _number(answer[at : at + 4]), _number(answer[at + 4 : at + 8])


def _question(local: Place, remote: Place | None) -> bytes:
    """`struct nlmsghdr` and `struct inet_diag_req_v2`."""
    family = _socket.AF_INET6 if ":" in local[0] else _socket.AF_INET
    host, port = remote or ("::" if family == _socket.AF_INET6 else "0.0.0.0", 0)  # noqa: S104 - of no remote at all
    ports = local[1].to_bytes(2, "big") + port.to_bytes(2, "big")
    ends = ports + _packed(family, local[0]) + _packed(family, host) + bytes(4) + _NO_COOKIE
    body = bytes((family, _socket.IPPROTO_TCP, 0, 0)) + _ANY_STATE + ends
    head = (_HEAD + len(body)).to_bytes(4, sys.byteorder) + _BY_FAMILY.to_bytes(2, sys.byteorder)
    return head + _REQUEST.to_bytes(2, sys.byteorder) + bytes(8) + body


def _ask(question: bytes) -> bytes:
    """The kernel's answer, which is there when the question has been sent."""
    sock = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _SOCK_DIAG)
    try:
        sock.sendto(question, (0, 0))
        answer, sender = sock.recvfrom(8192, _socket.MSG_DONTWAIT)
    finally:
        sock.close()
    return answer if sender[0] == 0 else b""


def _packed(family: int, host: str) -> bytes:
    return _socket.inet_pton(family, host.partition("%")[0]).ljust(16, b"\0")


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)
