"""Which GPUs and how much host memory are taken, and where the next job fits.

Bookkeeping only: what running jobs were given. A device leaves and joins through `set_gpus`; jobs on a device that is
gone are left alone.
"""

from collections.abc import Callable, Sequence

from gflow.core.model import Gpu, Job, JobId, ReasonKind
from gflow.core.queue import Shape

Shuffle = Callable[[list[int]], None]
"""Reorders candidate GPU indices in place; the identity keeps them ascending."""


def keep_order(_indices: list[int]) -> None:
    """The sequential strategy: lower indices first."""


class Resources:
    """GPUs and host memory of this machine, and who holds them."""

    def __init__(self, shuffle: Shuffle = keep_order) -> None:
        self.gpus: dict[int, Gpu] = {}
        self.memory_total_mb: int | None = None
        self.memory_used_mb = 0
        self._shuffle = shuffle
        self._holders: dict[int, dict[JobId, int | None]] = {}

    def set_gpus(self, gpus: Sequence[Gpu]) -> None:
        """The devices there are now, by index."""
        self.gpus = {gpu.index: gpu for gpu in sorted(gpus, key=lambda gpu: gpu.index)}

    def holders(self, index: int) -> tuple[JobId, ...]:
        """The running jobs on the GPU with this index."""
        return tuple(self._holders.get(index, ()))

    def take(self, job: Job) -> None:
        """Enter what a running job was given."""
        self.memory_used_mb += job.spec.memory_mb or 0
        share = job.spec.gpu_memory_mb if job.spec.shared else None
        for index in job.gpu_ids or ():
            self._holders.setdefault(index, {})[job.id] = share

    def free(self, job: Job) -> None:
        """Undo `take`."""
        self.memory_used_mb -= job.spec.memory_mb or 0
        for index in job.gpu_ids or ():
            del self._holders[index][job.id]
            if not self._holders[index]:
                del self._holders[index]

    def place(self, shape: Shape) -> tuple[int, ...] | ReasonKind:
        """GPU indices for a job of this shape, or what there is too little of."""
        if self.lacks_memory(shape):
            return ReasonKind.MEMORY
        if shape.gpus == 0:
            return ()
        fitting = self.fitting(shape)
        if len(fitting) < shape.gpus:
            return ReasonKind.GPU
        self._shuffle(fitting)
        return tuple(sorted(fitting[: shape.gpus]))

    def lacks_memory(self, shape: Shape) -> bool:
        """Whether too little host memory is left for a job of this shape."""
        total, wanted = self.memory_total_mb, shape.memory_mb or 0
        return wanted > 0 and total is not None and self.memory_used_mb + wanted > total

    def fitting(self, shape: Shape) -> list[int]:
        """The GPUs a job of this shape could be put on, ascending."""
        return [index for index in self.gpus if self._has_room(index, shape)]

    def large_enough(self, memory_mb: int) -> int:
        """How many GPUs have this much memory, or do not tell."""
        return sum(gpu.memory_mb is None or gpu.memory_mb >= memory_mb for gpu in self.gpus.values())

    def _has_room(self, index: int, shape: Shape) -> bool:
        held = self._holders.get(index, {})
        if not shape.shared:
            return not held
        if any(share is None for share in held.values()):
            return False
        total = self.gpus[index].memory_mb
        return total is None or sum(share or 0 for share in held.values()) + (shape.gpu_memory_mb or 0) <= total
