"""`gflowd`: the daemon and its life. Not on anybody's fast path, so asyncclick runs the show here."""

if __name__ == "__main__":  # before all else, as `gflowd_entry` does
    from gflow.daemon.signals import keep_back_hang_ups

    keep_back_hang_ups()

import copy
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, TypeVar

import asyncclick as click

from gflow import __version__, config, paths
from gflow.cli.completion.choices import SHELLS
from gflow.cli.completion.scripts import script
from gflow.cli.entry import leave_quietly
from gflow.cli.full import refuse
from gflow.cli.gflowd_doctor import doctor
from gflow.cli.gflowd_init import init
from gflow.cli.gflowd_invocation import BadFlag, Invocation
from gflow.cli.gflowd_options import again, not_taken
from gflow.cli.gflowd_service import service
from gflow.cli.gflowd_status import status
from gflow.cli.gflowd_which import (
    choose,
    goes_to_the_others,
    leave_to_the_others,
    must_be_root,
    name,
    place,
    reach,
    sentence,
    which,
)
from gflow.cli.render.table import harmless, table
from gflow.cli.states import STATES
from gflow.cli.streams import open_what_is_closed
from gflow.client import endpoint
from gflow.config import ConfigError
from gflow.daemon import hosting, signals
from gflow.daemon.one_at_a_time import turn
from gflow.daemon.units import UnitFailed

if TYPE_CHECKING:
    from gflow.daemon import importing

_EXAMPLES = "Examples:  gflowd {0} --gpus 0,2  |  gflowd {0} --gpu-allocation-strategy random"

_F = TypeVar("_F", bound=Callable[..., Any])


def _daemon_options(command: _F) -> _F:
    for option in (
        click.option("--socket", metavar="PATH", help="Unix socket to listen on."),
        click.option("--host", metavar="NAME", help="Listen on TCP, too, for whoever has a token."),
        click.option("--port", metavar="N", help="TCP port (59000)."),
        click.option(
            "--auth", metavar="token|none", help="none lets every user of this machine in over TCP, under any name."
        ),
        click.option(
            "--gpus",
            metavar="SPEC",
            help="GPUs that jobs may have: 0 or 0,2,4 or 0-3 or all; over GFLOW_DAEMON_GPUS and daemon.gpus.",
        ),
        click.option(
            "--gpu-allocation-strategy", metavar="NAME", help="sequential (lower indices first, the default) or random."
        ),
        click.option("--gpu-poll-interval-secs", metavar="SECS", help="How often the GPUs are looked at."),
        click.option("--simulated-gpus", metavar="N", help="Pretend to have N GPUs, for demonstrations and tests."),
    ):
        command = option(command)
    return command


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples:  gflowd up  |  gflowd status  |  gflowd run --socket /tmp/g/gflowd.sock",
)
@click.option("-c", "--config", "named", metavar="PATH", help="Configuration file.")
@click.option("-v", "--verbose", count=True, help="More in the log (repeatable).")
@click.option("-q", "--quiet", count=True, help="Less in the log.")
@click.option("--cleanup", is_flag=True, hidden=True, expose_value=False, help="Accepted; nothing is left to clean up.")
@click.version_option(__version__, prog_name="gflowd")
@click.pass_context
async def gflowd(context: click.Context, named: str | None, verbose: int, quiet: int) -> None:
    """The gflow daemon: queues jobs and runs them. Without a command: `run`."""
    context.obj = Invocation(named, verbose - quiet)
    if context.invoked_subcommand not in (None, "run"):
        signals.let_hang_ups_in()  # only a daemon has a handler, sooner or later
    if context.invoked_subcommand is None:
        await context.invoke(run)


