"""Which daemon a command talks to: --url or GFLOW_URL, else the Unix socket.

The socket is GFLOW_DAEMON_SOCKET, else `daemon.socket` of the configuration file, else the default. TOML is parsed
only if the file speaks of a socket at all: the parser costs more than the whole rest of a command.
"""

from __future__ import annotations

import os

from gflow import paths
from gflow.client.errors import BadSetting


def find(url: str | None = None, config: str | None = None) -> str:
    """The path of the daemon's socket. `url` and `config` are what --url and --config said; raises `BadSetting`."""
    configured = _of_config(config)
    chosen = url or os.environ.get("GFLOW_URL")
    if chosen:
        return _of_url(chosen)
    return os.environ.get("GFLOW_DAEMON_SOCKET") or os.environ.get("GFLOW_DAEMON__SOCKET") or configured or _default()


def _default() -> str:
    try:
        return paths.default_socket()
    except paths.UnsafeDirectory as error:
        raise BadSetting(str(error)) from error


def _of_url(url: str) -> str:
    scheme, _, rest = url.partition(":")
    if scheme == "unix" and rest.startswith("/"):
        return "/" + rest.lstrip("/")
    if scheme in ("http", "https"):
        raise BadSetting(f"cannot use {url}: this gflow reaches the daemon over its Unix socket only (unix:/path)")
    raise BadSetting(f"cannot use '{url}' as an endpoint: write unix:/path/to/gflowd.sock")


def _of_config(named: str | None) -> str | None:
    """`daemon.socket` of the file; a file that was named must exist, the default one need not."""
    path = named or paths.config_file()
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        if named:
            raise BadSetting(f"configuration file {named} does not exist") from None
        return None
    except OSError as error:
        raise BadSetting(f"cannot read configuration file {path}: {error.strerror}") from error
    return _socket_setting(content, path) if b"socket" in content else None


def _socket_setting(content: bytes, path: str) -> str | None:
    import tomllib

    try:
        daemon = tomllib.loads(content.decode()).get("daemon", {})
    except ValueError as error:
        raise BadSetting(f"{path} is not valid TOML: {error}") from error
    value = daemon.get("socket") if isinstance(daemon, dict) else None
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise BadSetting(f"{path}: daemon.socket must be a path")
    return os.path.expanduser(value)
