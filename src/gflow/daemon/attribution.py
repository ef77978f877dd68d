"""Whose the processes on the GPUs are: a running job's, of a job that has just ended, or nobody's of ours.

A process that the driver still lists though it has gone, or is about to, must not keep a GPU from the next job; one of
which nothing is known must. So whose a process is stays known for as long as the driver lists it, and what is left of
a job that has ended is no stranger for some time.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gflow.core.model import GpuProcessId, GpuStatus, JobId
from gflow.gpu.base import Reading
from gflow.launch.base import Owner

DYING_SECS = 30.0
"""How long after a job's end its processes are not foreign yet; a driver takes some time to let go of a dead one."""


class Attributed(NamedTuple):
    """Whose processes are, by process id. What is in neither belongs to a job that has just ended.

    `may_go`: some of the foreign ones may only be dead processes that nobody saw alive, and soon be gone.
    """

    jobs: Mapping[int, JobId]
    foreign: Mapping[int, GpuProcessId]
    may_go: bool = False


class Attribution:
    """Knows which launches run and which have just ended. Moments are in CLOCK_BOOTTIME."""

    def __init__(self, running: Iterable[str] = ()) -> None:
        self._running = set(running)
        self._ended: dict[str, float] = {}
        self._before: dict[int, Owner] = {}
        self._unseen: dict[int, float] = {}

    def ended(self, run_id: str, boot: float) -> None:
        """A launch is over."""
        self._ended[run_id] = boot

    def sort(
        self, pids: Iterable[int], owners: Mapping[int, Owner], running: Mapping[str, JobId], boot: float
    ) -> Attributed:
        """Sort all processes that the driver lists. `owners` leaves out those that cannot be seen."""
        self._note_ends(running, boot)
        self._before = {pid: self._owner(pid, owners.get(pid)) for pid in pids}
        jobs: dict[int, JobId] = {}
        foreign: dict[int, GpuProcessId] = {}
        for pid, owner in self._before.items():
            run_id = owner.run_id or ""
            if run_id in running:
                jobs[pid] = running[run_id]
            elif run_id not in self._ended:
                foreign[pid] = GpuProcessId(pid, owner.start_ticks)
        self._unseen = {pid: self._unseen.get(pid, boot) for pid in foreign if pid not in owners}
        return Attributed(jobs, foreign, any(boot - since < DYING_SECS for since in self._unseen.values()))

    def _note_ends(self, running: Mapping[str, JobId], boot: float) -> None:
        for run_id in self._running - running.keys():
            self._ended.setdefault(run_id, boot)
        self._running = set(running)
        self._ended = {run_id: at for run_id, at in self._ended.items() if boot - at < DYING_SECS}

    def _owner(self, pid: int, seen: Owner | None) -> Owner:
        """As seen now, or as known from when more of the same process could be seen."""
        before = self._before.get(pid)
        if seen is None:
            return before or Owner(0, None)
        if seen.run_id is None and before is not None and before.start_ticks == seen.start_ticks:
            return before
        return seen


def status_of(reading: Reading, whose: Attributed) -> GpuStatus:
    """What was seen of a device. Who only draws on it is nobody to mind."""
    computing = [process.pid for process in reading.processes if not process.graphics]
    job_mb: dict[JobId, int | None] = {}
    for process in reading.processes:
        if (job_id := whose.jobs.get(process.pid)) is not None:
            job_mb[job_id] = _sum(job_mb.get(job_id, 0), process.used_mb)
    return GpuStatus(
        used_mb=reading.used_mb,
        utilisation_pct=reading.utilisation_pct,
        fault=reading.fault,
        foreign=tuple(whose.foreign[pid] for pid in computing if pid in whose.foreign),
        job_mb=job_mb,
    )


def _sum(one_mb: int | None, other_mb: int | None) -> int | None:
    return None if one_mb is None or other_mb is None else one_mb + other_mb
