"""Which daemon a command of `gflowd` is about: that which `gqueue` and its like would call, so there is one rule.

What is named comes first: by --own or --system, by --socket, `GFLOW_URL` (unix:), `GFLOW_DAEMON_SOCKET`, or
`daemon.socket` of one's own file. Else it is one's own, if there is one; else that of all users, if that is there.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import asyncclick as click

from gflow import config, paths
from gflow.cli.gflowd_invocation import Invocation
from gflow.client import endpoint
from gflow.config import ConfigError
from gflow.daemon import hosting
from gflow.daemon.units import SERVICE, Host

_F = TypeVar("_F", bound=Callable[..., Any])


def which(command: _F) -> _F:
    """The options that say it."""
    for option in (
        click.option("--system", is_flag=True, help="The daemon of all users, also if there is one of your own."),
        click.option("--own", is_flag=True, help="Your own daemon, also if there is one for all users."),
    ):
        command = option(command)
    return command


def choose(given: Invocation, *, own: bool, system: bool) -> bool:
    """Have `given` be about the daemon that is meant.

    Returns whether that of all users is meant only because there is no other.
    """
    if own and system:
        raise click.UsageError("--own and --system: use one of them.")
    if not (own or system):
        _take_url(given)
    named = _named(given)
    if named is not None:
        given.system = system or os.path.realpath(named) == os.path.realpath(paths.SYSTEM_SOCKET)
        if own and given.system:
            raise ConfigError(f"--own: {named} is the socket of the daemon of all users; is GFLOW_DAEMON_SOCKET set?")
        return False
    mine = own or _has_own(given)
    given.system = system or (not mine and serves_all())
    return given.system and not system


def _take_url(given: Invocation) -> None:
    """Take the socket that a `unix:` URL names; URLs of other machines are not for `gflowd`."""
    url = os.environ.get("GFLOW_URL") or (_from(given, lambda settings: settings.client.url) if not _variable() else "")
    if url and url.startswith("unix:/"):
        given.flags.setdefault("socket", url.removeprefix("unix:"))


def _named(given: Invocation) -> str | None:
    """The socket that flag, environment or one's own file name."""
    return _from(given, lambda settings: settings.daemon.socket) or given.flags.get("socket") or _variable()


def _variable() -> str | None:
    return config.environment().get("GFLOW_DAEMON_SOCKET")


def _from(given: Invocation, what: Callable[[config.Config], str | None]) -> str | None:
    """What the settings say; nothing if they cannot be read, which is told of when they are needed."""
    try:
        return what(given.settings())
    except ConfigError:
        return None


def _has_own(given: Invocation) -> bool:
    """Also one that has died or is restarted, or a unit that is down: commands would not go elsewhere, either."""
    there = os.path.exists(paths.default_socket()) or Host().installed or endpoint.awaited()
    return there or hosting.socket_of(given.data_dir()) is not None


def goes_to_the_others(given: Invocation, path: Path) -> bool:
    """Whether commands call the daemon of all users now that the one which was at `path` is down."""
    if given.system or not os.path.exists(paths.SYSTEM_SOCKET):
        return False
    return os.path.realpath(path) == os.path.realpath(paths.default_socket()) and not _has_own(given)


def serves_all() -> bool:
    """Whether there is a daemon for all users here, or is to be one."""
    return os.path.exists(paths.SYSTEM_SOCKET) or Host(system=True).installed


def name(given: Invocation) -> str:
    """What the daemon is called at the beginning of a line: plain where there is only one."""
    if given.system:
        return "gflowd of all users"
    return "Your own gflowd" if serves_all() else "gflowd"


def kind(given: Invocation) -> str | None:
    """The same for a table; None where there is only one."""
    if given.system:
        return "of all users"
    return f"your own; there is one for all users, too (unix:{paths.SYSTEM_SOCKET})" if serves_all() else None


def how_to_start(given: Invocation) -> str:
    """The command for it."""
    if given.system:
        return "start it with 'gflowd up --system'" if os.geteuid() == 0 else "root starts it with 'gflowd up --system'"
    return f"start it with '{'gflowd up --own' if serves_all() else 'gflowd up'}'"


def must_be_root(given: Invocation, verb: str, word: str) -> None:
    """Raise HostingFailed where it takes root to do that (`verb`) to the daemon which is meant; `word`: the command."""
    if given.system and os.geteuid() != 0:
        raise hosting.HostingFailed(
            f"the daemon of all users is root's to {verb}; for one of your own: gflowd {word} --own"
        )


def leave_to_the_others(given: Invocation) -> None:
    """Say that the daemon of all users is enough. Raises HostingFailed if it does not run, or options were given."""
    path = Path(paths.SYSTEM_SOCKET)
    found = hosting.find(path, given.data_dir())
    installed = Host(system=True).installed
    if found is None and not (installed and path.exists()):  # else systemd starts it for whoever calls
        unit = f" ({SERVICE} of the system)" if installed else ""
        raise hosting.HostingFailed(
            f"the daemon of all users does not run{unit}; {how_to_start(given)}, and"
            " 'gflowd up --own' starts one of your own"
        )
    if found is not None and found.health is None:
        raise hosting.HostingFailed(
            f"the daemon of all users (pid {found.pid}) does not answer; 'gflowd up --own' starts one of your own"
        )
    pid = "" if found is None else f" (pid {found.pid})"
    options = [*given.arguments(), *given.run_flags()]
    if options:
        raise hosting.HostingFailed(
            f"the daemon of all users{pid} serves your commands, and {' '.join(options)} was not taken;"
            " 'gflowd up --own' with it starts one of your own, and root changes that of all users"
        )
    click.echo(f"gflowd of all users{pid} serves your commands; 'gflowd up --own' starts one of your own beside it.")


def place(given: Invocation) -> tuple[Path, ConfigError | None]:
    """Where the daemon listens, and what is wrong with the settings, if they cannot be read."""
    if given.system and os.geteuid() != 0:
        return given.socket_without_file(), None  # that file is root's
    try:
        return given.socket(), None
    except ConfigError as error:
        return given.socket_without_file(hosting.socket_of(given.data_dir())), error


def reach(given: Invocation) -> Path:
    """Where the daemon listens; also told if the settings cannot be read, because stopping it must always work."""
    path, error = place(given)
    if error is not None:
        click.echo(f"gflowd: {sentence(error)}; the daemon is looked for on {path}", err=True)
    return path


def sentence(error: Exception) -> str:
    """What went wrong, in a line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
