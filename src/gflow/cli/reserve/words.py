"""Reservations of the API's JSON as texts."""

from __future__ import annotations

from gflow.cli.render.times import seconds
from gflow.core.gpu_list import format_gpu_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]


def span(reservation: Record) -> tuple[float, float]:
    """When it begins and ends, in seconds since the epoch."""
    start_at = seconds(reservation["start_time"]) or 0.0
    return start_at, start_at + (seconds(reservation["duration"]) or 0.0)


def named_gpus(reservation: Record) -> list[int] | None:
    """The indices it names, None if it goes by number."""
    indices: list[int] | None = reservation["gpu_spec"].get("indices")
    return indices


def size(reservation: Record) -> int:
    """How many GPUs it is of."""
    indices = named_gpus(reservation)
    return int(reservation["gpu_spec"]["count"]) if indices is None else len(indices)


def gpus(reservation: Record) -> str:
    """`2` for any two, `#0,2-3` for those with these indices."""
    indices = named_gpus(reservation)
    return str(size(reservation)) if indices is None else f"#{format_gpu_list(indices)}"


def length(secs: float) -> str:
    """A duration as it is given: `2h`, `30m`, `1h30m`."""
    hours, minutes = divmod(round(secs / 60), 60)
    return f"{hours}h" * bool(hours) + f"{minutes}m" * bool(minutes or not hours)
