"""`gflowd service install` where a daemon runs already: the unit takes its place, or nothing is touched.

systemd would take the socket from that daemon and could not take its data, so that nobody served any more. What was
started by `gflowd up`, or in a terminal, is stopped as `gflowd restart` would stop it; its jobs go on. What somebody
else looks after, or what has other data or another socket, is left to who started it.
"""

import os
from pathlib import Path

import asyncclick as click

from gflow import config
from gflow.cli.gflowd_doctor import usable
from gflow.cli.gflowd_invocation import Invocation
from gflow.daemon import hosting
from gflow.daemon.units import SERVICE, SOCKET, Host, UnitFailed


def check(given: Invocation, host: Host) -> None:
    """Raise UnitFailed, ConfigError or OSError for what can be seen beforehand to keep a unit from serving."""
    named = usable(given).daemon.socket
    if named is not None and os.path.realpath(os.path.expanduser(named)) != os.path.realpath(host.socket):
        raise UnitFailed(
            f"GFLOW_DAEMON_SOCKET or daemon.socket says {named}, a unit listens on {host.socket}: leave it out first"
        )
    there = next(place for place in (host.directory, *host.directory.parents) if place.exists())
    if not os.access(there, os.W_OK):
        raise UnitFailed(f"units cannot be written to {host.directory}: {there} is not writable for you")


def vacant(given: Invocation, host: Host) -> None:
    """Raise UnitFailed if another daemon than that of the unit has its data, or its socket."""
    running = _other(given, host)
    if running is not None:
        where = hosting.elsewhere(host.socket, given.data_dir()) or host.socket
        raise UnitFailed(f"gflowd (pid {running.pid}), which is not of the unit, serves on {where}; not taken from it")


def make_way(given: Invocation, host: Host) -> dict[str, str]:
    """Stop the daemon that runs, if there is one, and say so; the flags it had, which the next is to have.

    Raises UnitFailed or HostingFailed, with the daemon as it was, where the unit cannot take its place.
    """
    running = _other(given, host)
    flags = {} if running is None else _taken_over(running, given, host)
    pid = hosting.stop(host.socket, given.data_dir())
    if running is not None:
        click.echo(f"gflowd (pid {pid}) stopped; its jobs go on, and the unit takes its place.")
    elif host.installed:
        host.ask("stop", SOCKET, SERVICE)
    return flags


def yield_to_others(given: Invocation, host: Host) -> None:
    """Remove the units again if another daemon is there after all. Raises UnitFailed then."""
    running = _other(given, host)
    if running is not None:
        host.remove()
        raise UnitFailed(
            f"something else starts gflowd again and again (now pid {running.pid}), which keeps the unit from it;"
            " the units are removed again: stop that first"
        )


def _other(given: Invocation, host: Host) -> hosting.Running | None:
    """The daemon in the way; None if there is none but that of the unit."""
    running = hosting.find(host.socket, given.data_dir())
    return None if running is None or (host.installed and running.pid == host.main_pid()) else running


def _taken_over(running: hosting.Running, given: Invocation, host: Host) -> dict[str, str]:
    """The flags of this one, if it is one to be taken over. Raises UnitFailed."""
    one = f"gflowd (pid {running.pid})"
    listens = hosting.elsewhere(host.socket, given.data_dir())
    if listens is not None:
        raise UnitFailed(
            f"{one} listens on {listens}, a unit does on {host.socket}; stop it first: gflowd down --socket {listens}"
        )
    if running.status is None and hosting.socket_of(given.data_dir()) is None:
        raise UnitFailed(f"process {running.pid} has {host.socket}, and does not answer; stop it first")
    data = (running.status or {}).get("data_dir", given.data_dir())
    if os.path.realpath(data) != os.path.realpath(given.data_dir()):
        raise UnitFailed(f"{one} has its data in {data}, and a unit has {given.data_dir()}; stop it first: gflowd down")
    unit = _unit_of(running.pid)
    if unit is not None:
        raise UnitFailed(f"{one} is kept running by {unit} of systemd; stop and disable that one first")
    words = hosting.arguments_of(running.pid)
    if words and not given.arguments():
        anew = " ".join(["gflowd", *words, "service install", *(["--system"] if given.system else [])])
        raise UnitFailed(f"{one} was started with {' '.join(words)}; say that here, too: {anew}")
    return _flags(running, given)


def _flags(running: hosting.Running, given: Invocation) -> dict[str, str]:
    flags = hosting.flags_of(running.pid)
    if given.system:
        flags.pop("system", None)
    flags.pop("data_dir", None)  # the same, as was seen
    foreign = sorted(flags.keys() - config.FROM_TEXT.keys())
    if foreign:
        option = f"--{foreign[0].replace('_', '-')}"
        raise UnitFailed(
            f"gflowd (pid {running.pid}) was started with {option}, which a unit has not; stop it first: gflowd down"
        )
    return flags


def _unit_of(pid: int) -> str | None:
    """The unit of systemd, user's or system's, whose main process this is."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    names = {os.path.basename(line) for line in lines if line.endswith(".service")}
    return next((name for name in names if any(host.runs(name, pid) for host in (Host(), Host(system=True)))), None)
