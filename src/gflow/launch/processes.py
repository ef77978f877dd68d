"""Which processes belong to a job, and signalling them without ever hitting another one.

A process belongs to a launch if it is in the session of its wrapper, carries the launch's GFLOW_RUN_ID in its initial
environment, descends from such a process, or has the launch's birthmark (`birthmark.py`). Once found it stays found,
whatever it does to its group, session or parent.

/proc is the only source, and reading three files of every process for each job that ends would be most of the
daemon's work. What is known of a process is therefore kept for as long as its /proc directory has the same inode
number: the kernel numbers these anew for every process, and a listing gives them for nothing (1,000 processes: 1 ms
instead of 120). Before anything is done to a process its start time is compared as well, behind an open pidfd.
"""

import contextlib
import math
import os
import re
import select
import signal as signals
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import trio

from gflow.launch.base import Owner
from gflow.launch.birthmark import mark_in, mark_of

RUN_ID_VARIABLE = "GFLOW_RUN_ID"
_KERNEL_THREADS = 2
_PF_EXITING = 4
_PF_KTHREAD = 0x200000
_STARTING_SECS = 0.05
_STARTING_PAUSE_SECS = 0.0005
_REST = 3
_ROUNDS = 5
_ENDING = (signals.SIGTERM, signals.SIGKILL)
_TGID = re.compile(rb"^Tgid:\s*(\d+)$", re.MULTILINE)
_REAL_UID = re.compile(rb"^Uid:\s*(\d+)\s", re.MULTILINE)
_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """A process for good: ids are used again, an id with a start time (clock ticks since boot) is not."""

    pid: int
    start_ticks: int

    @property
    def start_boot(self) -> float:
        """When it started, in seconds of CLOCK_BOOTTIME."""
        return self.start_ticks / _TICKS_PER_SEC


class Stat(NamedTuple):
    """What is used of /proc/PID/stat."""

    process: Process
    state: str
    parent: int
    session: int
    foreground_group: int
    exiting: bool = False
    """It is about to be gone, and closes what it has open."""
    group: int = 0
    starting: bool = False
    """It is in the middle of starting a program (execve), and has no environment for that moment; or it may not be
    looked at, and the kernel hides whether it has one."""

    @property
    def gone(self) -> bool:
        """Only its entry is left."""
        return self.state in "ZX"


class _Known(NamedTuple):
    inode: int | None
    """None: to be looked into again at the next scan."""
    process: Process
    run_id: str | None


def read_stat(pid: int) -> Stat | None:
    """The process `pid`, None if there is none."""
    text = _read(pid, "stat")
    if not text:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    flags, environment_end = int(fields[6]), int(fields[48])
    return Stat(
        Process(pid, int(fields[19])),
        fields[0].decode(),
        int(fields[1]),
        int(fields[3]),
        foreground_group=int(fields[5]),
        exiting=bool(flags & _PF_EXITING),
        group=int(fields[2]),
        starting=environment_end == 0 and not flags & (_PF_EXITING | _PF_KTHREAD),
    )


def run_id_of(pid: int) -> str | None:
    """The launch whose mark the process `pid` was started with."""
    return environment_of(pid, RUN_ID_VARIABLE)


def is_alive(process: Process) -> bool:
    """Whether it runs: neither gone, nor a zombie, nor another one by now."""
    stat = read_stat(process.pid)
    return stat is not None and stat.process == process and not stat.gone


def open_process(process: Process) -> int | None:
    """A pidfd, None if `process` is gone. The caller closes it."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except (ProcessLookupError, OSError):
        return None
    if is_alive(process):
        return pidfd
    os.close(pidfd)
    return None


def send(process: Process, signal: int) -> bool:
    """Signal exactly `process`; False if it is gone. Raises PermissionError if it belongs to somebody else."""
    pidfd = open_process(process)
    if pidfd is None:
        return False
    try:
        signals.pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def joined(found: list[Process], pids: Collection[int]) -> list[Process]:
    """`found`, and the living processes with these ids that are not among them."""
    stats = map(read_stat, set(pids) - {process.pid for process in found})
    return [*found, *(stat.process for stat in stats if stat is not None and not stat.gone)]


async def wait_all_gone(members: Callable[[], Awaitable[Iterable[Process]]]) -> None:
    """Wait until nothing is among `members`, those that appear meanwhile included."""
    while there := await members():
        for process in there:
            await wait_process(process)


async def signal_all(members: Callable[[], Awaitable[Iterable[Process]]], signal: int) -> int:
    """Signal every process that is among `members`, once; return how many there were.

    One that is to be ended takes along the processes that appear meanwhile, and is woken up if it was stopped.
    """
    reached: set[Process] = set()
    for _ in range(_ROUNDS if signal in _ENDING else 1):
        fresh = [process for process in await members() if process not in reached]
        if not fresh:
            break
        for process in fresh:
            with contextlib.suppress(PermissionError):
                send(process, signal)
                if signal == signals.SIGTERM:
                    send(process, signals.SIGCONT)
        reached.update(fresh)
    return len(reached)


async def wait_process(process: Process) -> None:
    """Return once `process` is gone."""
    pidfd = open_process(process)
    if pidfd is None:
        return
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


class ProcessTable:
    """The processes of all launches. Scans run in a thread, one at a time, and one serves all who asked before it.

    Under load they pause so long between two that they take a quarter of the time at most.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._wrappers: dict[int, str] = {}
        self._marks: dict[int, str] = {}
        self._asked = 0
        self._answered = 0
        self._rested_at = -math.inf
        self._scanning = trio.Lock()

    def register(self, run_id: str, wrapper_pid: int) -> None:
        """Processes in the session of `wrapper_pid` belong to `run_id` from now on."""
        self._wrappers[wrapper_pid] = run_id
        self._marks[mark_of(run_id)] = run_id

    def forget(self, run_id: str) -> None:
        """The launch is over: process ids that named it may name something else."""
        self._wrappers = {pid: known for pid, known in self._wrappers.items() if known != run_id}
        self._marks.pop(mark_of(run_id), None)

    async def members(self, run_id: str) -> list[Process]:
        """The living processes of `run_id`, without its wrapper."""
        await self._scan()
        found = [known.process for known in self._known.values() if known.run_id == run_id]
        return [process for process in found if self._wrappers.get(process.pid) != run_id and is_alive(process)]

    async def owners(self, pids: Collection[int]) -> dict[int, Owner]:
        """Whose these processes are, wrappers included; one that cannot be seen is left out.

        The id of a thread stands for its process: GPU drivers have been seen to name threads.
        """
        if not pids:
            return {}
        await self._scan()
        found = {pid: self._known.get(pid) or self._known.get(leader_of(pid)) for pid in pids}
        return {pid: Owner(known.process.start_ticks, known.run_id) for pid, known in found.items() if known}

    async def _scan(self) -> None:
        """Bring the table up to date with at least this moment."""
        self._asked += 1
        ticket = self._asked
        async with self._scanning:
            if self._answered >= ticket:
                return
            await trio.sleep_until(self._rested_at)
            asked = self._asked
            began = trio.current_time()
            self._known = await trio.to_thread.run_sync(_scan, self._known, dict(self._wrappers), dict(self._marks))
            self._answered = asked
            self._rested_at = trio.current_time() + _REST * (trio.current_time() - began)


