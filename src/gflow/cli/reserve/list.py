"""gctl reserve list: reservations as a table, as data, or over time."""

from __future__ import annotations

import sys
import time

from gflow.cli.colour import COLOUR
from gflow.cli.command import Command, Option, UsageError
from gflow.cli.kinds import names, not_empty
from gflow.cli.output import TABLE, print_records
from gflow.cli.render.table import harmless, table
from gflow.cli.reserve.kinds import STATUSES, TIMEZONE, statuses
from gflow.cli.reserve.words import gpus, span
from gflow.cli.reserve.zone import chosen
from gflow.client.endpoint import find
from gflow.client.http import Client
from gflow.core.slots import parse_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.core.zones import Zone

    Record = dict[str, Any]


def run(values: Values) -> int:
    _check(values)
    zone, now = chosen(values), time.time()
    if values["timeline"]:
        from gflow.cli.reserve import picture

        period = picture.period(values, now, zone)
        sys.stdout.write(picture.draw(_found(values), values, period, now, zone))
        return 0
    found = _found(values)
    if values["output"] != "table":
        from gflow.cli.reserve.data import FIELDS, entry

        print_records("reservations", list(map(entry, found)), values["output"], FIELDS)
        return 0
    sys.stdout.write(_table(found, zone) if found else "No reservations found.\n")
    return 0


def _check(values: Values) -> None:
    if not values["timeline"] and (values["range"] or values["from"] or values["to"]):
        raise UsageError("--range, --from and --to are for --timeline")
    if (values["from"] is None) != (values["to"] is None):
        raise UsageError("--from and --to come together")


def _found(values: Values) -> list[Record]:
    """The reservations asked for, in the order they were made."""
    client = Client(find(values["url"], values["config"]))
    found = client.reservations(
        user=",".join(values["user"]) if values["user"] else None,
        status=",".join(values["status"]) if values["status"] else None,
        active_only="true" if values["active"] else None,
    )
    return sorted(found, key=lambda reservation: int(reservation["id"]))


def _table(found: list[Record], zone: Zone) -> str:
    rows = [
        [str(one["id"]), harmless(one["user"]), gpus(one), *map(zone.stamp, span(one)), str(one["status"])]
        for one in found
    ]
    return table(("ID", "USER", "GPUS", "START", "END", "STATUS"), rows)


COMMAND = Command(
    "list",
    "Show reservations. GPUS is a number of GPUs, or with # in front which ones.",
    run,
    options=(
        Option("-u", "--user", convert=names, metavar="LIST", help="Reservations for these users (default: all)."),
        Option(
            "-s",
            "--status",
            convert=statuses,
            metavar="LIST",
            choices=STATUSES,
            help="Reservations with these statuses: Pending, Active, Completed, Cancelled (default: all).",
        ),
        Option("--active", help="Those that are in force now."),
        Option("--timeline", help="As bars over time; cancelled ones only with --status."),
        Option(
            "--range",
            convert=parse_range,
            metavar="SPAN",
            help="What the timeline shows, from now: 48h, -24h or -24h:+24h (default: -6h:+42h).",
        ),
        Option("--from", convert=not_empty, metavar="TIME", help="The beginning of the timeline."),
        Option("--to", convert=not_empty, metavar="TIME", help="The end of the timeline."),
        TABLE,
        TIMEZONE,
        COLOUR,
    ),
    exclusive=(("timeline", "output"), ("range", "from"), ("range", "to")),
    examples=(
        ("gctl reserve list --active", "who has GPUs reserved now"),
        ("gctl reserve list --timeline --range 168h", "the coming week"),
        ("gctl reserve list --timeline --from '2026-02-01 00:00' --to '2026-02-03 00:00'", "two days"),
        ("gctl reserve list -u alice -o json", "as data"),
    ),
)
