"""`gflowd service`: the daemon as a service of systemd."""

import getpass
import os
import sys
from pathlib import Path

import asyncclick as click

from gflow.daemon.hosting import program
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
@click.pass_context
async def install(context: click.Context, *, system: bool, no_start: bool) -> None:
    """Write the units, enable them, and start the daemon."""
    host = _host(system)
    host.ask("show-environment")  # says at once if there is no manager to be had
    files = host.install([*program(), *context.obj.arguments()], ["--system"] if system else [], os.environ)
    host.vary(None, {})
    host.ask("enable", SOCKET, SERVICE)
    click.echo("".join(f"Wrote {path}\n" for path in files), nl=False)
    if not no_start:
        host.ask("restart", SOCKET)
        host.ask("restart", SERVICE)
        click.echo(f"gflowd runs as {SERVICE} (pid {host.main_pid()}).")
    user = getpass.getuser()
    if not system and not lingers(user):
        click.echo(f"It stops, and its jobs end, when you log out, unless you run: loginctl enable-linger {user}")


@service.command()
@_SYSTEM
async def uninstall(*, system: bool) -> None:
    """Stop the daemon and remove the units; running jobs go on."""
    host = _host(system)
    if not host.installed:
        click.echo(f"{SERVICE} is not installed.")
        return
    host.ask("disable", "--now", SOCKET, SERVICE)
    files = host.uninstall()
    host.ask("daemon-reload")
    click.echo("".join(f"Removed {path}\n" for path in files), nl=False)


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
        click.echo(f"Why: {failure}")
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