@gflowd.command(epilog=_EXAMPLES.format("run"))
@_daemon_options
@click.option("--log-file", metavar="PATH", help="Write the log to this file, too.")
@click.option(
    "--log-format", type=click.Choice(("text", "json")), default="text", help="text, or json: an object a line."
)
@click.option("--system", is_flag=True, help="As root: one daemon for all users, every job run as its submitter.")
@click.option("--data-dir", metavar="PATH", help="Keep the state here instead of in its usual place.")
@click.pass_obj
async def run(
    given: Invocation,
    /,
    log_file: str | None = None,
    log_format: str = "text",
    *,
    system: bool = False,
    data_dir: str | None = None,
    **flags: str | None,
) -> None:
    """Run the daemon in the foreground."""
    given.log_file, given.log_format = log_file, log_format
    given.system, given.named_data_dir = system, data_dir
    given.add(**flags)
    raise _Serve(given)


@gflowd.command(epilog=_EXAMPLES.format("up"))
@_daemon_options
@which
@click.pass_obj
async def up(given: Invocation, /, *, own: bool, system: bool, **flags: str | None) -> None:
    """Start the daemon in the background."""
    given.add(**flags)
    if choose(given, own=own, system=system):
        leave_to_the_others(given)
    else:
        must_be_root(given, "start", "up")
        with turn(given.data_dir()):
            _start(given)


@gflowd.command()
@click.option("--socket", metavar="PATH", help="Unix socket the daemon listens on.")
@which
@click.pass_obj
async def down(given: Invocation, socket: str | None, *, own: bool, system: bool) -> None:
    """Stop the daemon; running jobs go on."""
    given.add(socket=socket)
    choose(given, own=own, system=system)
    must_be_root(given, "stop", "down")
    path = reach(given)
    with turn(given.data_dir()):
        was_meant = endpoint.awaited()  # also one that has crashed
        was_meant = _stop(given, path) or was_meant
        hosting.forget(given.data_dir())
    if was_meant and goes_to_the_others(given, path):
        click.echo("Commands are about that of all users until 'gflowd up --own'.")


@gflowd.command(epilog=_EXAMPLES.format("restart"))
@_daemon_options
@which
@click.pass_obj
async def restart(given: Invocation, /, *, own: bool, system: bool, **flags: str | None) -> None:
    """Stop the daemon and start it anew with the flags it had, and those given; running jobs go on."""
    given.add(**flags)
    unasked = choose(given, own=own, system=system)
    must_be_root(given, "restart", "restart")
    with turn(given.data_dir()):
        found = hosting.find(given.socket(), given.data_dir())
        if found is not None:
            given.flags = {**_flags_of(found.pid, given), **given.flags}
        elif unasked:
            leave_to_the_others(given)
            return
        _check(given)  # a bad setting must not leave us without a daemon
        _stop(given, given.socket())
        _start(given)


@gflowd.command()
@click.option("--socket", metavar="PATH", help="Unix socket the daemon listens on.")
@click.option("--exec", "replace", is_flag=True, help="Go on with the gflow that is installed now; callers only wait.")
@which
@click.pass_obj
async def reload(given: Invocation, socket: str | None, *, replace: bool, own: bool, system: bool) -> None:
    """Have the daemon read its configuration again; no job, connection or event is dropped."""
    given.add(socket=socket)
    choose(given, own=own, system=system)
    path, trouble = place(given)
    if trouble is not None and not given.file.exists():
        raise trouble  # all else that is wrong with the file the daemon says itself, and its log has it
    if replace:
        told = hosting.replace(path)
        click.echo(f"{name(given)} {told['version']} has taken over (pid {told['pid']}).")
        return
    changed = hosting.reload(path)
    if given.system:
        click.echo(f"{name(given)} (unix:{path}):")
    for line in changed["applied"]:
        click.echo(f"In force: {line}")
    for line in changed["needs_restart"]:
        click.echo(f"With the next 'gflowd restart': {line}")
    if not any(changed.values()):
        click.echo("Nothing has changed.")


gflowd.add_command(status)


