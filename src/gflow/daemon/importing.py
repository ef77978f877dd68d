"""The older gflow's state, taken over: on the first start of a daemon, or by `gflowd import`.

The caller holds the lock on the data directory. Everything is looked at before anything is written.
"""

import contextlib
import logging
import os
import stat
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gflow import clock
from gflow.launch.adopted import run_id_in, user_sessions
from gflow.store.disk import open_regular
from gflow.store.errors import Unreadable
from gflow.store.imports.install import (
    already_imported,
    check_room,
    clear_traces,
    find_older,
    has_state,
    install,
    join,
)
from gflow.store.imports.jobs import NoWork, Surroundings
from gflow.store.imports.plan import NotImportable, Plan, make_plan
from gflow.store.load import Loaded, load
from gflow.store.lock import DataLock, Held, holder
from gflow.store.recovery.journal import NAME as JOURNAL
from gflow.store.snapshot import NAME

log = logging.getLogger(__name__)

_MOST_BYTES = 6 << 20
"""Of what a process was started with: execve(2) takes no more."""

MAX_SCRIPT_BYTES = 4 << 20
"""As much as a submission takes."""


class CannotImport(Exception):
    """Nothing was imported; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Import:
    """What has been, or would be, taken over. `backup` is the copy that was left, None if nothing was written.

    `known`: this very file was taken over before, so there is nothing to do.
    """

    plan: Plan
    known: bool
    backup: Path | None = None


def first_start(data_dir: Path) -> None:
    """Take over what an older gflow has left in a directory that no daemon of ours has used yet.

    A `state.msgpack` that cannot be taken over is left to the recovery mode, which serves without touching it. Raises
    NotImportable or OSError; then nothing has changed.
    """
    clear_traces(data_dir)
    path = find_older(data_dir)
    if path is None:
        return
    refuse_if_served(path, data_dir)
    _refuse_newer_journal(path)
    try:
        plan = look(path)
    except NotImportable as error:
        if path.name != NAME:
            raise
        log.error("%s", error)
        return
    backup = install(data_dir, plan, wall=clock.read().wall, boot_id=clock.boot_id())
    tell(plan, backup)


def tell(plan: Plan, backup: Path | None) -> None:
    """Say in the log what was taken over, and what was changed."""
    log.info("imported %s from %s (%s); a copy of it is in %s", plan.summary(), plan.path, plan.format, backup)
    for warning in plan.warnings():
        log.warning("import: %s", warning)


def by_command(data_dir: Path, path: Path, *, dry_run: bool) -> Import:
    """Import the file `path` while no daemon runs, or only find out what that would do. Raises CannotImport."""
    try:
        if not dry_run:
            with DataLock(data_dir, socket="", started=clock.read().wall):
                return take_over(data_dir, path, dry_run=False)
        if (pid := holder(data_dir)) is not None:
            raise Held(data_dir, pid, None)
        return take_over(data_dir, path, dry_run=True)
    except (Held, Unreadable) as error:
        raise CannotImport(str(error)) from None
    except OSError as error:
        raise CannotImport(f"{error.filename or path}: {error.strerror or error}") from None


def take_over(data_dir: Path, path: Path, *, dry_run: bool) -> Import:
    """Import the file `path` into `data_dir`, or only find out whether that could be done.

    Raises NotImportable, another Unreadable if the directory's own state cannot be read, or OSError.
    """
    plan = look(path)
    used = has_state(data_dir)
    loaded = load(data_dir) if used else Loaded()
    if already_imported(plan, loaded.settings):
        return Import(plan, known=True)
    refuse_if_served(path, data_dir)
    check_room(data_dir, plan, loaded)
    if dry_run:
        return Import(plan, known=False)
    wall = clock.read().wall
    if used:
        return Import(plan, known=False, backup=join(data_dir, plan, loaded, wall=wall))
    return Import(plan, known=False, backup=install(data_dir, plan, wall=wall, boot_id=clock.boot_id()))


def look(path: Path) -> Plan:
    """What importing a file would do. Raises NotImportable or OSError."""
    with open_regular(path) as file:
        written_at = os.fstat(file.fileno()).st_mtime
        data = file.read()
    session = partial(run_id_in, user_sessions())
    around = Surroundings(clock.read(), written_at, os.path.expanduser("~"), session, _read_script)
    return make_plan(path, data, around)


def _read_script(path: str) -> bytes:
    """The text of a script that a job is to run. Raises NoWork."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NoWork(f"Its script '{path}' is not a file any more")
            text = file.read(MAX_SCRIPT_BYTES + 1)
    except FileNotFoundError:
        raise NoWork(f"Its script '{path}' is gone") from None
    except OSError as error:
        raise NoWork(f"Its script '{path}' cannot be read: {error.strerror}") from None
    if len(text) > MAX_SCRIPT_BYTES:
        raise NoWork(f"Its script '{path}' is larger than {MAX_SCRIPT_BYTES >> 20} MiB")
    return text


def _refuse_newer_journal(path: Path) -> None:
    """Raise NotImportable if gflow was in its recovery mode: then it wrote to a journal, and the state is behind it."""
    journal = path.with_name(JOURNAL)
    with contextlib.suppress(FileNotFoundError):
        written = journal.stat()
        if written.st_size and written.st_mtime > path.stat().st_mtime:
            what = f"is newer than {path.name}: gflow was in its recovery mode; say which of them counts"
            raise NotImportable(journal, f"{what}, with 'gflowd import {journal}' or 'gflowd import {path}'")


# -- an older daemon that still runs -----------------------------------------------------------------------------------


def refuse_if_served(path: Path, data_dir: Path) -> None:
    """Raise NotImportable if a daemon of the older gflow still uses one of the directories: it would go on writing."""
    for directory in {data_dir, path.absolute().parent}:
        pid = _older_daemon(directory)
        if pid is not None:
            raise NotImportable(path, f"cannot be imported: the older gflowd (pid {pid}) still runs; stop it first")


def _older_daemon(data_dir: Path) -> int | None:
    """A process of ours that is gflow's own binary, serves as a daemon, and has its state in `data_dir`."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        process = Path("/proc", name)
        with contextlib.suppress(OSError):
            if process.stat().st_uid != os.geteuid():
                continue
            program = os.path.basename(os.readlink(process / "exe")).removesuffix(" (deleted)")
            arguments = _start_of(process / "cmdline").split(b"\0")
            serves = program == "gflowd" or (program == "gflow" and b"gflowd" in arguments)
            if serves and _data_of(process) == data_dir.resolve():
                return int(name)
    return None


def _start_of(file: Path) -> bytes:
    with open(file, "rb", buffering=0) as opened:
        return opened.read(_MOST_BYTES)


def _data_of(process: Path) -> Path:
    """Where a process with this environment has gflow's data."""
    entries = _start_of(process / "environ").split(b"\0")
    variables = dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)
    base = os.fsdecode(variables.get(b"XDG_DATA_HOME", b""))
    home = os.fsdecode(variables.get(b"HOME", b"/"))
    return Path(base or os.path.join(home, ".local/share"), "gflow").resolve()
