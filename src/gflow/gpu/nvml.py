"""The GPUs as NVML shows them, the library that comes with the NVIDIA driver. No other file imports pynvml.

What goes wrong is sorted by whom it concerns: a query a card does not support says nothing, an error of one device is
that device's fault, and where the driver itself has gone the session is given up and a new one tried at the next
reading. Processes that cannot be listed are a fault, too: a device that may be in use is not given out.
"""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from gflow.core.model import Gpu
from gflow.gpu.base import GpuProcess, ProbeReading, Reading

NO_MODULE = "the Python module pynvml is missing: install nvidia-ml-py where gflowd is installed"
NO_LIBRARY = "no NVIDIA driver: its library libnvidia-ml.so.1 was not found"
NO_DRIVER = "the NVIDIA driver is not loaded"
REPLACED = "the NVIDIA driver was replaced under gflowd; connecting to it again"
STILL_OLD = "the NVIDIA driver was updated, and gflowd still has its old library: restart gflowd, running jobs go on"
MISMATCH = (
    "the NVIDIA driver and its library are of different versions, as after an update: "
    "restart the machine, or load the new driver and restart gflowd"
)

LOST = "it is lost: the driver cannot reach it any more"
NEEDS_RESET = "it needs a reset"
MIG = "MIG is enabled, and gflow does not give out parts of a GPU"
PROCESSES_UNTOLD = "the driver does not tell which processes use it"

_NOT_AVAILABLE = 2**64 - 1
"""What NVML puts where it does not know how much memory a process holds."""


class Nvml:
    """See `base.Probe`. Nothing of the driver is loaded before the first reading."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._had_session = False
        self._known: dict[int, Gpu] = {}

    def read(self) -> ProbeReading:
        """Look now, in a new session if there is none."""
        try:
            import pynvml as nvml  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            return ProbeReading(trouble=NO_MODULE)
        opened = self._nvml is not None
        try:
            self._open(nvml)
            return ProbeReading(tuple(self._reading(index) for index in range(nvml.nvmlDeviceGetCount())))
        except nvml.NVMLError as error:
            trouble = _trouble(nvml, error, opened=opened, had_session=self._had_session)
            self.close()
            return ProbeReading(trouble=trouble)

    def close(self) -> None:
        """End the session."""
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            with contextlib.suppress(nvml.NVMLError):  # then there is none any more, which is what was wanted
                nvml.nvmlShutdown()

    def _open(self, nvml: Any) -> None:
        if self._nvml is None:
            nvml.nvmlInit()
            self._nvml, self._had_session = nvml, True

    def _reading(self, index: int) -> Reading:
        """Raises NVMLError if it is the driver that has gone."""
        nvml = self._nvml
        try:
            return self._look(nvml.nvmlDeviceGetHandleByIndex(index), index)
        except nvml.NVMLError as error:
            if error.value in _driver_gone(nvml):
                raise
            return Reading(self._known.get(index, Gpu(index, "")), fault=_fault(nvml, error))

    def _look(self, device: Any, index: int) -> Reading:
        nvml = self._nvml
        uuid, name = (_told(nvml, query, device) for query in (nvml.nvmlDeviceGetUUID, nvml.nvmlDeviceGetName))
        total_mb, used_mb = _memory(nvml, device)
        gpu = self._known[index] = Gpu(index, _text(uuid), _text(name), total_mb)
        if (_told(nvml, nvml.nvmlDeviceGetMigMode, device) or [0])[0]:
            return Reading(gpu, used_mb, fault=MIG)
        utilisation = _told(nvml, nvml.nvmlDeviceGetUtilizationRates, device)
        computing = _listed(nvml, device, "Compute")
        if computing is None:
            return Reading(gpu, used_mb, fault=PROCESSES_UNTOLD)
        computing += _listed(nvml, device, "MPSCompute") or []
        processes = _merged(computing, _listed(nvml, device, "Graphics") or [])
        return Reading(gpu, used_mb, utilisation and utilisation.gpu, processes)


def _driver_gone(nvml: Any) -> tuple[int, ...]:
    return (
        nvml.NVML_ERROR_UNINITIALIZED,
        nvml.NVML_ERROR_DRIVER_NOT_LOADED,
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    )


def _trouble(nvml: Any, error: Any, *, opened: bool, had_session: bool) -> str:
    """What is wrong with the driver. `opened`: in a session, not when one was begun; `had_session`: or ever before."""
    match error.value:
        case nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return NO_LIBRARY
        case nvml.NVML_ERROR_DRIVER_NOT_LOADED:
            return NO_DRIVER
        case nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH | nvml.NVML_ERROR_UNINITIALIZED if opened:
            return REPLACED
        case nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            return STILL_OLD if had_session else MISMATCH
    return f"the NVIDIA driver answers with an error: {error}"


def _fault(nvml: Any, error: Any) -> str:
    match error.value:
        case nvml.NVML_ERROR_GPU_IS_LOST:
            return LOST
        case nvml.NVML_ERROR_RESET_REQUIRED:
            return NEEDS_RESET
    return f"the driver cannot query it: {error}"


def _told(nvml: Any, query: Callable[..., Any], *about: Any) -> Any:
    """What a query says, None where the card or the driver does not know it. Raises NVMLError for all else."""
    try:
        return query(*about)
    except UnicodeDecodeError:
        return None
    except nvml.NVMLError as error:
        if error.value not in (
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        ):
            raise
        return None


def _memory(nvml: Any, device: Any) -> tuple[int | None, int | None]:
    """Total and used, in MiB. What the first version calls used includes what the driver keeps for itself."""
    query = nvml.nvmlDeviceGetMemoryInfo
    memory = _told(nvml, query, device, nvml.nvmlMemory_v2) or _told(nvml, query, device)
    return (memory.total >> 20, memory.used >> 20) if memory is not None else (None, None)


def _listed(nvml: Any, device: Any, kind: str) -> list[Any] | None:
    """The processes of one kind, None if they are not told. Drivers before R510 know the second version only."""
    for version in (3, 2):
        found: list[Any] | None = _told(nvml, getattr(nvml, f"nvmlDeviceGet{kind}RunningProcesses_v{version}"), device)
        if found is not None:
            return found
    return None


def _merged(computing: Iterable[Any], drawing: Iterable[Any]) -> tuple[GpuProcess, ...]:
    """Each process once. One in both lists holds what it holds once, not twice."""
    merged: dict[int, GpuProcess] = {}
    for graphics, processes in ((False, computing), (True, drawing)):
        for listed in processes:
            process = GpuProcess(listed.pid, _used_mb(listed), graphics)
            merged[process.pid] = _same(merged.get(process.pid, process), process)
    return tuple(merged[pid] for pid in sorted(merged))


def _same(first: GpuProcess, again: GpuProcess) -> GpuProcess:
    used = [mb for mb in (first.used_mb, again.used_mb) if mb is not None]
    return first._replace(used_mb=max(used, default=None))


def _used_mb(listed: Any) -> int | None:
    unknown = listed.usedGpuMemory is None or listed.usedGpuMemory == _NOT_AVAILABLE
    return None if unknown else listed.usedGpuMemory >> 20


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
