"""GPUs on paper, for demonstrations and tests: they are scheduled like real ones and marked wherever they are shown."""

from gflow.core.model import Gpu


def simulated_gpus(count: int, memory_mb: int) -> list[Gpu]:
    """`count` devices of `memory_mb` MiB each."""
    return [Gpu(index, f"GPU-simulated-{index}", "simulated GPU", memory_mb, simulated=True) for index in range(count)]
