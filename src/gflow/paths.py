"""Where gflow's files are: the XDG base directories, for the daemon and for commands.

Every function reads the environment anew and touches no file, except `check_private_directory`. Commands import this
on their way to the socket, so it needs nothing that the interpreter has not loaded; platformdirs, which knows the
other platforms, is asked there only. Its answers on Linux are what the tests compare with.
"""

from __future__ import annotations

import os
import stat
import sys

_NAME = "gflow"

SYSTEM_SOCKET = "/run/gflow/gflowd.sock"
"""Of the daemon that serves all users of the machine. Only root can put anything there."""

SYSTEM_DATA = "/var/lib/gflow"
SYSTEM_CONFIG = "/etc/gflow/gflow.toml"


class UnsafeDirectory(Exception):
    """A directory others could have prepared; the message says what is wrong with it."""


def config_file() -> str:
    """The configuration file used when none is named; it need not exist."""
    return os.path.join(_base("XDG_CONFIG_HOME", "~/.config"), _NAME, "gflow.toml")


def token_file() -> str:
    """What says to daemons over TCP who the user is; it need not exist."""
    return os.path.join(os.path.dirname(config_file()), "token")


def data_dir() -> str:
    """State, logs and job files."""
    return os.path.join(_base("XDG_DATA_HOME", "~/.local/share"), _NAME)


def user_unit() -> str:
    """The unit of systemd that hosts a daemon of one's own, where that is installed."""
    return os.path.join(_base("XDG_CONFIG_HOME", "~/.config"), "systemd", "user", "gflowd.service")


def runtime_dir() -> str:
    """The directory of the sockets: `$XDG_RUNTIME_DIR/gflow`, else below the platform's runtime directory."""
    return os.path.join(_absolute("XDG_RUNTIME_DIR") or _platform_runtime_dir(), _NAME)


def default_socket() -> str:
    """The daemon's socket when nothing else is said."""
    return os.path.join(runtime_dir(), "gflowd.sock")


def check_private_directory(path: str) -> None:
    """Raise `UnsafeDirectory` unless `path` is a directory of ours, not a link, that only we may use.

    The fallback below /tmp has a name that anybody can guess and create first.
    """
    try:
        found = os.lstat(path)
    except OSError as error:
        raise UnsafeDirectory(f"{path}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeDirectory(f"{path} is not a directory; set XDG_RUNTIME_DIR to one of your own")
    if found.st_uid != os.geteuid():
        raise UnsafeDirectory(f"{path} belongs to uid {found.st_uid}; set XDG_RUNTIME_DIR to a directory of your own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UnsafeDirectory(f"{path} is open to others; run: chmod 700 {path}")


def _absolute(variable: str) -> str | None:
    """The XDG rule: unset, empty and relative values do not count."""
    value = os.environ.get(variable, "")
    return value if os.path.isabs(value) else None


def _base(variable: str, default: str) -> str:
    return _absolute(variable) or os.path.expanduser(default)


def _platform_runtime_dir() -> str:
    if not sys.platform.startswith("linux"):
        import platformdirs

        return platformdirs.user_runtime_dir()
    uid = os.geteuid()
    of_login = f"/run/user/{uid}"
    try:
        check_private_directory(of_login)
    except UnsafeDirectory:
        # Not $TMPDIR: the daemon and a command may have different ones, and must meet all the same.
        fallback = f"/tmp/runtime-{uid}"  # noqa: S108 - checked right here
        if os.path.lexists(fallback):
            check_private_directory(fallback)
        return fallback
    return of_login
