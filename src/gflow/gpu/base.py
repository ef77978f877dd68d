"""What the daemon asks of a probe, which looks at the GPUs. `nvml.Nvml` is the real one, `simulated.Simulated` has
devices on paper.

A probe never raises for what is wrong with a device, a driver or a library: that is what it reports.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gflow.core.model import Gpu


class GpuProcess(NamedTuple):
    """A process that has a device in use, with the memory (MiB) it holds there, None if the driver does not tell.

    `graphics`: it only draws, as a desktop does. One that also computes counts as computing.
    """

    pid: int
    used_mb: int | None
    graphics: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """One device, as the driver shows it now. Memory in MiB; None: the driver does not tell.

    `fault`: why it cannot be used, in a few words; then what is beside it may be unknown. `processes`: each once.
    """

    gpu: Gpu
    used_mb: int | None = None
    utilisation_pct: int | None = None
    processes: tuple[GpuProcess, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class ProbeReading:
    """All devices, by ascending index; none where there is `trouble`: a line about why none can be seen."""

    readings: tuple[Reading, ...] = ()
    trouble: str | None = None


class Probe(Protocol):
    """Looks at the GPUs. Both calls may block, also for ever, and are made one after the other, never two at once."""

    def read(self) -> ProbeReading:
        """Look now."""

    def close(self) -> None:
        """Let go of the driver, until the next reading."""
