"""Reservations for programs: `gctl reserve list -o json|csv|yaml`. Times are UTC, whatever the zone."""

from __future__ import annotations

from gflow.cli.render.times import iso
from gflow.cli.reserve.words import named_gpus, size, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

FIELDS = (
    *("id", "user", "gpu_count", "gpu_indices", "start_time", "end_time"),
    *("status", "created_at", "cancelled_at", "created_by"),
)
"""The columns of CSV; what was added later comes last."""


def entry(reservation: Record) -> Record:
    """A reservation as other programs read it: as in the payload of a webhook. `gpu_count` is always how many."""
    start_at, end_at = span(reservation)
    return {
        "id": reservation["id"],
        "user": reservation["user"],
        "gpu_count": size(reservation),
        "gpu_indices": named_gpus(reservation),
        "start_time": iso(start_at),
        "end_time": iso(end_at),
        "status": reservation["status"],
        "created_at": iso(reservation["created_at"]),
        "created_by": reservation.get("created_by"),
        "cancelled_at": iso(reservation.get("cancelled_at")),
    }
