"""Which daemon a command talks to: --url or GFLOW_URL, else the Unix socket, else TCP where that is configured.

`client.url` of the configuration file stands for a GFLOW_URL that is not set. The socket is GFLOW_DAEMON_SOCKET, else
`daemon.socket` of the file, else the user's own, else that of the daemon that serves all users of the machine. A daemon
of one's own that is away is not passed over: it counts as there if it has a unit, or nobody has said `gflowd down`;
else one is told. Where there is neither of the last two, `daemon.host` and `daemon.port` count: with TLS, or where it
is said that none is needed. A file of gflow 0.4 names them, too, and a daemon that is merely down must not have
commands send what they carry to whoever has its port.

TOML is parsed only if the file speaks of any of this, or was named with --config: the parser costs more than the whole
rest of a command.
"""

from __future__ import annotations

import os
import stat

from gflow import paths
from gflow.client.errors import BadSetting
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.client.tcp import Remote

    Table = dict[str, Any]

_URLS = ("http://", "https://")
_KINDS = {"url": str, "cacert": str, "ssh_host": str, "allow_plaintext": bool}
"""The keys of `[client]`."""

_trusted: str | None = None


def trust(cacert: str | None) -> None:
    """What --cacert said, for every endpoint that is looked for from now on."""
    global _trusted  # noqa: PLW0603 - one command line for one process, and many that ask for the endpoint
    _trusted = cacert


def find(url: str | None = None, config: str | None = None, *, quiet: bool = False) -> str:
    """The path of the daemon's socket, or its URL, a `tcp.Remote`.

    `url` and `config` are what --url and --config said; raises `BadSetting`. quiet: nothing is said on stderr.
    """
    file, content = _read(config)
    if config:
        _parsed(content, file)  # a file that is named must be right, whatever it speaks of
    client = _client(content, file)
    configured = _socket_of(content, file)
    chosen = url or os.environ.get("GFLOW_URL")
    named = _variable("SOCKET")
    if chosen or (not named and "url" in client):
        return _of_url(chosen or client["url"], client)
    if named:
        return _absolute(named, "GFLOW_DAEMON_SOCKET")
    if configured:
        return configured
    if not os.path.exists(paths.SYSTEM_SOCKET):
        path = _default()
        return path if os.path.exists(path) else _url_of(content, file, client) or path
    if os.path.exists(paths.user_unit()) or _is_there():
        return _default()
    said = _said_by_own()
    if said is not None and _is_of_default(said):
        return _default()
    if not quiet and said is not None:
        say("your own gflowd is down, so this is about that of all users; 'gflowd up --own' starts yours")
    return paths.SYSTEM_SOCKET


def _is_there() -> bool:
    """Whether the socket of one's own daemon is there, and not only a directory that somebody else has made."""
    try:
        return os.path.exists(paths.default_socket())
    except paths.UnsafeDirectory:
        return False


def _default() -> str:
    """The socket of one's own daemon. Raises BadSetting where somebody else may have made its directory."""
    try:
        return paths.default_socket()
    except paths.UnsafeDirectory as error:
        raise BadSetting(str(error)) from error


def awaited() -> bool:
    """Whether one's own daemon, which listens in the usual place, was here and nobody has said `gflowd down` since.

    So it may be away for a moment, or have crashed.
    """
    said = _said_by_own()
    return said is not None and _is_of_default(said)


def _said_by_own() -> bytes | None:
    """What the lock of one's own daemon says, which is nothing after `gflowd down`; None if there never was one."""
    try:
        with open(os.path.join(paths.data_dir(), "gflowd.lock"), "rb") as file:
            return file.read(4096)
    except OSError:
        return None


def _is_of_default(said: bytes) -> bool:
    """Whether that daemon listens where commands look for it."""
    if not said:
        return False
    import json

    try:
        listens: str = json.loads(said)["socket"]
        return bool(os.path.realpath(listens) == os.path.realpath(paths.default_socket()))
    except (ValueError, KeyError, TypeError, paths.UnsafeDirectory):
        return False


def is_url(endpoint: str) -> bool:
    """Whether this is no socket of this machine."""
    return endpoint.startswith(_URLS)


def _variable(name: str) -> str | None:
    return os.environ.get(f"GFLOW_DAEMON_{name}") or os.environ.get(f"GFLOW_DAEMON__{name}")


