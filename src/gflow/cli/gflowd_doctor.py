"""`gflowd doctor`: what may keep gflow from working here, and what to do about it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncclick as click

from gflow import paths
from gflow.cli.gflowd_invocation import Invocation
from gflow.cli.output import print_document
from gflow.cli.render.table import harmless
from gflow.config import Config, ConfigError

if TYPE_CHECKING:
    from gflow.daemon.doctor import Finding


@click.command(epilog="Examples:  gflowd doctor  |  gflowd doctor -o json")
@click.option("--socket", metavar="PATH", help="Unix socket the daemon listens on.")
@click.option("-o", "--output", type=click.Choice(("text", "json", "yaml")), default="text", help="text, json or yaml.")
@click.pass_obj
async def doctor(given: Invocation, socket: str | None, output: str) -> None:
    """Look for what may keep gflow from working here. Exit code 1: there are problems."""
    from gflow.daemon import doctor as checks

    given.add(socket=socket)
    found = list(checks.examine(checks.Place(Path(paths.data_dir()), _socket(given), lambda: _settings(given))))
    if output == "text":
        click.echo("\n".join(map(_line, found)))
    else:
        told = [{"level": one.level, "what": one.what, "remedy": one.remedy or None} for one in found]
        print_document({"findings": told}, output)
    sys.exit(1 if any(one.level == checks.PROBLEM for one in found) else 0)


def _line(found: "Finding") -> str:
    remedy = f"\n         {found.remedy}" if found.remedy else ""
    return f"{found.level:<8} {harmless(found.what)}{remedy}"


def _socket(given: Invocation) -> Path:
    """Where the daemon would listen; by default if the configuration cannot be read."""
    try:
        return given.socket()
    except ConfigError:
        return given.socket_without_file()


def _settings(given: Invocation) -> Config:
    from gflow.daemon import run as daemon

    settings = given.settings()
    try:
        daemon.check_notifications(settings)
    except daemon.CannotStart as error:
        raise ConfigError(str(error)) from error
    return settings
