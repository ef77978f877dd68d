"""Mail servers as people write them: `smtp://user:password@host:port?tls=required`, `smtps://…`. Pure.

Without `tls`, `smtp://` is not encrypted, as with gflow, unless there is a password, which leaves this machine over TLS
only.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_TLS = ("never", "opportunistic", "required")
_PORTS = {"never": 25, "opportunistic": 25, "required": 587, "wrapper": 465}


@dataclass(frozen=True, slots=True)
class Server:
    """An SMTP server and how to talk to it. `login` is (user, password).

    `tls`: "never", "opportunistic" (STARTTLS if it is offered), "required" (STARTTLS), "wrapper" (TLS from the start).
    """

    host: str
    port: int
    tls: str
    login: tuple[str, str] | None = field(default=None, repr=False)


def smtp_server(text: str, key: str) -> Server:
    """The server at an address. Raises ValueError, with `key` in front."""
    shape = (
        f"{key}: write smtp://HOST, smtp://HOST?tls=required (STARTTLS) or smtps://HOST, with USER:PASSWORD@ if needed"
    )
    try:
        url = urlsplit(text.strip())
        port, host = url.port, url.hostname
    except ValueError:
        raise ValueError(shape) from None
    if url.scheme not in ("smtp", "smtps") or not host or port == 0 or url.path not in ("", "/") or url.fragment:
        raise ValueError(shape)
    login = _login(url, key)
    tls = "wrapper" if url.scheme == "smtps" else _starttls(url.query, key, default=_default_tls(login, host))
    if login is not None and tls in ("never", "opportunistic") and not _is_here(host):
        raise ValueError(f"{key}: a password is sent over TLS only; use smtps:// or tls=required")
    return Server(host, _PORTS[tls] if port is None else port, tls, login)


def _login(url: SplitResult, key: str) -> tuple[str, str] | None:
    if "@" not in url.netloc:
        return None
    login = unquote(url.username or ""), unquote(url.password or "")
    if not all(login):
        raise ValueError(f"{key}: before @ there must be both, USER:PASSWORD")
    if not all(word.isascii() and word.isprintable() for word in login):
        raise ValueError(f"{key}: user name and password can be sent in printable ASCII characters only")
    return login


def _starttls(query: str, key: str, *, default: str) -> str:
    options = parse_qs(query, keep_blank_values=True)
    word = (options.get("tls") or options.get("starttls") or [default])[-1].lower()
    if options.keys() - {"tls", "starttls"} or word not in _TLS:
        raise ValueError(f"{key}: after ? there may be tls={'|'.join(_TLS)}")
    return word


def _default_tls(login: tuple[str, str] | None, host: str) -> str:
    return "never" if login is None or _is_here(host) else "required"


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
