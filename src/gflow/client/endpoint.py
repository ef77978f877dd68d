"""Which daemon a command talks to: --url or GFLOW_URL, else the Unix socket, else TCP where that is configured.

The socket is GFLOW_DAEMON_SOCKET, else `daemon.socket` of the configuration file, else the user's own, else that of the
daemon that serves all users of the machine. Where there is neither of the last two, `daemon.host` and `daemon.port`
count - with `daemon.auth = "none"` only: a file of gflow 0.4 names them, too, and a daemon that is merely down must not
have commands send what they carry to whoever has its port.

TOML is parsed only if the file speaks of any of this: the parser costs more than the whole rest of a command.
"""

from __future__ import annotations

import os

from gflow import paths
from gflow.client.errors import BadSetting


def find(url: str | None = None, config: str | None = None) -> str:
    """The path of the daemon's socket, or its URL, `http://host:port`.

    `url` and `config` are what --url and --config said; raises `BadSetting`.
    """
    file, content = _read(config)
    configured = _socket_of(content, file)
    chosen = url or os.environ.get("GFLOW_URL")
    if chosen:
        return _of_url(chosen)
    named = _variable("SOCKET") or configured
    if named:
        return named
    path = _default()
    if os.path.exists(path):
        return path
    if os.path.exists(paths.SYSTEM_SOCKET):
        return paths.SYSTEM_SOCKET
    return _url_of(content, file) or path


def _variable(name: str) -> str | None:
    return os.environ.get(f"GFLOW_DAEMON_{name}") or os.environ.get(f"GFLOW_DAEMON__{name}")


def _default() -> str:
    try:
        return paths.default_socket()
    except paths.UnsafeDirectory as error:
        raise BadSetting(str(error)) from error


def _of_url(url: str) -> str:
    scheme, _, rest = url.partition(":")
    if scheme == "unix" and rest.startswith("/"):
        return "/" + rest.lstrip("/")
    if url.startswith("http://"):
        from gflow.client import tcp

        return tcp.checked(url)
    if scheme == "https":
        raise BadSetting(f"cannot use {url}: this gflow has no TLS yet; write unix:/path or http://host:port")
    raise BadSetting(f"cannot use '{url}' as an endpoint: write unix:/path/to/gflowd.sock, or http://host:port")


def _read(named: str | None) -> tuple[str, bytes]:
    """Path and content of the configuration; a file that was named must exist, the default one need not."""
    path = named or paths.config_file()
    try:
        with open(path, "rb") as file:
            return path, file.read()
    except FileNotFoundError:
        if named:
            raise BadSetting(f"configuration file {named} does not exist") from None
        return path, b""
    except OSError as error:
        raise BadSetting(f"cannot read configuration file {path}: {error.strerror}") from error


def _daemon_table(content: bytes, path: str, word: bytes) -> dict[str, object]:
    """The `[daemon]` table of a file that speaks of `word`."""
    if word not in content:
        return {}
    import tomllib

    try:
        daemon = tomllib.loads(content.decode()).get("daemon", {})
    except ValueError as error:
        raise BadSetting(f"{path} is not valid TOML: {error}") from error
    return daemon if isinstance(daemon, dict) else {}


def _socket_of(content: bytes, path: str) -> str | None:
    value = _daemon_table(content, path, b"socket").get("socket")
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise BadSetting(f"{path}: daemon.socket must be a path")
    return os.path.expanduser(value)


def _url_of(content: bytes, path: str) -> str | None:
    """Where the daemon serves TCP; None if that is not configured, or not without authentication."""
    daemon = {} if _variable("AUTH") else _daemon_table(content, path, b"auth")
    if (_variable("AUTH") or daemon.get("auth")) != "none":
        return None
    daemon = daemon or _daemon_table(content, path, b"daemon")
    host, port = _variable("HOST") or daemon.get("host"), _variable("PORT") or daemon.get("port")
    if host is None and port is None:
        return None
    from gflow.client import tcp

    if not isinstance(host, str | None) or not str(port or 1).isdigit():
        raise BadSetting(f"{path}: daemon.host must be a name, and daemon.port a number")
    return tcp.endpoint(host, int(str(port)) if port else None)
