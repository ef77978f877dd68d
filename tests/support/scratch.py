"""Finding and ending every process that has to do with a scratch directory, whoever its parent is by now."""

import contextlib
import os
import signal

from support.wait import until


def processes_of(directory: str) -> dict[int, str]:
    """Living processes with `directory` in their arguments, environment or working directory, and their descendants.

    From process id to its arguments, as ps shows them.
    """
    mark, ours, children = os.fsencode(directory), set(), {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        stat = _read(pid, "stat")
        if not stat or pid == os.getpid():
            continue
        parent = stat[stat.rindex(b")") + 2 :].split()[1]
        children.setdefault(int(parent), set()).add(pid)
        if mark in _read(pid, "cmdline") or mark in _read(pid, "environ") or _is_in(pid, mark):
            ours.add(pid)
    todo = list(ours)
    while todo:
        fresh = children.get(todo.pop(), set()) - ours
        ours |= fresh
        todo += fresh
    return {pid: _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace") for pid in ours if lives(pid)}


def end_processes_of(directory: str) -> None:
    """SIGKILL to all of them until none is left."""

    def killed() -> bool:
        left = processes_of(directory)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    until(killed, f"the end of the processes of {directory}")


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _is_in(pid: int, directory: bytes) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd".encode()).startswith(directory)
    except OSError:
        return False


def lives(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    stat = _read(pid, "stat")
    return bool(stat) and stat[stat.rindex(b")") + 2 :][:1] not in (b"Z", b"X")
