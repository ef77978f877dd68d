"""What tells a client on a TCP port from a web page that has a browser ask in its place.

A page cannot read from another origin, but it can send: a POST without a body needs nobody's leave. And a page whose
name is made to stand for 127.0.0.1 (DNS rebinding) is of the same origin, so that it could read, too. Browsers say
both: the name in `Host`, and `Origin` with whatever could change something.
"""

import ipaddress
import re

from quart import Request

from gflow.core.errors import Forbidden
from gflow.daemon.loopback import is_loopback
from gflow.daemon.peer import Stranger

_HOST = re.compile(r"(?:\[([0-9A-Za-z:.%]+)\]|([0-9A-Za-z._-]+))(?::[0-9]{0,5})?")
"""`name:port` or `[address]:port` (RFC 9110, section 7.2), of what names and addresses are made of here."""

_READING = ("GET", "HEAD", "OPTIONS")
_ONLY_BROWSERS = ("Origin", "Sec-Fetch-Site")


def check(request: Request, peer: Stranger) -> None:
    """Raise Forbidden for a request over TCP that is not addressed to this machine, or that a page may be behind."""
    named = request.headers.getlist("Host")
    if len(named) != 1 or not _is_ours(_name(named[0]), peer):
        said = named[0] if named else "nothing"
        ours = "its own names only; daemon.allowed_hosts can name more" if peer.outside else "localhost only"
        raise Forbidden(f"The request is addressed to {said!r}; over TCP this daemon answers to {ours}")
    if request.method not in _READING and any(name in request.headers for name in _ONLY_BROWSERS):
        raise Forbidden("A request from a web page may not change anything")


def _is_ours(name: str, peer: Stranger) -> bool:
    """A page's own name can be made to stand for any address; the address itself cannot be."""
    name = name.lower().removesuffix(".")
    one_below = f"*.{name.partition('.')[2]}"
    return name in peer.hosts or one_below in peer.hosts or (_is_address(name) if peer.outside else is_loopback(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """The name or address that is meant; "", which is nobody's, where it is neither."""
    match = _HOST.fullmatch(host)
    return "" if match is None else match[1] or match[2]
