"""Says in the log what has changed about the GPUs, once, and not at each look."""

import logging
from collections.abc import Iterable, Mapping

from gflow.core.model import Gpu, GpuProcessId, GpuStatus

log = logging.getLogger(__name__)


class GpuNews:
    """Remembers what was said last."""

    def __init__(self) -> None:
        self._trouble: str | None = None
        self._gpus: dict[int, Gpu] = {}
        self._faults: dict[int, str | None] = {}
        self._foreign: dict[int, tuple[GpuProcessId, ...]] = {}

    def tell(self, gpus: Iterable[Gpu], status: Mapping[int, GpuStatus], trouble: str | None) -> None:
        """`trouble`: why no GPU can be seen; then nothing is said of each by itself."""
        if trouble != self._trouble:
            self._tell_trouble(trouble)
        for gpu in gpus if trouble is None else ():
            self._tell_gpu(gpu)
            self._tell_fault(gpu.index, status[gpu.index].fault)
            self._tell_foreign(gpu.index, status[gpu.index].foreign)

    def _tell_trouble(self, trouble: str | None) -> None:
        if trouble is None:
            log.info("GPUs: the driver answers now")
        elif self._gpus:
            log.warning("GPUs: %s", trouble)
        else:
            log.info("GPUs: none: %s", trouble)
        self._trouble = trouble

    def _tell_gpu(self, gpu: Gpu) -> None:
        if self._gpus.get(gpu.index) != gpu:
            size = f"{gpu.memory_mb} MiB" if gpu.memory_mb is not None else "memory not told"
            log.info("GPU %d: %s, %s, %s", gpu.index, gpu.name or "no name", size, gpu.uuid or "no UUID")
            self._gpus[gpu.index] = gpu

    def _tell_fault(self, index: int, fault: str | None) -> None:
        if fault is not None and fault != self._faults.get(index):
            log.warning("GPU %d cannot be used: %s", index, fault)
        elif fault is None and self._faults.get(index) is not None:
            log.info("GPU %d can be used again", index)
        self._faults[index] = fault

    def _tell_foreign(self, index: int, foreign: tuple[GpuProcessId, ...]) -> None:
        if foreign and foreign != self._foreign.get(index):
            log.info("GPU %d is used from outside of gflow: pid %s", index, ", ".join(str(one.pid) for one in foreign))
        elif not foreign and self._foreign.get(index):
            log.info("GPU %d is not used from outside of gflow any more", index)
        self._foreign[index] = foreign