def _of_url(url: str, client: Table) -> str:
    scheme, _, rest = url.partition(":")
    if scheme == "unix" and rest.startswith("/"):
        return "/" + rest.lstrip("/")
    if is_url(url):
        from gflow.client import tcp

        return _equipped(tcp.remote(url), client)
    raise BadSetting(
        f"cannot use '{url}' as an endpoint: write unix:/path/to/gflowd.sock, https://host:port or http://host:port"
    )


def _equipped(remote: Remote, client: Table) -> Remote:
    """The endpoint with what the command line, the environment and the file say about reaching it."""
    cacert = _trusted_cas(client)
    remote.cacert = os.path.expanduser(cacert) if cacert else None
    remote.plaintext = client.get("allow_plaintext", False)
    remote.ssh_host = os.environ.get("GFLOW_SSH_HOST") or client.get("ssh_host")
    return remote


def _trusted_cas(client: Table) -> str | None:
    return _trusted or os.environ.get("GFLOW_CACERT") or client.get("cacert")


def _read(named: str | None) -> tuple[str, bytes]:
    """Path and content of the configuration; a file that was named must exist, the default one need not."""
    path = named or paths.config_file()
    try:
        if not named and stat.S_ISFIFO(os.stat(path).st_mode):  # only who names one means it; nobody may write to it
            raise BadSetting(f"cannot read configuration file {path}: it is a pipe")
        with open(path, "rb") as file:
            return path, file.read()
    except FileNotFoundError:
        if named:
            raise BadSetting(f"configuration file {named} does not exist") from None
        return path, b""
    except OSError as error:
        raise BadSetting(f"cannot read configuration file {path}: {error.strerror}") from error


def _table(content: bytes, path: str, name: str, *words: bytes) -> Table:
    """The table called `name` of a file that speaks of one of `words`."""
    if not any(word in content for word in words):
        return {}
    table = _parsed(content, path).get(name, {})
    return table if isinstance(table, dict) else {}


def _parsed(content: bytes, path: str) -> Table:
    import tomllib

    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        raise BadSetting(f"{path} is not valid TOML: {error}") from error


def _client(content: bytes, path: str) -> Table:
    """The `[client]` table."""
    table = _table(content, path, "client", b"client")
    for key, value in table.items():
        kind = _KINDS.get(key)
        if kind is None:
            raise BadSetting(f"{path}: client.{key} is unknown; allowed: {', '.join(_KINDS)}")
        if type(value) is not kind or value == "":
            raise BadSetting(f"{path}: client.{key} must be {'true or false' if kind is bool else 'a text'}")
    return table


def _socket_of(content: bytes, path: str) -> str | None:
    value = _table(content, path, "daemon", b"socket").get("socket")
    if value is None:
        return None
    return _absolute(value, f"{path}: daemon.socket")


def _absolute(value: object, source: str) -> str:
    found = os.path.expanduser(value) if isinstance(value, str) else ""
    if not os.path.isabs(found):
        raise BadSetting(f"{source} must be an absolute path, or one that begins with ~/")
    return found


def _url_of(content: bytes, path: str, client: Table) -> Remote | None:
    """Where the daemon serves TCP; None if that is not configured, or not in a way that may be counted on."""
    said = _variable("AUTH") or _trusted_cas(client) or client.get("allow_plaintext")
    daemon = _table(content, path, "daemon", *((b"daemon",) if said else (b"auth", b"tls_cert", b"allow_plaintext")))
    host, port = _variable("HOST") or daemon.get("host"), _variable("PORT") or daemon.get("port")
    secure = bool(daemon.get("tls_cert") or _trusted_cas(client))
    plaintext = client.get("allow_plaintext") or daemon.get("allow_plaintext") is True
    is_open = (_variable("AUTH") or daemon.get("auth")) == "none"
    if (host is None and port is None) or not (secure or plaintext or is_open):
        return None
    from gflow.client import tcp

    if not isinstance(host, str | None) or not str(port or 1).isdigit():
        raise BadSetting(f"{path}: daemon.host must be a name, and daemon.port a number")
    remote = _equipped(tcp.endpoint(host, int(str(port)) if port else None, secure=secure), client)
    remote.plaintext = bool(plaintext)
    return remote
