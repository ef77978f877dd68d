"""The socket of a tmux server: who listens there, and having it made anew where somebody has removed its file.

Cleaners of temporary directories take the file of a socket that is old, and the server does not notice. On SIGUSR1 tmux
makes it again (tmux(1)). The signal would end a process that does not wait for it, so it is only sent to one that is
ours by its real user id, is called tmux, catches that signal, and is the one meant by its start time, behind a pidfd.

The kernel knows the path a socket was bound to whether or not the file is there (/proc/net/unix), and who has it open.
"""

import contextlib
import os
import re
import select
import signal as signals
import socket
import stat
import struct
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from gflow.launch.processes import Process, all_processes, name_of, open_process, real_user_of

_RETURN_SECS = 3.0
_PAUSE_SECS = 0.005
_LISTENS = 0x10000  # __SO_ACCEPTCON
_CAUGHT = re.compile(rb"^SigCgt:\s*([0-9a-f]+)$", re.MULTILINE)


def listener_on(path: Path) -> int | None:
    """The process that listens on the socket `path` for whoever connects, None if none does."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(os.fspath(path))
        except OSError:
            return None
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def servers_of(paths: Collection[str], uid: int | None = None) -> dict[str, list[Process]]:
    """The tmux servers that listen on sockets bound to these paths, whether or not anybody can get there.

    Those with children, which are jobs, come first, then the youngest. uid: whose (ours).
    """
    bound = {inode: path for inode, path in _bound() if path in paths}
    found: dict[str, list[tuple[bool, int, Process]]] = {}
    if bound:
        everything = all_processes()
        parents = {stat.parent for stat in everything}
        for process in (stat.process for stat in everything):
            if _is_server(process.pid, os.geteuid() if uid is None else uid):
                for path in _listens_on(process.pid, bound):
                    rank = process.pid not in parents, -process.start_ticks, process
                    found.setdefault(path, []).append(rank)
    return {path: [process for _, _, process in sorted(ranks)] for path, ranks in found.items()}


def listening_paths() -> set[str]:
    """The paths of all sockets of this machine on which somebody listens."""
    return {path for _, path in _bound()}


def call_back(server: Process, path: Path) -> bool:
    """Have a server make its socket at `path` anew; whether it can be reached there now. Blocks for up to 3 s."""
    pidfd = open_process(server) if _private(path.parent) else None
    if pidfd is None:
        return False
    try:
        if not _is_server(server.pid, os.geteuid()):
            return False
        signals.pidfd_send_signal(pidfd, signals.SIGUSR1)
        deadline = time.monotonic() + _RETURN_SECS
        while (there := listener_on(path)) != server.pid and time.monotonic() < deadline:
            if select.select([pidfd], [], [], _PAUSE_SECS)[0]:
                return False
        return there == server.pid
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(pidfd)


def guard(path: Path) -> None:
    """Mark the socket as one to be kept: used just now, and sticky, which the XDG base directory specification has for
    files that cleaners are to leave alone. tmux takes the mark off when somebody attaches."""
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if stat.S_ISSOCK(mode):
            os.utime(path)
            path.chmod(stat.S_IMODE(mode) | stat.S_ISVTX)


def _private(directory: Path) -> bool:
    """Whether it is there, made if need be, and nobody else may put something into it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _bound() -> Iterator[tuple[str, str]]:
    """Inode and path of all sockets that somebody listens on."""
    try:
        lines = Path("/proc/net/unix").read_bytes().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split(None, 7)
        if len(fields) == 8 and int(fields[3], 16) & _LISTENS:
            yield fields[6].decode("ascii"), os.fsdecode(fields[7])


def _is_server(pid: int, uid: int) -> bool:
    return real_user_of(pid) == uid and name_of(pid).startswith("tmux") and _catches(pid, signals.SIGUSR1)


def _catches(pid: int, signal: int) -> bool:
    try:
        caught = _CAUGHT.search(Path(f"/proc/{pid}/status").read_bytes())
    except OSError:
        return False
    return caught is not None and bool(int(caught[1], 16) >> (signal - 1) & 1)


def _listens_on(pid: int, bound: Mapping[str, str]) -> set[str]:
    """Which of the sockets, paths by inode, the process has open."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                inode = os.readlink(descriptor.path).removeprefix("socket:[").removesuffix("]")
                if inode in bound:
                    found.add(bound[inode])
    return found
