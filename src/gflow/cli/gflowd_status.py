"""`gflowd status`: how the daemon is."""

import sys
from pathlib import Path
from typing import Any

import asyncclick as click

from gflow.cli.gflowd_invocation import Invocation
from gflow.cli.gflowd_which import choose, how_to_start, kind, reach, which
from gflow.cli.output import print_document
from gflow.cli.render.drained import drained_line
from gflow.core.limits import format_duration
from gflow.daemon import hosting

NOT_RUNNING = 3
"""Exit code of `gflowd status` when there is no daemon, as in the Linux Standard Base."""


@click.command()
@click.option("--socket", metavar="PATH", help="Unix socket the daemon listens on.")
@click.option("-o", "--output", type=click.Choice(("text", "json", "yaml")), default="text", help="text, json or yaml.")
@which
@click.pass_obj
async def status(given: Invocation, socket: str | None, output: str, *, own: bool, system: bool) -> None:
    """Say how the daemon is. Exit code 0: healthy, 1: unhealthy, 3: not running."""
    given.add(socket=socket)
    choose(given, own=own, system=system)
    path = reach(given)
    found = hosting.find(path, given.data_dir())
    if output != "text":
        print_document(_as_data(found) | {"system": given.system, "socket": str(path)}, output)
    elif found is None:
        why = hosting.failure(path) or f"nobody listens on {path}"
        click.echo(f"Status: Not running ({why}; {how_to_start(given)})\n{_which(given)}", nl=False)
    elif not _is_well(found):
        there = hosting.elsewhere(path, given.data_dir())
        mute = "it does not answer" if there is None else f"it listens on {there}, not on {path}"
        detail = (found.health or {}).get("detail", mute)
        click.echo(f"Status: Unhealthy\n{_which(given)}PID: {found.pid}\nDetail: {detail}")
    else:
        _tell(found, path, _which(given))
    sys.exit(NOT_RUNNING if found is None else 0 if _is_well(found) else 1)


def _which(given: Invocation) -> str:
    """The line that says which of several daemons it is about."""
    told = kind(given)
    return f"Daemon: {told}\n" if told else ""


def _tell(found: hosting.Running, path: Path, which_one: str) -> None:
    health, told = found.health or {}, found.status or {}
    jobs = ", ".join(f"{count} {state}" for state, count in told["jobs"].items() if count)
    click.echo("Status: Running" if health["status"] == "ok" else _recovery(health))
    uptime = format_duration(told["uptime_secs"])
    click.echo(f"{which_one}Version: {told['version']}\nPID: {found.pid}\nUptime: {uptime}")
    remark = told.get("gpu_trouble") or ("simulated" if told.get("gpu_simulated") else "")
    gpus = f"{told['gpu_available']} of {told['gpu_total']} available{f' ({remark})' if remark else ''}"
    click.echo(f"Executor: {told['executor']}\nGPUs: {gpus}")
    if told.get("limits"):
        click.echo(f"Limits: {_limits(told['limits'])}")
    if told.get("drained"):
        click.echo(drained_line(told["drained"]))
    if told.get("launch_trouble"):
        click.echo(f"Launches: none just now; {told['launch_trouble']}")
    click.echo(f"Jobs: {jobs or 'none'}\nSocket: {path}\nData: {told['data_dir']}")
    if told.get("tcp"):
        asks = "with tokens" if told.get("auth") == "token" else "without authentication"
        click.echo(f"TCP: {told['tcp']} ({asks})")


def _is_well(found: hosting.Running) -> bool:
    return found.status is not None and (found.health or {}).get("status") in ("ok", "recovery")


def _limits(told: dict[str, Any]) -> str:
    """What keeps jobs to their memory, in words."""
    if told["memory"] == "cgroup":
        return "kept by the kernel (cgroup v2)"
    return f"memory is watched about once a second ({told['why']})"


def _as_data(found: hosting.Running | None) -> dict[str, Any]:
    """The daemon as programs read it: `status` is not_running, unhealthy, or what /health says."""
    if found is None:
        return {"status": "not_running", "pid": None, "health": None, "details": None}
    said = (found.health or {}).get("status", "unhealthy") if _is_well(found) else "unhealthy"
    return {"status": said, "pid": found.pid, "health": found.health, "details": found.status}


def _recovery(health: dict[str, Any]) -> str:
    """The first lines about a daemon that serves though its state cannot be read."""
    lines = ["Status: Recovery", f"Detail: {health['detail']}", f"Journal: {health['journal']}"]
    return "\n".join(lines + ([f"Backup: {health['state_backup']}"] if health["state_backup"] else []))
