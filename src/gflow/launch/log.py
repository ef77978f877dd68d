"""The log of a job: its file, and who writes it. It is complete when its writer, at tmux' end of the pipe, is gone."""

import contextlib
import os
import signal as signals
from pathlib import Path

import trio

from gflow.launch.processes import Process, children_of, read_stat, send
from gflow.launch.run_directory import RunDirectory, boot_id, write_new
from gflow.launch.script import RECORD

_SAYS_WHO_IT_IS_SECS = 2.0

# cat copies until the input ends, or somebody ends it. Where the disk is full it ends with the reason. What comes then
# is thrown away, or tmux would keep all of it in memory; every second it is tried to say so in the log, and with that
# written cat goes on. There is no `#` and no `%` in it: tmux would expand them.
_WRITER = """\
exec >>{log} 3>&1; echo $$ >>{record}
until lost=$(exec cat 2>&1 >&3) || [ $? -gt 128 ]; do
  until timeout 1 cat >/dev/null; drained=$?; echo "
[gflow: output lost here: $(expr "$lost" : ".*: \\(.*\\)")]"; do [ $drained = 124 ] || exit; done
done"""


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
    return _WRITER.format(log=log.name, record=os.path.relpath(directory.path / RECORD, log.parent))


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


def end_idle(writer: Process) -> None:
    """End a writer that has nothing left to write, as what copies for it then sleeps.

    The writer of an earlier gflow has no child: it copies itself. Where the kernel tells no children it is taken for
    one of these; what copied for it then still writes all it gets.
    """
    stat = read_stat(writer.pid)
    if stat is None or stat.process != writer or stat.state != "S":  # asked first: asleep it has its child
        return
    copying = [child for child in map(read_stat, children_of(writer.pid)) if child is not None] or [stat]
    if all(one.state == "S" for one in copying):
        for one in copying:
            send(one.process, signals.SIGTERM)


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
