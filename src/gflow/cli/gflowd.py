"""`gflowd`: the daemon and its life. Not on anybody's fast path, so asyncclick runs the show here."""

import copy
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncclick as click

from gflow import __version__, config, paths
from gflow.cli.completion.choices import SHELLS
from gflow.cli.completion.scripts import script
from gflow.cli.entry import leave_quietly
from gflow.cli.full import refuse
from gflow.cli.gflowd_doctor import doctor
from gflow.cli.gflowd_init import init
from gflow.cli.gflowd_invocation import BadFlag, Invocation
from gflow.cli.gflowd_service import service
from gflow.cli.output import print_document
from gflow.cli.render.drained import drained_line
from gflow.cli.render.table import harmless, table
from gflow.cli.states import STATES
from gflow.cli.streams import open_what_is_closed
from gflow.config import ConfigError
from gflow.core.limits import format_duration
from gflow.daemon import hosting
from gflow.daemon.units import UnitFailed

if TYPE_CHECKING:
    from gflow.daemon import importing

_EXAMPLES = "Examples:  gflowd {0} --gpus 0,2  |  gflowd {0} --gpu-allocation-strategy random"

_F = TypeVar("_F", bound=Callable[..., Any])

NOT_RUNNING = 3
"""Exit code of `gflowd status` when there is no daemon, as in the Linux Standard Base."""


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
    if system and os.geteuid() != 0:
        sys.exit(
            "gflowd: --system is for root, as it runs every job as its submitter; without it the daemon is your own"
        )
    given.add(**flags)
    raise _Serve(given)


@gflowd.command(epilog=_EXAMPLES.format("up"))
@_daemon_options
@click.pass_obj
async def up(given: Invocation, /, **flags: str | None) -> None:
    """Start the daemon in the background."""
    given.add(**flags)
    _start(given)


@gflowd.command()
@click.option("--socket", metavar="PATH", help="Unix socket the daemon listens on.")
@click.pass_obj
async def down(given: Invocation, socket: str | None) -> None:
    """Stop the daemon; running jobs go on."""
    given.add(socket=socket)
    _stop(_reach(given))


@gflowd.command(epilog=_EXAMPLES.format("restart"))
@_daemon_options
@click.pass_obj
async def restart(given: Invocation, /, **flags: str | None) -> None:
    """Stop the daemon and start it anew with the flags it had, and those given; running jobs go on."""
    given.add(**flags)
    found = hosting.find(given.socket(), Path(paths.data_dir()))
    if found is not None:
        before = hosting.flags_of(found.pid)
        foreign = sorted(before.keys() - config.FROM_TEXT.keys())
        if foreign:
            option = f"--{foreign[0].replace('_', '-')}"
            raise hosting.HostingFailed(
                f"gflowd (pid {found.pid}) was started by 'gflowd run' with {option}; start it anew as it was started"
            )
        given.flags = {**before, **given.flags}
    _check(given)  # a bad setting must not leave us without a daemon
    _stop(given.socket())
    _start(given)


@gflowd.command()
@click.option("--socket", metavar="PATH", help="Unix socket the daemon listens on.")
@click.option("--exec", "replace", is_flag=True, help="Go on with the gflow that is installed now; callers only wait.")
@click.pass_obj
async def reload(given: Invocation, socket: str | None, *, replace: bool) -> None:
    """Have the daemon read its configuration again; no job, connection or event is dropped."""
    given.add(socket=socket)
    if replace:
        told = hosting.replace(given.socket())
        click.echo(f"gflowd {told['version']} has taken over (pid {told['pid']}).")
        return
    changed = hosting.reload(given.socket())
    for line in changed["applied"]:
        click.echo(f"In force: {line}")
    for line in changed["needs_restart"]:
        click.echo(f"With the next 'gflowd restart': {line}")
    if not any(changed.values()):
        click.echo("Nothing has changed.")


