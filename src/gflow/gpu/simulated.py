"""GPUs on paper, for demonstrations and tests: they are scheduled like real ones and marked wherever they are shown."""

from gflow.core.model import Gpu
from gflow.gpu.base import ProbeReading, Reading


def simulated_gpus(count: int, memory_mb: int) -> list[Gpu]:
    """`count` devices of `memory_mb` MiB each."""
    return [Gpu(index, f"GPU-simulated-{index}", "simulated GPU", memory_mb, simulated=True) for index in range(count)]


class Simulated:
    """See `base.Probe`: so many devices, always well, with nothing on them."""

    def __init__(self, count: int, memory_mb: int) -> None:
        self._reading = ProbeReading(tuple(map(Reading, simulated_gpus(count, memory_mb))))

    def read(self) -> ProbeReading:
        """The same each time."""
        return self._reading

    def close(self) -> None:
        """Nothing is held."""
