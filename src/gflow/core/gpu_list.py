"""Lists of GPUs as people write and read them: `0`, `0,2,4`, `0-3`, `0-1,3,5-6`.

Settings, options and messages all use this one form. Imported by one-shot commands, so it needs nothing but built-ins.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LAST_INDEX = 1023
"""Larger indices are taken for typing errors."""


def parse_gpu_list(spec: str) -> list[int]:
    """Indices of `0`, `0,2,4`, `0-3`, `0-1,3,5-6`: sorted, each once. Raises ValueError naming the spec."""
    indices: set[int] = set()
    for part in spec.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isascii() and first.isdigit()) or (dash and not (last.isascii() and last.isdigit())):
            raise ValueError(f"invalid GPU list '{spec}': use e.g. 0 or 0,2,4 or 0-3 or 0-1,3,5-6")
        low, high = int(first), int(last or first)
        if high < low or high > LAST_INDEX:
            raise ValueError(f"invalid GPU list '{spec}': {part.strip()} is not a range of GPU indices")
        indices.update(range(low, high + 1))
    return sorted(indices)


def format_gpu_list(indices: Iterable[int]) -> str:
    """The shortest list that `parse_gpu_list` reads as these indices: `0-1,3`; empty for none."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
