"""Which processes belong to a job, and signalling them without ever hitting another one.

A process belongs to a launch if it is in the session of its wrapper, has the launch's birthmark (`birthmark.py`), or
descends from such a process. Once found it stays found, whatever it does to its group, session or parent.

Anybody may give himself the birthmark of another's launch: it counts only in a process of the launch's user. And
whatever was found counts only as long as it is the user's, or at least nobody else's who could keep the job from ending
with it (`is_own`).

/proc is the only source, and of that only what the kernel itself keeps: to read an environment, a command line or a
memory map is to wait for the memory of that process, which a user can keep anybody from getting at, for ever. (Such
files are for `patience.py`.) Reading two files of every process for each job that ends would be most of the daemon's
work. What is known of a process is therefore kept for as long as its /proc directory has the same inode number: the
kernel numbers these anew for every process, and a listing gives them for nothing (1,000 processes: 1 ms instead of
120). Before anything is done to a process its start time is compared as well, behind an open pidfd.
"""

import contextlib
import math
import os
import re
import signal as signals
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import trio

from gflow.launch.base import Owner
from gflow.launch.birthmark import mark_in, mark_of

_KERNEL_THREADS = 2
_PF_EXITING = 4
_REST = 3
_LONGEST_REST_SECS = 1.0
_ROUNDS = 5
_LOOK_AGAIN_SECS = 5.0
_ENDING = (signals.SIGTERM, signals.SIGKILL)
_TGID = re.compile(rb"^Tgid:\s*(\d+)$", re.MULTILINE)
_UIDS = re.compile(rb"^Uid:\s*(\d+)\s+\d+\s+(\d+)\s", re.MULTILINE)
_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")


IsUsers = Callable[[int, int], bool]
"""Whether a process is a user's, by their ids; it may block."""


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
    threads: int = 1

    @property
    def gone(self) -> bool:
        """Only its entry is left: threads may outlive the first one, that it is named after."""
        return self.state in "ZX" and self.threads <= 1


class _Launch(NamedTuple):
    run_id: str
    uid: int


class _Launches(NamedTuple):
    """What each wrapper's process id, and each birthmark, stands for."""

    wrappers: Mapping[int, str]
    marks: Mapping[int, _Launch]
    bears: IsUsers


class _Known(NamedTuple):
    """A process with this birthmark, and the launch it belongs to. session: when it was first seen."""

    inode: int
    process: Process
    session: int
    mark: int | None
    run_id: str | None


def read_stat(pid: int) -> Stat | None:
    """The process `pid`, None if there is none."""
    text = _read(pid, "stat")
    if not text:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    return Stat(
        Process(pid, int(fields[19])),
        fields[0].decode(),
        int(fields[1]),
        int(fields[3]),
        foreground_group=int(fields[5]),
        exiting=bool(int(fields[6]) & _PF_EXITING),
        group=int(fields[2]),
        threads=int(fields[17]),
    )


def birthmark_of(pid: int) -> int | None:
    """The birthmark of the process `pid`, None if it has none or is gone."""
    return mark_in(_read(pid, "limits"))


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
    """Wait until nothing is among `members`, those that appear meanwhile included.

    Now and then it is looked whether they still are: what has become another user's is not.
    """
    while there := await members():
        with trio.move_on_after(_LOOK_AGAIN_SECS):
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


def has_rights_of(pid: int, uid: int) -> bool:
    """Whether the process has the rights of the user `uid`, so that he may signal it."""
    return uid in _users_of(pid)


def is_own(pid: int, uid: int) -> bool:
    """Whether a process that was found to belong to a launch of the user `uid` still counts.

    What is others' by now, and may not be signalled, does not; but for what is root's, as `sudo` is: a user can start
    that only where an administrator lets him.
    """
    users = _users_of(pid)
    return uid in users or 0 in users[:1] or _may_be_signalled(pid)


class ProcessTable:
    """The processes of all launches. Scans run in a thread, one at a time, and one serves all who asked before it.

    Under load they pause between two, so that they take a quarter of the time, but never for long.

    bears: whether a birthmark of a launch of that user counts. counts: whether what was found in any way still does.
    """

    def __init__(self, bears: IsUsers = has_rights_of, counts: IsUsers = is_own) -> None:
        self._bears = bears
        self._counts = counts
        self._known: dict[int, _Known] = {}
        self._launches: dict[str, _Launch] = {}
        self._wrappers: dict[int, str] = {}
        self._marks: dict[int, _Launch] = {}
        self._asked = 0
        self._answered = 0
        self._rested_at = -math.inf
        self._scanning = trio.Lock()

    def register(self, run_id: str, uid: int, wrapper_pid: int | None = None) -> None:
        """The launch `run_id` of the user `uid` has processes from now on: those in the session of its wrapper, too."""
        self._launches[run_id] = self._marks[mark_of(run_id)] = _Launch(run_id, uid)
        if wrapper_pid is not None:
            self._wrappers[wrapper_pid] = run_id

    def forget(self, run_id: str) -> None:
        """The launch is over: process ids that named it may name something else."""
        self._wrappers = {pid: known for pid, known in self._wrappers.items() if known != run_id}
        self._marks.pop(mark_of(run_id), None)
        self._launches.pop(run_id, None)

    async def members(self, run_id: str) -> list[Process]:
        """The living processes of `run_id`, without its wrapper; none if it is not registered."""
        await self._scan()
        launch = self._launches.get(run_id)
        found = [known.process for known in self._known.values() if known.run_id == run_id]
        found = [process for process in found if self._wrappers.get(process.pid) != run_id]
        if launch is None or not found:
            return []
        return await trio.to_thread.run_sync(_living, found, self._counts, launch.uid)

    async def owners(self, pids: Collection[int]) -> dict[int, Owner]:
        """Whose these processes are, wrappers included; one that cannot be seen is left out.

        The id of a thread stands for its process: GPU drivers have been seen to name threads.
        """
        if not pids:
            return {}
        await self._scan()
        return await trio.to_thread.run_sync(self._owners, tuple(pids), self._known, dict(self._launches))

    def _owners(
        self, pids: Collection[int], table: Mapping[int, _Known], launches: Mapping[str, _Launch]
    ) -> dict[int, Owner]:
        found = {pid: table.get(pid) or table.get(leader_of(pid)) for pid in pids}
        return {pid: self._owner(known, launches) for pid, known in found.items() if known}

    def _owner(self, known: _Known, launches: Mapping[str, _Launch]) -> Owner:
        launch = launches.get(known.run_id) if known.run_id is not None else None
        theirs = launch is not None and self._counts(known.process.pid, launch.uid)
        return Owner(known.process.start_ticks, known.run_id if theirs else None)

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
            launches = _Launches(dict(self._wrappers), dict(self._marks), self._bears)
            self._known = await trio.to_thread.run_sync(_scan, self._known, launches)
            self._answered = asked
            took = trio.current_time() - began
            self._rested_at = began + took + min(_LONGEST_REST_SECS, _REST * took)


