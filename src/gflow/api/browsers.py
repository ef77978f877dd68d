"""What tells a client on a TCP port of this machine from a web page that has a browser ask in its place.

A page cannot read from another origin, but it can send: a POST without a body needs nobody's leave. And a page whose
name is made to stand for 127.0.0.1 (DNS rebinding) is of the same origin, so that it could read, too. Browsers say
both: the name in `Host`, and `Origin` with whatever could change something.
"""

from quart import Request

from gflow.core.errors import Forbidden
from gflow.daemon.loopback import is_loopback
from gflow.daemon.peer import Stranger

_READING = ("GET", "HEAD", "OPTIONS")
_ONLY_BROWSERS = ("Origin", "Sec-Fetch-Site")


def check(request: Request, peer: Stranger) -> None:
    """Raise Forbidden for a request over TCP that is not addressed to this machine, or that a page may be behind."""
    named = request.headers.getlist("Host")
    if len(named) != 1 or not _is_ours(_name(named[0]), peer):
        said = named[0] if named else "nothing"
        raise Forbidden(f"The request is addressed to {said!r}; over TCP this daemon answers to localhost only")
    if request.method not in _READING and any(name in request.headers for name in _ONLY_BROWSERS):
        raise Forbidden("A request from a web page may not change anything")


def _is_ours(name: str, peer: Stranger) -> bool:
    return name.lower() in peer.hosts or is_loopback(name)


def _name(host: str) -> str:
    """The name in `name:port` or `[address]:port`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
