"""The log of a job: its file, and who writes it. It is complete when its writer, at tmux' end of the pipe, is gone."""

import contextlib
import os
from pathlib import Path

import trio

from gflow.launch.processes import Process, read_stat
from gflow.launch.run_directory import RunDirectory, boot_id, write_new
from gflow.launch.script import RECORD

_SAYS_WHO_IT_IS_SECS = 2.0


def make_log(path: Path, now: float) -> None:
    """An empty log; one of an earlier launch is renamed. `now`: seconds since the epoch. Raises OSError."""
    try:
        write_new(path, b"")
    except FileExistsError:
        path.rename(_unused_name(path, int(now)))
        write_new(path, b"")


def writer_command(log: Path, directory: RunDirectory) -> str:
    """The shell command that copies the pipe to the log.

    It is the one command line tmux and a shell parse, so there are only our own names in it, relative to the logs
    directory. The log is open before the writer says who it is.
    """
    record = os.path.relpath(directory.path / RECORD, log.parent)
    return f"exec >>{log.name}; echo $$ >>{record}; exec cat"


async def find_writer(directory: RunDirectory, log: Path) -> Process | None:
    """The process that writes `log`, None if it is gone.

    It was started with the job, and says who it is within milliseconds; a very short job can end before it did.
    """
    with trio.move_on_after(_SAYS_WHO_IT_IS_SECS):
        while (record := directory.record()).logger_pid is None:
            if directory.mark() is None or record.boot != boot_id():
                return None
            await trio.sleep(0.002)
        return _writer(record.logger_pid, log)
    return None


def _writer(pid: int, log: Path) -> Process | None:
    stat = read_stat(pid)
    with contextlib.suppress(OSError):
        if stat and not stat.gone and os.path.samefile(f"/proc/{pid}/fd/1", log):
            return stat.process
    return None


def _unused_name(path: Path, secs: int) -> Path:
    while (old := path.with_name(f"{path.name}.old.{secs}")).exists():
        secs += 1
    return old


def read_tail(log: Path, most_bytes: int) -> bytes:
    """The last bytes of a log. Blocks on the disk. Raises OSError, also while its owner has a lease on it."""
    with open(log, "rb", opener=_at_once) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
        return file.read(most_bytes)


def _at_once(path: str, flags: int) -> int:
    """Open what is a user's: to open a file that he has a lease on, or a pipe, would wait for him."""
    return os.open(path, flags | os.O_NONBLOCK)
