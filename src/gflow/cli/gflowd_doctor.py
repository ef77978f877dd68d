"""`gflowd doctor`: what may keep gflow from working here, and what to do about it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncclick as click

from gflow.cli.gflowd_invocation import Invocation
from gflow.cli.output import print_document
from gflow.cli.render.table import harmless
from gflow.config import Config, ConfigError

if TYPE_CHECKING:
    from gflow.daemon.finding import Finding


@click.command(epilog="Examples:  gflowd doctor  |  gflowd doctor -o json  |  gflowd doctor --system")
@click.option("--socket", metavar="PATH", help="Unix socket the daemon listens on.")
@click.option("--system", is_flag=True, help="As root: look at the daemon of all users, and what it needs.")
@click.option("--data-dir", metavar="PATH", help="Where the state is, if not in its usual place.")
@click.option("-o", "--output", type=click.Choice(("text", "json", "yaml")), default="text", help="text, json or yaml.")
@click.pass_obj
async def doctor(given: Invocation, /, socket: str | None, output: str, *, system: bool, data_dir: str | None) -> None:
    """Look for what may keep gflow from working here. Exit code 1: there are problems."""
    from gflow.daemon.doctor import examine
    from gflow.daemon.finding import PROBLEM, Place

    if system and os.geteuid() != 0:
        sys.exit("gflowd: doctor --system is for root: the daemon of all users keeps its state from others")
    given.add(socket=socket)
    given.system, given.named_data_dir = system, data_dir
    found = list(examine(Place(given.data_dir(), _socket(given), lambda: usable(given), system)))
    if output == "text":
        click.echo("\n".join(map(_line, found)))
    else:
        told = [{"level": one.level, "what": one.what, "remedy": one.remedy or None} for one in found]
        print_document({"findings": told}, output)
    sys.exit(1 if any(one.level == PROBLEM for one in found) else 0)


def _line(found: "Finding") -> str:
    remedy = f"\n         {found.remedy}" if found.remedy else ""
    return f"{found.level:<8} {harmless(found.what)}{remedy}"


def _socket(given: Invocation) -> Path:
    """Where the daemon would listen; by default if the configuration cannot be read."""
    try:
        return given.socket()
    except ConfigError:
        return given.socket_without_file()


def usable(given: Invocation) -> Config:
    """The settings. Raises ConfigError also for what would keep a daemon from starting with them."""
    from gflow.daemon import configured

    settings = given.settings()
    try:
        configured.check(settings, system=given.system)
    except configured.CannotStart as error:
        raise ConfigError(str(error)) from error
    return settings
