"""Amounts of CPU, memory and GPUs in a few characters. Pure."""

from __future__ import annotations

from gflow.core.limits import rounded_mb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def percent(value: float) -> str:
    """`5%`; of small shares one digit more."""
    return f"{value:.1f}%" if value < 9.95 else f"{value:.0f}%"


def bytes_text(size: int) -> str:
    """A size as memory is shown everywhere, `1.5G`; below a MiB in KiB."""
    return rounded_mb(size >> 20) if size >= 1 << 20 else f"{size >> 10}K"


def gpu_line(gpu: dict[str, Any]) -> str:
    """One GPU of a job: how busy it is, what the job holds, and what is in use of it."""
    busy = "?" if gpu.get("utilisation_pct") is None else f"{gpu['utilisation_pct']}%"
    held = "?" if gpu.get("job_mb") is None else rounded_mb(gpu["job_mb"])
    line = f"GPU {gpu['index']}: busy {busy}, memory {held}"
    if gpu.get("used_mb") is not None and gpu.get("memory_mb") is not None:
        line += f" ({rounded_mb(gpu['used_mb'])} of {rounded_mb(gpu['memory_mb'])} in use)"
    return line
