"""gctl reserve get: all there is to know about reservations."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.cli.each import each
from gflow.cli.output import TEXT, print_each
from gflow.cli.render.table import harmless
from gflow.cli.render.times import seconds
from gflow.cli.reserve.arguments import MANY, many
from gflow.cli.reserve.data import entry
from gflow.cli.reserve.kinds import TIMEZONE
from gflow.cli.reserve.words import length, named_gpus, size, span
from gflow.cli.reserve.zone import chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.core.zones import Zone


def run(values: Values) -> int:
    zone = chosen(values)
    client, reservation_ids = many(values)
    if values["output"] != "text":
        return print_each(
            "reservations",
            reservation_ids,
            lambda one: entry(client.reservation(one)),
            values["output"],
        )
    shown = 0

    def show(reservation_id: int) -> None:
        nonlocal shown
        lines = describe(client.reservation(reservation_id), zone)
        print("\n".join(["=" * 80, *lines] if shown else lines))
        shown += 1

    return each(reservation_ids, show)


def describe(reservation: dict[str, Any], zone: Zone) -> list[str]:
    """Its details, a field to a line; fields that are unset are left out."""
    start_at, end_at = span(reservation)
    indices = named_gpus(reservation)
    fields = (
        ("ID", reservation["id"]),
        ("User", reservation["user"]),
        ("GPUCount", size(reservation) if indices is None else None),
        ("GPUIndices", None if indices is None else ",".join(map(str, indices))),
        ("StartTime", _moment(start_at, zone)),
        ("EndTime", _moment(end_at, zone)),
        ("Duration", length(end_at - start_at)),
        ("Status", reservation["status"]),
        ("CreatedAt", _moment(seconds(reservation["created_at"]), zone)),
        ("CreatedBy", reservation.get("created_by")),
        ("CancelledAt", _moment(seconds(reservation.get("cancelled_at")), zone)),
    )
    said = [f"  {name}={harmless(str(value))}" for name, value in fields if value is not None]
    return ["Reservation Details:", *said]


def _moment(at: float | None, zone: Zone) -> str | None:
    """With the offset, too: abbreviations are not unique."""
    return None if at is None else f"{zone.stamp(at, secs=True)} ({zone.offset(at)})"


COMMAND = Command(
    "get",
    "Show the details of reservations.",
    run,
    options=(TEXT, TIMEZONE),
    arguments=(MANY,),
    examples=(("gctl reserve get 3", "one"), ("gctl reserve get 1,4-6 --timezone UTC", "several, in another zone")),
)