@gflowd.command()
@click.option("--socket", metavar="PATH", help="Unix socket the daemon listens on.")
@click.option("-o", "--output", type=click.Choice(("text", "json", "yaml")), default="text", help="text, json or yaml.")
@click.pass_obj
async def status(given: Invocation, socket: str | None, output: str) -> None:
    """Say how the daemon is. Exit code 0: healthy, 1: unhealthy, 3: not running."""
    given.add(socket=socket)
    path = _reach(given)
    found = hosting.find(path, Path(paths.data_dir()))
    if output != "text":
        print_document(_as_data(found), output)
        sys.exit(NOT_RUNNING if found is None else 0 if _is_well(found) else 1)
    if found is None:
        click.echo(f"Status: Not running (nobody listens on {path}; start it with 'gflowd up')")
        sys.exit(NOT_RUNNING)
    if found.health is None or found.status is None or not _is_well(found):
        detail = (found.health or {}).get("detail", "it does not answer")
        click.echo(f"Status: Unhealthy\nPID: {found.pid}\nDetail: {detail}")
        sys.exit(1)
    told = found.status
    jobs = ", ".join(f"{count} {state}" for state, count in told["jobs"].items() if count)
    click.echo("Status: Running" if found.health["status"] == "ok" else _recovery(found.health))
    click.echo(f"Version: {told['version']}\nPID: {found.pid}\nUptime: {format_duration(told['uptime_secs'])}")
    remark = told.get("gpu_trouble") or ("simulated" if told.get("gpu_simulated") else "")
    gpus = f"{told['gpu_available']} of {told['gpu_total']} available{f' ({remark})' if remark else ''}"
    click.echo(f"Executor: {told['executor']}\nGPUs: {gpus}")
    if told.get("limits"):
        click.echo(f"Limits: {_limits(told['limits'])}")
    if told.get("drained"):
        click.echo(drained_line(told["drained"]))
    click.echo(f"Jobs: {jobs or 'none'}\nSocket: {path}\nData: {told['data_dir']}")
    if told.get("tcp"):
        asks = "with tokens" if told.get("auth") == "token" else "without authentication"
        click.echo(f"TCP: {told['tcp']} ({asks})")


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


@gflowd.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
async def completion(shell: str) -> None:
    """Print the script that completes command lines in bash, zsh or fish."""
    click.echo(script("gflowd", shell), nl=False)


@gflowd.command("__complete", hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("asked", nargs=-1, type=click.UNPROCESSED)
async def complete(asked: tuple[str, ...]) -> None:
    """Answer a shell that asks what may come next."""
    from gflow.cli.click_table import of_gflowd
    from gflow.cli.completion.shells import answer

    click.echo(answer(of_gflowd(), asked), nl=False)


def _recovery(health: dict[str, Any]) -> str:
    """The first lines about a daemon that serves though its state cannot be read."""
    lines = ["Status: Recovery", f"Detail: {health['detail']}", f"Journal: {health['journal']}"]
    return "\n".join(lines + ([f"Backup: {health['state_backup']}"] if health["state_backup"] else []))


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


def _start(given: Invocation) -> None:
    given.settings()
    found = hosting.find(given.socket(), Path(paths.data_dir()))
    if found is not None:
        if found.health is None:
            raise hosting.HostingFailed(
                f"gflowd (pid {found.pid}) does not answer on {given.socket()}; 'gflowd restart' replaces it"
            )
        click.echo(f"gflowd is already running (pid {found.pid}).")
        return
    started = hosting.start(given.arguments(), given.run_flags(), given.socket(), Path(paths.data_dir()))
    click.echo(f"gflowd started (pid {started.pid}).")
    if started.health is not None and started.health.get("status") != "ok":
        click.echo(f"gflowd: {started.health['status']}: {started.health['detail']}", err=True)


def _check(given: Invocation) -> None:
    settings = given.settings()
    if settings.notifications.enabled or settings.tcp() is not None:
        from gflow.daemon import run as daemon

        try:
            daemon.check(settings)
        except daemon.CannotStart as error:
            raise ConfigError(str(error)) from error


def _reach(given: Invocation) -> Path:
    """Where the daemon listens; also told if the settings cannot be read, because stopping it must always work."""
    try:
        return given.socket()
    except ConfigError as error:
        path = given.socket_without_file(hosting.socket_of(given.data_dir()))
        click.echo(f"gflowd: {_sentence(error)}; the daemon is looked for on {path}", err=True)
        return path


def _stop(path: Path) -> None:
    pid = hosting.stop(path, Path(paths.data_dir()))
    click.echo("gflowd is not running." if pid is None else f"gflowd stopped (pid {pid}).")


def _serve(given: Invocation) -> None:
    from gflow.daemon import handover, logs, systemd
    from gflow.daemon import run as daemon

    os.umask(0o077)
    file = Path(given.log_file) if given.log_file is not None else None
    logs.set_up(given.verbosity, given.log_format, file, os.environ)
    before = handover.take(os.environ, os.getpid())
    handed_over, hosted = before if before is not None else (None, systemd.take(os.environ, os.getpid()))
    settings = daemon.Settings(
        given.settings(),
        given.data_dir(),
        given.socket(),
        given.settings,
        hosted,
        system=given.system,
        handed_over=handed_over,
    )
    try:
        daemon.serve(settings)
    except daemon.CannotStart as error:
        sys.exit(f"gflowd: {error}")
    _leave_at_once()


def _leave_at_once() -> None:
    """All is on disk and closed: to take a long queue apart, object by object, can take seconds, for nothing."""
    logging.shutdown()
    os._exit(0)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


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
        sys.exit(f"gflowd: {_sentence(error)}")


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