@gflowd.command("import")
@click.argument("path", metavar="PATH", type=click.Path(exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only show what would come.")
async def import_(path: str, dry_run: bool) -> None:
    """Take over the state of an older gflow: its state.json or state.msgpack."""
    raise _Import(Path(path), dry_run)


gflowd.add_command(service)
gflowd.add_command(doctor)
gflowd.add_command(init)


for _alias, _command in (("start", up), ("stop", down)):
    _same = copy.copy(_command)
    _same.short_help = f"The same as {_command.name}."
    gflowd.add_command(_same, _alias)


@gflowd.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
async def completion(shell: str) -> None:
    """Print the script that completes command lines in bash, zsh or fish."""
    click.echo(script("gflowd", shell), nl=False)


@gflowd.command(
    "__complete",
    hidden=True,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},  # `--` may be asked for
)
@click.argument("asked", nargs=-1, type=click.UNPROCESSED)
async def complete(asked: tuple[str, ...]) -> None:
    """Answer a shell that asks what may come next."""
    from gflow.cli.click_table import of_gflowd
    from gflow.cli.completion.shells import answer

    click.echo(answer(of_gflowd(), asked), nl=False)


class _Serve(Exception):
    """Leaves asyncclick's event loop, so that the daemon gets one of its own."""

    def __init__(self, given: Invocation) -> None:
        super().__init__()
        self.given = given


class _Import(Exception):
    """Leaves asyncclick's event loop: importing waits for tmux and for the disk."""

    def __init__(self, path: Path, dry_run: bool) -> None:
        super().__init__()
        self.path = path
        self.dry_run = dry_run


def _import(asked: _Import) -> None:
    from gflow.daemon import importing

    try:
        done = importing.by_command(Path(paths.data_dir()), asked.path, dry_run=asked.dry_run)
    except importing.CannotImport as error:
        sys.exit(f"gflowd: {error}")
    if done.known:
        click.echo(f"{asked.path} was imported before: nothing to do.")
    elif asked.dry_run:
        _preview(asked.path, done)
    else:
        notes = [f"Note: {harmless(note)}\n" for note in done.plan.warnings()]
        click.echo(
            f"Imported {done.plan.summary()} from {asked.path} ({done.plan.format}).\n{''.join(notes)}", nl=False
        )
        if done.backup is not None:
            click.echo(f"A copy of it is in {done.backup}.")


def _preview(path: Path, found: "importing.Import") -> None:
    plan, noted = found.plan, found.plan.notes_by_job()
    rows = [_row(job.id, STATES[job.state], job.run_name, noted.get(job.id, ())) for job in plan.jobs]
    click.echo(f"{path}: {plan.format}, {plan.summary()}\n")
    click.echo(table(("JOBID", "ST", "NAME", "CHANGES"), rows))
    for note in noted.get(None, ()):
        click.echo(f"Note: {harmless(note)}")
    if plan.settings:
        click.echo(f"Settings: {', '.join(sorted(plan.settings))}")
    click.echo(f"Nothing was written. To import it: gflowd import {path}")


def _row(job_id: int, state: str, name: str, notes: Sequence[str]) -> tuple[str, str, str, str]:
    return str(job_id), state, harmless(name), harmless("; ".join(notes)) or "-"


def _flags_of(pid: int, given: Invocation) -> dict[str, str]:
    """The flags that the daemon was started with. Raises HostingFailed if it had some that `up` has not."""
    before = hosting.flags_of(pid)
    if given.system:
        before.pop("system", None)
    foreign = sorted(before.keys() - config.FROM_TEXT.keys())
    if foreign:
        option = f"--{foreign[0].replace('_', '-')}"
        raise hosting.HostingFailed(
            f"gflowd (pid {pid}) was started by 'gflowd run' with {option}; start it anew as it was started"
        )
    return before


def _start(given: Invocation) -> None:
    given.settings()
    found = hosting.find(given.socket(), given.data_dir())
    if found is not None:
        _already(found, given)
        return
    started = hosting.start(given.arguments(), given.run_flags(), given.socket(), given.data_dir(), system=given.system)
    click.echo(f"{name(given)} started (pid {started.pid}).")
    remedy = hosting.remedy_at_logout(started.pid)
    if remedy is not None:
        click.echo(f"It ends, and its jobs do, when you log out, unless you run: {remedy}")
    if started.health is not None and started.health.get("status") != "ok":
        click.echo(f"gflowd: {started.health['status']}: {started.health['detail']}", err=True)


def _already(found: hosting.Running, given: Invocation) -> None:
    """Say that a daemon runs as was asked. Raises HostingFailed if it does not."""
    if found.health is None:
        there = hosting.elsewhere(given.socket(), given.data_dir())
        if there is not None:
            raise hosting.HostingFailed(
                f"gflowd (pid {found.pid}) has {given.data_dir()}, and listens on {there}; there is one for each"
                f" data directory: 'gflowd restart --socket {given.socket()}' moves it"
            )
        raise hosting.HostingFailed(
            f"gflowd (pid {found.pid}) does not answer on {given.socket()}; 'gflowd restart' replaces it"
        )
    words = not_taken(given, found.pid)
    if words:
        raise hosting.HostingFailed(
            f"{name(given)} is already running (pid {found.pid}), without {' '.join(words)}: {again(given)}"
        )
    with_these = " with these options" if given.run_flags() or given.arguments() else ""
    click.echo(f"{name(given)} is already running{with_these} (pid {found.pid}).")


def _check(given: Invocation) -> None:
    settings = given.settings()
    if settings.notifications.enabled or settings.tcp() is not None:
        from gflow.daemon import configured

        try:
            configured.check(settings, system=given.system)
        except configured.CannotStart as error:
            raise ConfigError(str(error)) from error


def _stop(given: Invocation, path: Path) -> bool:
    """Whether there was one to stop."""
    pid = hosting.stop(path, given.data_dir())
    click.echo(f"{name(given)} is not running." if pid is None else f"{name(given)} stopped (pid {pid}).")
    return pid is not None


def _serve(given: Invocation) -> None:
    from gflow.daemon import configured, handover, logs, process, systemd
    from gflow.daemon.settings import Settings

    os.umask(0o077)
    file = Path(given.log_file) if given.log_file is not None else None
    logs.set_up(given.verbosity, given.log_format, file, os.environ)
    before = handover.take(os.environ, os.getpid())
    handed_over, hosted = before if before is not None else (None, systemd.take(os.environ, os.getpid()))
    settings = Settings(
        given.settings(),
        given.data_dir(),
        given.socket(),
        given.settings,
        hosted,
        system=given.system,
        handed_over=handed_over,
    )
    try:
        process.serve(settings)
    except configured.CannotStart as error:
        _give_up(error)
    _leave_at_once()


def _leave_at_once() -> None:
    """All is on disk and closed: to take a long queue apart, object by object, can take seconds, for nothing."""
    logging.shutdown()
    os._exit(0)


def _give_up(error: Exception) -> Never:
    """The one line about it, with its priority where the journal reads it."""
    from gflow.daemon import logs

    sys.exit(f"{logs.mark(logging.ERROR, sys.stderr, os.environ)}gflowd: {harmless(sentence(error))}")


def main() -> None:
    """Entry point."""
    open_what_is_closed(os.O_WRONLY)
    try:
        asked = _parse()
        if isinstance(asked, _Import):
            _import(asked)
        elif asked is not None:
            _serve(asked)
    except BrokenPipeError:
        sys.exit(leave_quietly(141))
    except BadFlag as error:
        refuse(click.UsageError(f"{error}."), Path(sys.argv[0]).name.removesuffix(".py"))
    except (ConfigError, hosting.HostingFailed, UnitFailed, OSError, paths.UnsafeDirectory) as error:
        _give_up(error)


def _parse() -> Invocation | _Import | None:
    """Do what the command line says; if that is to be a daemon or an import, return what was asked."""
    prog = Path(sys.argv[0]).name.removesuffix(".py")
    try:
        status = gflowd(prog_name=prog, standalone_mode=False, _anyio_backend="trio")
    except click.ClickException as error:
        refuse(error, prog)
    except click.Abort:
        sys.exit(130)
    except _Serve as asked:
        return asked.given
    except _Import as asked_import:
        return asked_import
    sys.exit(status)


if __name__ == "__main__":
    main()
