"""`gflowd init`: writes a configuration file that says what it does not set, too."""

import itertools
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncclick as click

from gflow import config, paths
from gflow.cli.gflowd_invocation import BadFlag, Invocation, with_flag
from gflow.cli.local_zone import local_zone
from gflow.config import ConfigError
from gflow.core.gpu_list import format_gpu_list
from gflow.core.zones import named
from gflow.daemon.units import Host, runs_systemd

_HEAD = """\
# Settings of gflow, written by 'gflowd init'. A line that begins with '#' shows a default, or an example.
# After a change: gflowd reload. A key that there is not is refused, with those that there are.
"""

_SETTINGS: dict[str, tuple[tuple[str, object, str], ...]] = {
    "": (("timezone", "Europe/Berlin", "of the times of reservations; without it that of the machine"),),
    "daemon": (
        ("gpus", [0, 1], "which GPUs jobs may have; without it all"),
        ("gpu_allocation_strategy", "sequential", "sequential: lower indices first; random: any that are free"),
        ("gpu_poll_interval_secs", 10, "how often the GPUs are looked at"),
        ("host", "localhost", "TCP for remote clients, who need tokens: gctl token create"),
        ("port", 59000, ""),
        ("tls_cert", "cert.pem", "TLS, without which only this machine is served"),
        ("tls_key", "key.pem", ""),
        ("kill_grace_secs", 10, "from Ctrl-C to SIGTERM when a job is stopped"),
        ("max_bypass_secs", 3600, "how long jobs may pass one that waits for room nobody knows the end of"),
        ("idle_gpu_warn_mins", 30, "say so when a job leaves its GPUs unused for that long"),
    ),
    "access": (
        ("admins", ["alice"], "who may use gctl and act on all jobs, besides root and the daemon's own user"),
        ("visibility", "all", "all; own: what others' jobs run and print is not shown"),
    ),
    "quota.default_user": (
        ("max_running_gpus", 4, "of every user who has no entry of their own"),
        ("max_queued_jobs", 500, "waiting and held jobs"),
    ),
    "projects": (
        ("known_projects", ["ml-research"], "the allowed codes; without it any"),
        ("require_project", False, ""),
    ),
    "notifications": (("enabled", False, "webhooks, mail and programs, each a table of its own"),),
}
"""Tables with their settings: name, default or example, and what it is about."""

_FOR_OTHERS = {
    "host": "Name or address to listen on for remote clients (empty: none)",
    "tls_cert": "File of the certificate for TLS (empty: none)",
    "tls_key": "File of its key (empty: none)",
}
"""What is asked again, together, where no daemon would start with it."""

Answers = dict[str, Any]
"""What was chosen, by name; None for what stays as it is by default."""


@click.command(
    epilog="Examples:  gflowd init  |  gflowd init --yes --gpus 0-3  |  gflowd init --force --timezone local"
)
@click.option("--yes", is_flag=True, help="Ask nothing: take what was given and what was found.")
@click.option("--force", is_flag=True, help="Replace a file that is there; it is kept beside the new one.")
@click.option("--advanced", is_flag=True, help="Ask about more.")
@click.option("--host", metavar="NAME", help="Listen on TCP, too.")
@click.option("--port", metavar="N", help="TCP port (59000).")
@click.option("--tls-cert", metavar="FILE", help="Certificate for TCP; without one only this machine is served.")
@click.option("--tls-key", metavar="FILE", help="Its key.")
@click.option("--timezone", metavar="ZONE", help="As Europe/Berlin; 'local' for that of the machine.")
@click.option("--gpus", metavar="SPEC", help="GPUs that jobs may have: 0 or 0,2,4 or 0-3 or all.")
@click.option("--gpu-allocation-strategy", metavar="NAME", help="sequential or random.")
@click.option("--gpu-poll-interval-secs", metavar="SECS", help="How often the GPUs are looked at.")
@click.pass_obj
async def init(given: Invocation, /, *, yes: bool, force: bool, advanced: bool, **flags: str | None) -> None:
    """Write a commented configuration file."""
    path = given.file
    _check_place(path, force=force)
    answers = {name: _read(name, text) for name, text in flags.items() if text is not None}
    by_person = not yes and sys.stdin.isatty() and sys.stdout.isatty()
    wrong = _refusal(answers)
    if wrong is not None and not by_person:
        raise ConfigError(f"{wrong}; nothing was written")
    zone = local_zone(config.environment())
    _say_what_is_here(zone)
    if by_person:
        await _ask(answers, zone, advanced=advanced)
    elif not yes:
        click.echo("This is no terminal, so nothing is asked: flags are the answers, see gflowd init --help.")
    kept = _write(path, text_of(answers))
    if kept is not None:
        click.echo(f"Kept what was there as {kept.name}.")
    click.echo(f"Wrote {path}. Start with: {start_command(given)}")


def start_command(given: Invocation) -> str:
    """The command that has a daemon go by the file that was written."""
    if given.named is not None and os.path.abspath(given.named) == paths.SYSTEM_CONFIG:
        return "gflowd restart --system" if Host(system=True).installed else "gflowd run --system"
    unusual = given.named is not None and os.path.abspath(given.named) != os.path.abspath(given.usual_file)
    named = f" --config {shlex.quote(given.named)}" if unusual and given.named else ""
    return f"gflowd{named} {'restart' if Host().installed else 'up'}"


