"""Reservations for programs: `gctl reserve list -o json|csv|yaml`. Times are UTC, whatever the zone."""

from __future__ import annotations

from gflow.cli.render.data import csv, yaml
from gflow.cli.render.times import iso
from gflow.cli.reserve.words import named_gpus, size, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

_FIELDS = ("id", "user", "gpu_count", "gpu_indices", "start_time", "end_time", "status", "created_at", "cancelled_at")


def text(found: list[Record], output: str, now: float) -> str:
    """The document, and nothing but data, also when there are none."""
    entries = list(map(entry, found))
    if output == "csv":
        return csv([_FIELDS, *([_cell(one[field]) for field in _FIELDS] for one in entries)])
    document = {"reservations": entries, "total": len(entries), "timestamp": iso(now)}
    if output == "yaml":
        return yaml(document)
    import json

    return json.dumps(document, indent=2) + "\n"


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


def _cell(value: object) -> str:
    if isinstance(value, list):
        return "[" + ",".join(map(str, value)) + "]"
    return "-" if value is None else str(value)
