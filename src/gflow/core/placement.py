"""The GPUs, the host memory and the CPUs of this machine, who holds them, and what keeps a device from being given
out.

Bookkeeping decides: what running jobs were given is taken until they have ended, and free in the same step. What a
probe sees only vetoes: a fault, or processes of others that compute on a device. Jobs on a device that falls away are
left alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from gflow.core.model import Gpu, GpuProcessId, GpuStatus, Job, JobId
from gflow.core.reservations import GpuSet, gpu_set

Shuffle = Callable[[list[int]], None]
"""Reorders candidate GPU indices in place; the identity keeps them ascending."""

UNSEEN = GpuStatus()


def keep_order(_indices: list[int]) -> None:
    """The sequential strategy: lower indices first."""


class Resources:
    """GPUs, host memory and processors of this machine, and who holds them.

    - gpus: every device ever seen, by index, within what the configuration allows. status: as last seen.
    - allowed: what an administrator left of them at run time, None for all.
    - ignored: (device, process) pairs that are no veto.
    """

    def __init__(self, shuffle: Shuffle = keep_order) -> None:
        self.gpus: dict[int, Gpu] = {}
        self.status: Mapping[int, GpuStatus] = {}
        self.allowed: frozenset[int] | None = None
        self.ignored: dict[tuple[int, GpuProcessId], None] = {}
        self.memory_total_mb: int | None = None
        self.memory_used_mb = 0
        self.cpus_total: int | None = None
        self.cpus_used = 0
        self.shuffle = shuffle
        self._holders: dict[int, dict[JobId, int | None]] = {}

    def set_gpus(self, gpus: Sequence[Gpu]) -> None:
        """The devices there are now, by index."""
        self.gpus = {gpu.index: gpu for gpu in sorted(gpus, key=lambda gpu: gpu.index)}

    # -- who has what ----------------------------------------------------------------------------------------------

    def holders(self, index: int) -> tuple[JobId, ...]:
        """The running jobs on the GPU with this index."""
        return tuple(self._holders.get(index, ()))

    def held(self) -> Iterator[tuple[int, Mapping[JobId, int | None]]]:
        """Each device that is held, with what its holders count for there (MiB), None for one that has it alone."""
        yield from self._holders.items()

    def take(self, job: Job) -> None:
        """Enter what a running job was given."""
        self.memory_used_mb += job.spec.memory_mb or 0
        self.cpus_used += job.spec.cpus or 0
        for index in job.gpu_ids or ():
            self._holders.setdefault(index, {})[job.id] = share_mb(job)

    def free(self, job: Job) -> None:
        """Undo `take`."""
        self.memory_used_mb -= job.spec.memory_mb or 0
        self.cpus_used -= job.spec.cpus or 0
        for index in job.gpu_ids or ():
            del self._holders[index][job.id]
            if not self._holders[index]:
                del self._holders[index]

    # -- what may be given out -------------------------------------------------------------------------------------

    def veto(self, index: int) -> str | None:
        """Why nothing new is put on a device, in gflow's words; None if something may be."""
        if self.allowed is not None and index not in self.allowed:
            return "restricted"
        status = self.status.get(index, UNSEEN)
        if status.fault is not None:
            return status.fault
        foreign = [process.pid for process in self.strangers(index)]
        return f"unmanaged(pid={','.join(map(str, foreign))})" if foreign else None

    def strangers(self, index: int) -> list[GpuProcessId]:
        """The foreign processes on a device that nobody said to ignore."""
        foreign = self.status.get(index, UNSEEN).foreign
        return [process for process in foreign if (index, process) not in self.ignored]

    def guests(self, index: int) -> list[GpuProcessId]:
        """The foreign processes on a device that are to be ignored."""
        foreign = self.status.get(index, UNSEEN).foreign
        return [process for process in foreign if (index, process) in self.ignored]

    def permitted(self) -> GpuSet:
        """The devices that jobs may have as far as people decide; some may be unusable just now."""
        return gpu_set(index for index in self.gpus if self.allowed is None or index in self.allowed)

    def usable(self) -> GpuSet:
        """The devices that something new may be put on, if there is room."""
        return gpu_set(index for index in self.gpus if self.veto(index) is None)

    def shared_by(self, index: int) -> int | None:
        """MiB that the sharers of a device count for together; None if one has it alone."""
        shares = self._holders.get(index, {}).values()
        return None if any(share is None for share in shares) else sum(share or 0 for share in shares)

    def room_mb(self, index: int, promised_mb: int) -> int | None:
        """What is left of a device when so much is promised on it; None if its size is not known.

        Where foreign processes are allowed, or a job's own use cannot be told, what is measured counts if it is more
        than what is promised.
        """
        total = self.gpus[index].memory_mb
        if total is None:
            return None
        seen = self.status.get(index, UNSEEN)
        measured = seen.used_mb if self.guests(index) or None in seen.job_mb.values() else None
        return total - max(promised_mb, measured or 0)

    def large_enough(self, memory_mb: int | None, among: Iterable[int] | None = None) -> list[int]:
        """The GPUs that have this much memory, or do not tell, ascending."""
        chosen = self.gpus if among is None else [index for index in among if index in self.gpus]
        sizes = ((index, self.gpus[index].memory_mb) for index in chosen)
        return [index for index, size in sizes if memory_mb is None or size is None or size >= memory_mb]


def share_mb(job: Job) -> int | None:
    """What a job counts for on each of its devices; None if it has them alone."""
    if not job.spec.shared:
        return None
    return max(job.spec.gpu_memory_mb or 0, job.gpu_share_mb or 0)