def _check_place(path: Path, *, force: bool) -> None:
    """Raise ConfigError if what is there is not to be replaced."""
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is no file; move it away first")
    if os.path.lexists(path) and not force:
        there = f"is there already{'' if path.exists() else f', a link to {os.readlink(path)}, where there is nothing'}"
        raise ConfigError(f"{path} {there}; --force replaces it, and keeps it as {next(_old(path)).name}")


def text_of(answers: Answers) -> str:
    """The text of the file: what was chosen as it is, all else as comments."""
    parts = [_HEAD]
    for table, settings in _SETTINGS.items():
        chosen = answers if table in ("", "daemon") else {}
        mark = "" if chosen or table == "daemon" else "# "
        lines = [f"{mark}[{table}]"] if table else []
        lines += [_line(chosen.get(name), name, default, about) for name, default, about in settings]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(chosen: object, name: str, default: object, about: str) -> str:
    import tomli_w

    written = " ".join(tomli_w.dumps({name: default if chosen is None else chosen}).split())
    setting = written.replace("[ ", "[").replace(", ]", "]").replace(" ]", "]")
    mark = "# " if chosen is None else ""
    return (f"{mark}{setting}".ljust(42) + (f"# {about}" if about else "")).rstrip()


def _read(name: str, text: str) -> object:
    """The value of an answer, None for what is the default. Raises ConfigError."""
    if name == "timezone":
        if text == "local":
            return None
        try:
            return named(text).name
        except ValueError as error:
            raise BadFlag(f"--timezone: {error}") from None
    if name in ("tls_cert", "tls_key"):
        return os.path.abspath(os.path.expanduser(text))
    value: object = getattr(with_flag(config.Config(), name, text).daemon, name)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refusal(answers: Answers) -> str | None:
    """Why no daemon would start with these, None if one would: what the daemon itself checks first."""
    given = {name: str(answers[name]) for name in (*_FOR_OTHERS, "port") if answers.get(name) is not None}
    if not given:
        return None
    from gflow.daemon import configured  # and with it what speaks TLS

    try:
        configured.check(config.with_daemon(config.Config(), given, "gflowd init"))
    except (ConfigError, configured.CannotStart) as error:
        return str(error)
    return None


def _say_what_is_here(zone: str) -> None:
    from gflow.daemon.doctor import look_at_gpus  # and with it the driver's library

    reading = look_at_gpus()
    trouble = reading.trouble if reading is not None else "the driver does not answer"
    gpus = format_gpu_list([one.gpu.index for one in reading.readings]) if reading is not None else ""
    click.echo(f"GPUs: {gpus or 'none'}{f' ({trouble})' if trouble else ''}")
    click.echo(f"tmux: {shutil.which('tmux') or 'not installed; gflow needs it'}")
    click.echo(f"Time zone: {zone}\nsystemd: {_said_of_systemd()}")


def _said_of_systemd() -> str:
    if Host().installed:
        return "keeps gflowd running"
    if runs_systemd():
        return "is here; to have gflowd started at each boot: gflowd service install"
    return "does not run this machine; start gflowd at each boot yourself"


async def _ask(answers: Answers, zone: str, *, advanced: bool) -> None:
    questions = [
        ("gpus", "GPUs that jobs may have", "all"),
        ("timezone", f"Time zone of reservations; local is {zone}", "local"),
    ]
    if advanced:
        questions += [
            ("gpu_allocation_strategy", "Which of the free GPUs first: sequential or random", "sequential"),
            ("gpu_poll_interval_secs", "Seconds between two looks at the GPUs", "10"),
            ("host", _FOR_OTHERS["host"], ""),
            ("port", "Port for remote clients (empty: 59000 if there is a name)", ""),
        ]
    for name, question, default in questions:
        if name not in answers:
            answers[name] = await _until_right(name, question, default)
    while (wrong := _refusal(answers)) is not None:
        click.echo(wrong, err=True)
        for name, question in _FOR_OTHERS.items():
            answers[name] = await _until_right(name, question, "")


async def _until_right(name: str, question: str, default: str) -> object:
    while True:
        text = (await click.prompt(question, default=default, show_default=bool(default))).strip()
        if text == default:
            return None
        try:
            return _read(name, text)
        except ConfigError as error:
            click.echo(f"{error}", err=True)


def _old(path: Path) -> Iterator[Path]:
    """Names for copies of what was there, without those that are taken."""
    names = (f"{path.name}.old{'' if number == 1 else f'.{number}'}" for number in itertools.count(1))
    return (copy for copy in map(path.with_name, names) if not os.path.lexists(copy))


def _write(path: Path, text: str) -> Path | None:
    """Whole or not at all, and to where a symbolic link leads. Returns where what was there is kept, None if nothing
    was; of a link to nothing that is the link."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = path.resolve() if path.exists() else path
    fresh = place.with_name(f".{place.name}.new")
    fresh.unlink(missing_ok=True)
    _make(fresh, text.encode())
    kept = next(_old(path)) if os.path.lexists(path) else None
    if kept is not None and path.exists():
        _make(kept, path.read_bytes())
    elif kept is not None:
        kept.symlink_to(os.readlink(path))
    fresh.replace(place)
    return kept


def _make(path: Path, content: bytes) -> None:
    """A new file, on disk, and readable by the user alone: there may be secrets in it one day."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