def _living(processes: Iterable[Process], counts: IsUsers, uid: int) -> list[Process]:
    return [process for process in processes if is_alive(process) and counts(process.pid, uid)]


def _scan(before: Mapping[int, _Known], launches: _Launches) -> dict[int, _Known]:
    """The table now."""
    inodes = _list_processes()
    table = {pid: known for pid, known in before.items() if inodes.get(pid) == known.inode}
    for known in [known for known in table.values() if known.run_id is None]:
        if known.session in launches.wrappers or known.mark in launches.marks:
            table[known.process.pid] = _claimed(known, launches)
    fresh = [stat for stat in map(read_stat, inodes.keys() - table.keys()) if stat is not None and not stat.gone]
    for stat in sorted(fresh, key=_parents_first):
        table[stat.process.pid] = _first_seen(stat, inodes[stat.process.pid], table, launches)
    return table


def _parents_first(stat: Stat) -> tuple[int, int]:
    return stat.process.start_ticks, stat.process.pid


def _first_seen(stat: Stat, inode: int, table: Mapping[int, _Known], launches: _Launches) -> _Known:
    """A birthmark is had from the first moment on; what it stands for may be told later."""
    process, parent, wrappers = stat.process, table.get(stat.parent), launches.wrappers
    if stat.parent == _KERNEL_THREADS:
        return _Known(inode, process, stat.session, None, None)
    run_id = wrappers.get(stat.session) or wrappers.get(stat.parent) or (parent.run_id if parent else None)
    if run_id is not None:
        return _Known(inode, process, stat.session, None, run_id)
    return _by_mark(_Known(inode, process, stat.session, birthmark_of(process.pid), None), launches)


def _claimed(known: _Known, launches: _Launches) -> _Known:
    """One that was there before its launch was known. It may have left its session, whose number is another's now."""
    stat = read_stat(known.process.pid)
    if stat is not None and stat.process == known.process and stat.session in launches.wrappers:
        return known._replace(run_id=launches.wrappers[stat.session])
    return _by_mark(known._replace(session=stat.session if stat is not None else 0), launches)


def _by_mark(known: _Known, launches: _Launches) -> _Known:
    """With the launch whose birthmark it has; one that is another user's has it for nothing, and is not asked again."""
    launch = launches.marks.get(known.mark) if known.mark is not None else None
    if launch is None:
        return known
    if launches.bears(known.process.pid, launch.uid):
        return known._replace(run_id=launch.run_id)
    return known._replace(mark=None)


def all_processes() -> list[Stat]:
    """Every process there is now. Takes a tenth of a second where there are a thousand: call it in a thread."""
    return [stat for stat in map(read_stat, _list_processes()) if stat is not None and not stat.gone]


def name_of(pid: int) -> str:
    """What the process `pid` runs, cut to 15 bytes as the kernel does; empty if it is gone."""
    return _read(pid, "comm").decode("utf-8", "replace").rstrip("\n")


def real_user_of(pid: int) -> int | None:
    """The real user id of the process `pid`, None if it is gone."""
    return next(iter(_users_of(pid)), None)


def _users_of(pid: int) -> tuple[int, ...]:
    """Real and saved user id of the process `pid`: whoever has one of these may signal it. Empty if it is gone."""
    found = _UIDS.search(_read(pid, "status"))
    return (int(found[1]), int(found[2])) if found else ()


def _may_be_signalled(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return True
    return False


def leader_of(pid: int) -> int:
    """The process a thread is of, which for a process is itself; 0 if there is no such thing."""
    found = _TGID.search(_read(pid, "status"))
    return int(found[1]) if found else 0


def children_of(pid: int) -> list[int]:
    """The children of the first thread of the process `pid`; none where the kernel does not tell."""
    return [int(word) for word in _read(pid, f"task/{pid}/children").split()]


def _list_processes() -> dict[int, int]:
    """Process id -> inode number of its /proc directory."""
    with os.scandir("/proc") as entries:
        return {int(entry.name): entry.inode() for entry in entries if entry.name.isdigit()}


def _read(pid: int, name: str) -> bytes:
    """A file of the process `pid`; empty if it is gone or may not be read."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.read()
    return b""
