"""`gflowd service`: the daemon as a service of systemd."""

import getpass
import os
import sys
from pathlib import Path

import asyncclick as click

from gflow.cli import gflowd_takeover as takeover
from gflow.cli.gflowd_invocation import Invocation
from gflow.daemon import hosting
from gflow.daemon.hosting import HostingFailed, program
from gflow.daemon.units import SERVICE, SOCKET, Host, UnitFailed, lingers

NOT_INSTALLED = 4
"""Exit code of `status` when there is no unit, as in the Linux Standard Base: nothing is known of the program."""

_SYSTEM = click.option("--system", is_flag=True, help="For all users of the machine, run by root.")


@click.group(epilog="Examples:  gflowd service install  |  gflowd service status")
async def service() -> None:
    """Have systemd keep the daemon running: install, uninstall, status."""


@service.command()
@_SYSTEM
@click.option("--no-start", is_flag=True, help="Only write and enable the units.")
@click.pass_obj
async def install(given: Invocation, /, *, system: bool, no_start: bool) -> None:
    """Write the units, enable them, and start the daemon in the place of one that runs."""
    host = _host(system)
    given.system = system
    host.ask("show-environment")  # says at once if there is no manager to be had
    takeover.check(given, host)
    flags = {} if no_start else takeover.make_way(given, host)
    _write(given, host)
    if not no_start:
        given.add(**flags)
        _start(given, host)
        kept = f" with {' '.join(given.run_flags())}, until the next boot or 'gflowd up'" if flags else ""
        click.echo(f"gflowd runs as {SERVICE} (pid {host.main_pid()}){kept}.")
    user = getpass.getuser()
    if not system and not lingers(user):
        click.echo(f"It stops, and its jobs end, when you log out, unless you run: loginctl enable-linger {user}")


def _write(given: Invocation, host: Host) -> None:
    files = host.install([*program(), *given.arguments()], ["--system"] if host.system else [], os.environ)
    host.vary(None, {})
    host.ask("enable", SOCKET, SERVICE)
    click.echo("".join(f"Wrote {path}\n" for path in files), nl=False)


def _start(given: Invocation, host: Host) -> None:
    """Raises HostingFailed; if that is because of another daemon, the units are taken away again."""
    try:
        hosting.start(given.arguments(), given.run_flags(), host.socket, given.data_dir(), system=host.system)
    except HostingFailed:
        takeover.yield_to_others(given, host)
        raise


@service.command(hidden=True)
@_SYSTEM
@click.pass_obj
async def vacant(given: Invocation, /, *, system: bool) -> None:
    """Say whether the socket's unit may start: exit code 1, and a line, if another daemon has its place."""
    given.system = system
    takeover.vacant(given, Host(system=system))


@service.command()
@_SYSTEM
@click.pass_obj
async def uninstall(given: Invocation, /, *, system: bool) -> None:
    """Stop the daemon and remove the units; running jobs go on."""
    host = _host(system)
    given.system = system
    if not host.installed:
        click.echo(f"{SERVICE} is not installed.")
        return
    click.echo("".join(f"Removed {path}\n" for path in host.remove()), nl=False)
    hosting.forget(given.data_dir())
    left = hosting.find(host.socket, given.data_dir())
    if left is not None:
        click.echo(f"gflowd (pid {left.pid}), which was not of the unit, goes on.")
    else:
        click.echo(f"gflowd is not running, and its jobs go on; without systemd: {host.by_hand}")


@service.command()
@_SYSTEM
async def status(*, system: bool) -> None:
    """Say whether the units are installed and how they are. Exit code 0: running, 3: not, 4: not installed."""
    host, of_all = Host(system=system), Host(system=True)
    note = f"For all users: {_in_a_line(of_all)}\n" if not system and of_all.installed else ""
    if not host.installed:
        option = " --system" if system else ""
        click.echo(f"{SERVICE} is not installed; 'gflowd service install{option}' does that\n{note}", nl=False)
        sys.exit(NOT_INSTALLED)
    click.echo(f"Unit: {host.directory / SERVICE}")
    pid = _tell(host)
    user = getpass.getuser()
    if not system:
        lasts = "yes" if lingers(user) else f"no; to outlive a logout: loginctl enable-linger {user}"
        click.echo(f"Lingering: {lasts}\n{note}", nl=False)
    sys.exit(0 if pid else 3)


def _tell(host: Host) -> int:
    """Say how the unit is; the pid of the daemon, 0 if it does not run."""
    facts = host.state()
    click.echo(f"State: {facts['ActiveState']} ({facts['SubState']}), {facts['UnitFileState']}")
    pid = host.main_pid()
    if pid:
        click.echo(f"PID: {pid}\nJobs: {facts['StatusText']}\nRestarts: {facts['NRestarts']}")
    elif failure := host.failure():
        option = " --system" if host.system else ""
        click.echo(f"Why: {failure}\nTo do: once that is mended: gflowd up{option}")
    return pid


def _in_a_line(host: Host) -> str:
    """The unit of the system, for who has not asked for it."""
    try:
        facts = host.state()
    except UnitFailed as error:
        return f"{host.directory / SERVICE} ({error})"
    how = f"{facts['ActiveState']} ({facts['SubState']}), {facts['UnitFileState']}"
    return f"{host.directory / SERVICE}, {how}; more: gflowd service status --system"


def _host(system: bool) -> Host:
    if system and os.geteuid() != 0:
        raise UnitFailed("--system is for root: the units of the machine are in /etc/systemd/system")
    if not system and not Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere")).is_dir():
        why = "XDG_RUNTIME_DIR is not set (log in, rather than su)"
        raise UnitFailed(f"there is no user's systemd here: {why}; without it: gflowd up")
    return Host(system=system)
