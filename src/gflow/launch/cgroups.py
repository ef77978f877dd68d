"""Limits that the kernel keeps: a cgroup (version 2) for each job that has one. The only file that knows cgroups.

They are made in the cgroup of the tmux server, which jobs are in anyway: its unit of systemd, one that the daemon is in
as well and may divide, or the root of the hierarchy. The layout is

    BASE/gflowd               the tmux server, and jobs without limits; the daemon, if it is in the same cgroup
    BASE/gflow-NNNNNNNN/      of one data directory
        ID.RUN_ID/            a job; where jobs are of several users
            wrapper/          what records how it ends
            job/              and the rest of it

Where one daemon serves several users, BASE is root's, and a user may do one thing there: move what is in a job of his
from one of the two to the other. The kernel lets nobody move a process who may not do so in what both cgroups are in,
so nothing leaves the job, and its limits, which are set above the two, are nobody's but root's.

Rules it keeps:

- Processes are in leaves only, as the kernel demands of cgroups whose children have controllers. So what is in BASE
  moves into the leaf: all of it in the server's own unit, which nobody else starts anything in; elsewhere only the
  server and the daemon, and if others are there, too, there are no cgroups. Other units of systemd's are left alone,
  unless they have the leaf already (`DelegateSubgroup=gflowd`): with jobs still running there, systemd could start no
  daemon in its unit again.
- A job enters its cgroup itself, before its first instruction, so nothing it starts is ever outside. Its wrapper stays
  outside, and lives to record how the job ended. Of several users root moves the wrapper, which waits for that; what
  ends for want of memory is all that is in `job`.
- Whatever else can be seen of a job follows from its directory, so a later daemon finds it again.
"""

import contextlib
import hashlib
import os
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

from gflow.launch.unit import UNIT_PREFIX

LEAF = "gflowd"
WRAPPER, JOB = "wrapper", "job"
CPU_PERIOD_USECS = 100_000

NO_HIERARCHY = "there is no cgroup v2 here"
NO_CONTROLLER = "cgroup v2 has no memory controller here"

_UNITS = (".service", ".scope", ".slice")
_CONTROLLERS = ("memory", "cpu", "pids")
_PARTS_OF_PIDS = 0.15
"""What a job of one of several users may have of the machine's processes: as many as systemd gives a unit."""


class Unavailable(Exception):
    """There can be no cgroups; the message says why, in a few words."""


class Own(NamedTuple):
    """The cgroup of a process, and where the hierarchy it is in begins."""

    directory: Path
    root: Path


