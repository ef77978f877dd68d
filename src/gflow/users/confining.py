"""Limits of jobs that run as their users: cgroups that root makes and nobody leaves, and CPUs that are told apart.

Before a launch root makes the job's cgroup. The helper of the user starts the wrapper, which waits; root moves it in,
and the wrapper sees that in /proc and goes on (`launch.script`). So nothing of the job runs outside, nobody has to be
told, and a daemon that comes back in between only moves it once more. Which process is the wrapper the user's helper
says, so only one of the user's is ever moved: the worst he can do is to limit what else he runs.

Where no cgroups can be had the wrapper waits for nothing, and the launcher watches.
"""

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from gflow.core.model import Exit, Job
from gflow.launch.cgroups import Cgroups, why_no_controller
from gflow.launch.confined import confined_over
from gflow.launch.consumption import memory_over
from gflow.launch.cpu_sets import CpuSets, usable_cpus
from gflow.launch.ending import ran_out
from gflow.launch.patience import Patience
from gflow.launch.processes import Process, is_alive, joined, real_user_of
from gflow.launch.run_directory import name_of
from gflow.launch.script import UNCONFINED, Confinement
from gflow.users import holder

log = logging.getLogger(__name__)


class Confining:
    """Methods block, for microseconds but `begin`, and are safe from several threads.

    `cgroups_of` are those of the jobs that have theirs where the process with this id is. own_unit: systemd is to give
    them a place of their own.
    """

    def __init__(
        self, data_dir: Path, cgroups_of: Callable[[int | None], Cgroups | None], *, own_unit: bool = False
    ) -> None:
        self._data_dir = data_dir
        self._cgroups_of = cgroups_of
        self._own_unit = own_unit
        self._held = False
        self._cgroups: Cgroups | None = None
        self._cpu_sets = CpuSets(usable_cpus())
        self._left: set[str] = set()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Find out where cgroups can be, before any user has a process here."""
        self._cgroups = self._cgroups_of(self._place())

    def _place(self) -> int:
        """A process in the cgroup that is to be divided."""
        self._held = False
        if self._own_unit and why_no_controller() is None:
            try:
                pid = holder.hold(self._data_dir)
            except holder.NotHeld as trouble:
                log.warning("systemd gives the limits of jobs no unit of their own: %s", trouble)
            else:
                self._held = True
                return pid
        return os.getpid()

    def close(self) -> None:
        """Keep what running jobs need, and no more."""
        if self._held and self._cgroups is not None and not self._cgroups.names():
            holder.let_go(self._data_dir)

    # One job.

    def make(self, job: Job, uid: int) -> Confinement:
        """What a launch is to be kept by. Raises OSError."""
        memory_mb, cpus = job.spec.memory_mb, job.spec.cpus
        if memory_mb is None and cpus is None:
            return UNCONFINED
        listed = None if cpus is None else self._cpu_sets.take(job.run_id or "", cpus)
        cgroups = self._there()
        if cgroups is None:
            return Confinement(cpus=listed)
        name = name_of(job)
        return Confinement(os.fspath(cgroups.make_for(uid, name, memory_mb, cpus)), listed, within=name)

    def _there(self) -> Cgroups | None:
        """The cgroups, where somebody has ended their unit in another."""
        with self._lock:
            if self._cgroups is not None and not self._cgroups.directory.is_dir():
                self.begin()
            return self._cgroups

    def admit(self, job: Job, wrapper: Process) -> None:
        """Move its wrapper into its cgroup, if it has one. Raises OSError."""
        cgroups = self._of(job)
        if cgroups is not None and is_alive(wrapper) and real_user_of(wrapper.pid) == job.spec.uid:
            cgroups.admit(name_of(job), wrapper.pid)

    def take_up(self, job: Job, wrapper: Process) -> None:
        """The same for a launch of an earlier daemon, wherever that was interrupted. Raises OSError."""
        if job.spec.cpus is not None:
            self._cpu_sets.note(job.run_id or "", wrapper.pid)
        self.admit(job, wrapper)

    def judge(self, job: Job, how: Exit) -> Exit:
        """How it ended, if it was not the kernel that ended it for its limit."""
        cgroups = self._of(job) if job.spec.memory_mb is not None else None
        limit_mb = cgroups.ran_out_at(name_of(job)) if cgroups is not None else None
        return how if limit_mb is None else ran_out(how, limit_mb)

    def with_all_in_it(self, job: Job, found: list[Process], wrapper: Process | None) -> list[Process]:
        """The processes that were found, and what else is in its cgroup but the wrapper, wherever it hides."""
        cgroups = self._of(job)
        if cgroups is None:
            return found
        return joined(found, cgroups.pids(name_of(job)) - ({wrapper.pid} if wrapper is not None else set()))

    async def memory_over(self, job: Job, found: Collection[Process], patience: Patience) -> int | None:
        """What its processes have in memory (bytes), if that is too much and the kernel does not see to it."""
        cgroups, limit_mb = self._of(job), job.spec.memory_mb
        if cgroups is not None:
            return await confined_over(cgroups, name_of(job), limit_mb, found, job.spec.uid, patience)
        return None if limit_mb is None else await memory_over(found, limit_mb << 20, job.spec.uid, patience)

    def _of(self, job: Job) -> Cgroups | None:
        """The cgroups, if the job has one of them."""
        cgroups = self._cgroups
        return cgroups if cgroups is not None and cgroups.has(name_of(job)) else None

    # Afterwards.

    def drop(self, job: Job) -> None:
        """It is over. What its user keeps from going is tried again with the next."""
        self._cpu_sets.free(job.run_id or "")
        if self._cgroups is not None:
            with self._lock:
                self._left = {name for name in {*self._left, name_of(job)} if not self._cgroups.remove(name)}

    def sweep(self, running: Iterable[Job]) -> None:
        """Remove what earlier daemons have left, but for these jobs."""
        if self._cgroups is not None:
            self._cgroups.sweep({name_of(job) for job in running})
