"""gctl reserve cancel: give reservations up."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.cli.each import each
from gflow.cli.output import TEXT, print_each
from gflow.cli.reserve.arguments import MANY, many
from gflow.cli.reserve.data import entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    client, reservation_ids = many(values)
    if values["output"] != "text":

        def gone(reservation_id: int) -> dict[str, Any]:
            client.cancel_reservation(reservation_id)
            return entry(client.reservation(reservation_id))

        return print_each("reservations", reservation_ids, gone, values["output"])

    def cancel(reservation_id: int) -> None:
        client.cancel_reservation(reservation_id)
        print(f"Reservation {reservation_id} cancelled successfully")

    return each(reservation_ids, cancel)


COMMAND = Command(
    "cancel",
    "Cancel reservations that wait or are active; jobs that waited for their GPUs start at once.",
    run,
    options=(TEXT,),
    arguments=(MANY,),
    examples=(("gctl reserve cancel 3", "one"), ("gctl reserve cancel 3,7-9", "several")),
)