def _scan(before: Mapping[int, _Known], wrappers: Mapping[int, str], marks: Mapping[int, str]) -> dict[int, _Known]:
    """The table now. The launch each wrapper's process id, and each birthmark, stands for."""
    inodes = _list_processes()
    table = {pid: known for pid, known in before.items() if inodes.get(pid) == known.inode}
    fresh = [stat for stat in map(read_stat, inodes.keys() - table.keys()) if stat is not None and not stat.gone]
    for stat in sorted(fresh, key=_parents_first):
        pid = stat.process.pid
        run_id, settled = _run_id(stat, table, wrappers)
        if run_id is None and stat.parent != _KERNEL_THREADS:
            mark = mark_in(_read(pid, "limits"))
            run_id, settled = (None, settled) if mark is None else (marks.get(mark), mark in marks)
        table[pid] = _Known(inodes[pid] if settled else None, stat.process, run_id)
    return table


def _parents_first(stat: Stat) -> tuple[int, int]:
    return stat.process.start_ticks, stat.process.pid


def _run_id(stat: Stat, table: Mapping[int, _Known], wrappers: Mapping[int, str]) -> tuple[str | None, bool]:
    """The launch a process belongs to, and whether that is settled: no environment at all may not be the last word."""
    if stat.parent == _KERNEL_THREADS:
        return None, True
    if stat.session in wrappers:
        return wrappers[stat.session], True
    parent, environ = table.get(stat.parent), _environ_once_started(stat.process.pid)
    mark = _variable(environ or b"", RUN_ID_VARIABLE)
    run_id = mark or wrappers.get(stat.parent) or (parent.run_id if parent else None)
    return run_id, run_id is not None or environ != b""


def all_processes() -> list[Stat]:
    """Every process there is now. Takes a tenth of a second where there are a thousand: call it in a thread."""
    return [stat for stat in map(read_stat, _list_processes()) if stat is not None and not stat.gone]


def name_of(pid: int) -> str:
    """What the process `pid` runs, cut to 15 bytes as the kernel does; empty if it is gone."""
    return _read(pid, "comm").decode("utf-8", "replace").rstrip("\n")


def real_user_of(pid: int) -> int | None:
    """The real user id of the process `pid`, None if it is gone."""
    found = _REAL_UID.search(_read(pid, "status"))
    return int(found[1]) if found else None


def leader_of(pid: int) -> int:
    """The process a thread is of, which for a process is itself; 0 if there is no such thing."""
    found = _TGID.search(_read(pid, "status"))
    return int(found[1]) if found else 0


def environment_of(pid: int, name: str) -> str | None:
    """A variable the process `pid` was started with; None if it has none, or may not be looked at."""
    return _variable(_environ(pid) or b"", name)


def _variable(environ: bytes, name: str) -> str | None:
    prefix = f"{name}=".encode()
    entries = environ.split(b"\0")
    return next((os.fsdecode(entry[len(prefix) :]) for entry in entries if entry.startswith(prefix)), None)


def _environ_once_started(pid: int) -> bytes | None:
    """The same as `_environ`; one that is just starting a program gets some milliseconds to have one."""
    deadline = time.monotonic() + _STARTING_SECS
    while (environ := _environ(pid)) == b"":
        stat = read_stat(pid)
        if stat is None or not stat.starting or time.monotonic() > deadline:
            return _environ(pid)  # it may have started just now
        select.select([], [], [], _STARTING_PAUSE_SECS)
    return environ


def _environ(pid: int) -> bytes | None:
    """What the process `pid` was started with, None if it is gone or may not be looked at."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return None


def _list_processes() -> dict[int, int]:
    """Process id -> inode number of its /proc directory."""
    with os.scandir("/proc") as entries:
        return {int(entry.name): entry.inode() for entry in entries if entry.name.isdigit()}


def _read(pid: int, name: str) -> bytes:
    """A file of the process `pid`; empty if it is gone or may not be read."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.read()
    return b""