class Cgroups:
    """The cgroups of the jobs of one daemon, in `directory`. Methods block on files, for microseconds."""

    def __init__(self, directory: Path, controllers: Set[str]) -> None:
        self.directory = directory
        self.controllers = controllers

    @classmethod
    def open(cls, data_dir: Path, server_pid: int) -> "Cgroups":
        """Those of the jobs of this data directory, whose tmux server this is. Raises Unavailable."""
        base, own, alone = _base(server_pid)
        try:
            controllers = _enable(base, _movers(base, own, server_pid, alone=alone))
            name = hashlib.sha256(os.fsencode(os.path.realpath(data_dir))).hexdigest()[:8]
            directory = base / f"gflow-{name}"
            directory.mkdir(exist_ok=True)
            _write(directory / "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(controllers)))
        except OSError as error:
            raise Unavailable(f"{base} cannot be used: {error.strerror}") from error
        return cls(directory, controllers)

    def has(self, name: str) -> bool:
        """Whether the job of this name has one."""
        return (self.directory / name).is_dir()

    def make(self, name: str, memory_mb: int | None, cpus: int | None) -> Path:
        """A cgroup with these limits; return the file by which a process enters it. Raises OSError."""
        (self.directory / name).mkdir(exist_ok=True)
        self._limit(name, memory_mb, cpus)
        return self.directory / name / "cgroup.procs"

    def make_for(self, uid: int, name: str, memory_mb: int | None, cpus: int | None) -> Path:
        """The same for a job of this user, whose wrapper is to be moved into it (`admit`). Needs root."""
        top = self.directory / name
        top.mkdir(exist_ok=True)
        _write(top / "cgroup.subtree_control", "+memory")
        for part in (top / WRAPPER, top / JOB):
            part.mkdir(exist_ok=True)
        self._limit(name, memory_mb, cpus)
        if "pids" in self.controllers:  # or one user's job could keep those of others from starting any
            _write(top / "pids.max", str(_most_processes()))
        for place in (self.directory, top, top / JOB):  # whatever our umask is
            os.chmod(place, 0o711 if place == self.directory else 0o755)
        for place in (top, top / JOB):
            os.chown(place / "cgroup.procs", uid, -1)
        return top / JOB / "cgroup.procs"

    def admit(self, name: str, pid: int) -> None:
        """Move the wrapper of a job into it. Raises OSError; one that is gone by now need not be moved."""
        _move({pid}, self.directory / name / WRAPPER)

    def _limit(self, name: str, memory_mb: int | None, cpus: int | None) -> None:
        if memory_mb is not None:
            self.set_memory(name, memory_mb)
        if cpus is not None and "cpu" in self.controllers:
            _write(self.directory / name / "cpu.max", f"{cpus * CPU_PERIOD_USECS} {CPU_PERIOD_USECS}")

    def set_memory(self, name: str, memory_mb: int | None) -> None:
        """The limit from now on, None: none. Over it all processes of the job are ended together. Raises OSError."""
        job = self.directory / name
        _write((job / JOB if (job / JOB).is_dir() else job) / "memory.oom.group", "1")
        with contextlib.suppress(FileNotFoundError):  # a kernel that does not swap
            _write(job / "memory.swap.max", "0" if memory_mb is not None else "max")
        _write(job / "memory.max", str(memory_mb << 20) if memory_mb is not None else "max")

    def hold(self, name: str, memory_mb: int | None) -> None:
        """Set the limit, unless it is so. One that is lower than what is in use takes a while, or ends the job."""
        with contextlib.suppress(OSError):  # it may just have ended
            if self._memory_limit_mb(name) != memory_mb:
                self.set_memory(name, memory_mb)

    def ran_out_at(self, name: str) -> int | None:
        """The limit, in MiB, at which the kernel has ended the processes of the job; None if it has not."""
        with contextlib.suppress(OSError):
            events = dict(line.split() for line in _read(self.directory / name / "memory.events").splitlines())
            if int(events.get("oom_kill", 0)):
                return self._memory_limit_mb(name)
        return None

    def pids(self, name: str) -> set[int]:
        """The processes in it, wherever their session, parents and environment are; none if it is gone."""
        found: set[int] = set()
        for directory in _bottom_up(self.directory / name):
            with contextlib.suppress(OSError):  # as one that only has threads
                found |= set(map(int, _read(directory / "cgroup.procs").split()))
        return found - {0}  # which stands for all that this process may not see

    def held_bytes(self, name: str) -> int:
        """What it has in memory that the kernel could not just drop."""
        with contextlib.suppress(OSError):
            said = dict(line.split() for line in _read(self.directory / name / "memory.stat").splitlines())
            return int(said.get("anon", 0)) + int(said.get("shmem", 0))
        return 0

    def _memory_limit_mb(self, name: str) -> int | None:
        limit = _read(self.directory / name / "memory.max").strip()
        return int(limit) >> 20 if limit.isdigit() else None

    def remove(self, name: str) -> bool:
        """The job is over. One that still has processes stays (False); the next `sweep` tries again."""
        for directory in _bottom_up(self.directory / name):
            with contextlib.suppress(OSError):
                directory.rmdir()
        return not self.has(name)

    def names(self) -> set[str]:
        """The jobs that have one."""
        with contextlib.suppress(OSError):
            return {directory.name for directory in self.directory.iterdir() if directory.is_dir()}
        return set()

    def sweep(self, kept: Set[str]) -> None:
        """Remove those of all jobs but these."""
        for name in self.names() - kept:
            self.remove(name)


def why_no_controller() -> str | None:
    """Why no cgroup could keep a limit of memory on this machine, None if one could."""
    own = _own(os.getpid())
    if own is None:
        return NO_HIERARCHY
    with contextlib.suppress(OSError):
        if "memory" in _read(own.root / "cgroup.controllers").split():
            return None
    return NO_CONTROLLER


def why_unavailable(pid: int) -> str | None:
    """Why a tmux server where this process is could have no cgroups for its jobs, None if it could. Changes nothing."""
    try:
        _base(pid)
    except Unavailable as trouble:
        return str(trouble)
    return None


def _base(server_pid: int) -> tuple[Path, Own, bool]:
    """Where cgroups may be made, where the server is, and whether that is its own unit. Raises Unavailable."""
    own = _own(server_pid)
    if own is None:
        raise Unavailable(NO_HIERARCHY)
    base = own.directory.parent if own.directory.name == LEAF else own.directory
    alone = base.name.startswith(UNIT_PREFIX)
    _check(base, own, alone=alone)
    return base, own, alone


def _own(pid: int) -> Own | None:
    """Where a process is in the hierarchy of version 2; None if there is none, or it cannot be seen from here."""
    try:
        lines = _read(Path(f"/proc/{pid}/cgroup")).splitlines()
        mounts = [line.split() for line in _read(Path("/proc/self/mountinfo")).splitlines()]
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    for fields in mounts:
        inside, point, kind = fields[3], fields[4], fields[fields.index("-") + 1]
        if kind == "cgroup2" and path is not None and "/.." not in path and Path(path).is_relative_to(inside):
            root = Path(point)
            return Own(root / Path(path).relative_to(inside), root)
    return None


def _check(base: Path, own: Own, *, alone: bool) -> None:
    """Raise Unavailable if cgroups must not be made in `base`, or could not keep a limit of memory.

    `alone`: it is the server's own unit.
    """
    if not base.is_relative_to(own.root):
        raise Unavailable("the tmux server is in a cgroup outside of this container")
    try:
        there = _read(base / "cgroup.controllers").split()
    except OSError as error:
        raise Unavailable(f"{base} cannot be read: {error.strerror}") from error
    if "memory" not in there:
        raise Unavailable(NO_CONTROLLER)
    if not os.access(base / "cgroup.subtree_control", os.W_OK):
        raise Unavailable(f"{base} is not the daemon's to divide")
    if base == own.directory and base.name.endswith(_UNITS) and not alone:
        raise Unavailable(f"jobs have no unit of their own, and the daemon no cgroup of its own in {base.name}")


def _movers(base: Path, own: Own, server_pid: int, *, alone: bool) -> set[int]:
    """The processes that have to move from `base` into its leaf; none at the root, which may have some.

    Raises OSError.
    """
    if base != own.directory or not (base / "cgroup.type").exists():
        return set()
    there = set(map(int, _read(base / "cgroup.procs").split()))
    return there if alone else there & {server_pid, os.getpid()}


def _enable(base: Path, movers: Set[int]) -> frozenset[str]:
    """Let the children of `base` have limits; return which controllers keep them. Raises OSError."""
    there = _read(base / "cgroup.controllers").split()
    wanted = [name for name in _CONTROLLERS if name in there]
    enabled = _read(base / "cgroup.subtree_control").split()
    missing = [name for name in wanted if name not in enabled]
    if not missing:
        return frozenset(wanted)
    if movers:
        (base / LEAF).mkdir(exist_ok=True)
        _move(movers, base / LEAF)
    try:
        _write(base / "cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
    except OSError:
        _move(movers, base)  # others are in it, too: all stays as it was
        raise
    return frozenset(wanted)


def _move(pids: Set[int], cgroup: Path) -> None:
    """Raises OSError. What is gone by now need not be moved."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            _write(cgroup / "cgroup.procs", str(pid))


def _most_processes() -> int:
    there = min(int(_read(Path("/proc/sys/kernel", name))) for name in ("pid_max", "threads-max"))
    return int(there * _PARTS_OF_PIDS)


def _bottom_up(directory: Path) -> list[Path]:
    """The cgroup and those the job has made in it, the deepest first."""
    return [Path(path) for path, _, _ in os.walk(directory, topdown=False)]


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace")


def _write(path: Path, text: str) -> None:
    """One write, without truncating: these are no files. An error says which it was."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    finally:
        os.close(descriptor)
