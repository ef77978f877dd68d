"""How a job ended, told from what is left of it: an exit code, or why there is none, and a sentence for a person.

The wrapper has one word for each thing of its own that can fail, shells have two exit codes with a meaning; the rest
speaks for itself and gets no text.
"""

import os
import signal as signals
import stat
from dataclasses import replace
from pathlib import Path

from gflow.core.limits import format_memory_mb
from gflow.core.model import Exit, Job, JobSpec
from gflow.launch.processes import read_stat
from gflow.launch.run_directory import RunDirectory, boot_id

NEVER_RAN = "It ended before its first instruction"
RESTARTED = "The machine was restarted while the job ran"
GONE = "Its run directory, or what was in it, is gone, so nobody knows how it ended"
SERVER_LOST = "The tmux server was lost while the job ran"
DISK_FULL = "The disk was full, so its exit status could not be recorded"
READ_ONLY = "The data directory was read-only, so its exit status could not be recorded"
KILLED = "Its terminal was closed or its shell was killed (kill -9, out of memory), so its exit status is unknown"

HUNG_UP = 128 + signals.SIGHUP
"""What a terminal that goes away leaves behind."""


def exit_of(job: Job, directory: RunDirectory, server_pid: int | None, log: Path, seen_at: float | None) -> Exit:
    """How the launch in `directory`, whose wrapper is gone, ended.

    server_pid: the tmux server there is now. seen_at: when the wrapper was seen to end (seconds since the epoch), None
    if it was gone before anybody looked; then the last sign of life counts.
    """
    record = directory.record()
    if record.code is None:
        return Exit(None, seen_at or _last_sign(directory, log), _why_no_status(directory, server_pid))
    if record.code == HUNG_UP and record.boot == boot_id() and _server_lost(directory, server_pid):
        return Exit(record.code, record.written_at, SERVER_LOST)
    return Exit(record.code, record.written_at, describe(job.spec, record.code, record.word, directory.conda_output()))


def ran_out(how: Exit, limit_mb: int) -> Exit:
    """The end of a job whose processes the kernel has ended at this limit, unless it came to a good one."""
    if how.code == 0:
        return how
    return replace(how, text=f"out of memory: its limit is {format_memory_mb(limit_mb)}", memory_ran_out=True)


def describe(spec: JobSpec, code: int, word: str | None, note: str | None = None) -> str | None:
    """One sentence about exit `code` and the wrapper's `word`, None if there is nothing to add.

    note: conda's last words.
    """
    match word, code:
        case "chdir", _:
            return f"Cannot change to the working directory '{spec.run_dir}': {_why_not_in(spec.run_dir)}"
        case "conda", _:
            return f"Cannot activate the conda environment '{spec.conda_env}'" + (f": {note}" if note else "")
        case "environment", _:
            return "Cannot read the environment that was stored with the job"
        case "limits", _:
            return "The cgroup that was to keep its limits is gone, or cannot be entered"
        case "missing", _:
            return f"Cannot run {_program(spec)}: no such program"
        case "refused", _:
            return f"Cannot run {_program(spec)}: permission denied, or not a program"
        case _, 127:
            return "A command was not found (exit status 127)"
        case _, 126:
            return "A command could not be executed (exit status 126)"
        case _:
            return None


def _why_not_in(run_dir: str) -> str:
    """What keeps a job out of its working directory, as far as can be seen now."""
    try:
        found = os.stat(run_dir)
    except FileNotFoundError:
        return "no such directory"
    except OSError as error:
        return (error.strerror or "it cannot be looked at").lower()
    return "permission denied" if stat.S_ISDIR(found.st_mode) else "not a directory"


def _program(spec: JobSpec) -> str:
    if spec.script is not None:
        return f"the interpreter of '{spec.script}'"
    return "'bash'" if spec.argv is None else f"'{spec.argv[0]}'"


def _why_no_status(directory: RunDirectory, server_pid: int | None) -> str:
    mark = directory.mark()
    if directory.boot() not in (None, boot_id()):
        return RESTARTED
    if directory.record().boot is None:
        return GONE
    if mark is None:
        return NEVER_RAN
    if mark.pid is None:
        return DISK_FULL
    if _server_lost(directory, server_pid):
        return SERVER_LOST
    disk = os.statvfs(directory.path)
    if disk.f_flag & os.ST_RDONLY:
        return READ_ONLY
    return DISK_FULL if disk.f_bavail == 0 else KILLED


def _server_lost(directory: RunDirectory, server_pid: int | None) -> bool:
    mark = directory.mark()
    if mark is None or mark.server_pid is None:
        return False
    stat = read_stat(mark.server_pid)
    return server_pid not in (None, mark.server_pid) or stat is None or stat.gone or stat.exiting


def _last_sign(directory: RunDirectory, log: Path) -> float:
    """The latest moment the job is known to have lived."""
    mark = directory.mark()
    signs = [mark.at] if mark else []
    if log.exists():
        signs.append(log.stat().st_mtime)
    return max(signs, default=0.0)
