"""gctl reserve create: promise GPUs to a user."""

from __future__ import annotations

from gflow.cli.command import Command, Option, UsageError
from gflow.cli.kinds import not_empty, positive
from gflow.cli.output import TEXT, print_document
from gflow.cli.render.times import iso
from gflow.cli.reserve.kinds import TIMEZONE
from gflow.cli.reserve.zone import chosen
from gflow.client.endpoint import find
from gflow.client.http import Client
from gflow.core.gpu_list import parse_gpu_list
from gflow.core.slots import next_slot, parse_duration
from gflow.core.zones import parse_moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.core.zones import Zone


_QUARTER_SECS = 900
"""What is a half hour in some zone is a quarter in all; whether it is one in the daemon's is for the daemon to say."""


def run(values: Values) -> int:
    _check(values)
    zone = chosen(values)
    start_at = _start(values["start"], zone)
    client = Client(find(values["url"], values["config"]))
    made = client.reserve(_request(values, start_at, zone))
    if values["output"] != "text":
        span = {"start_time": iso(start_at), "end_time": iso(start_at + values["duration"])}
        print_document({"reservation_id": made["reservation_id"], **span}, values["output"])
        return 0
    print("Reservation created successfully.")
    print(f"  ReservationID={made['reservation_id']}")
    print(f"  StartTime={zone.stamp(start_at)}")
    print(f"  EndTime={zone.stamp(start_at + values['duration'])}")
    return 0


def _check(values: Values) -> None:
    missing = [f"--{name}" for name in ("user", "start", "duration") if values[name] is None]
    if missing:
        raise UsageError(f"missing {' and '.join(missing)}; see 'gctl reserve create --help'")
    if values["gpus"] is None and values["gpu_spec"] is None:
        raise UsageError("say how many GPUs (--gpus N) or which (--gpu-spec 0,2)")


def _start(text: str, zone: Zone) -> float:
    try:
        start_at = parse_moment(text, zone)
    except ValueError as error:
        raise UsageError(f"--start: {error}") from None
    if start_at % _QUARTER_SECS:
        raise UsageError(
            f"--start: reservations start on the full or half hour, and {zone.stamp(start_at, secs=True)} is neither;"
            f" the next slot is {zone.stamp(next_slot(start_at, zone))}"
        )
    return start_at


def _request(values: Values, start_at: float, zone: Zone) -> dict[str, Any]:
    secs = int(start_at)
    request = {
        "user": values["user"],
        "gpu_count": values["gpus"],
        "gpu_indices": values["gpu_spec"],
        "start_time": {"secs_since_epoch": secs, "nanos_since_epoch": int((start_at - secs) * 1e9)},
        "duration_secs": values["duration"],
        "timezone": zone.name,
    }
    return {name: value for name, value in request.items() if value is not None}


COMMAND = Command(
    "create",
    "Reserve GPUs for a user from a moment on.",
    run,
    options=(
        Option("--user", convert=not_empty, metavar="USER", help="Whose jobs may use them."),
        Option("--gpus", convert=positive, metavar="N", help="So many GPUs, whichever they are."),
        Option("--gpu-spec", convert=parse_gpu_list, metavar="LIST", help="These GPUs: 0,2 or 0-3."),
        Option(
            "--start",
            convert=not_empty,
            metavar="TIME",
            help="On the full or half hour: YYYY-MM-DD HH:MM, or ISO 8601 such as 2026-02-01T14:00:00Z.",
        ),
        Option("--duration", convert=parse_duration, metavar="SPAN", help="In steps of 30 minutes: 2h, 30m, 1h30m."),
        TEXT,
        TIMEZONE,
    ),
    exclusive=(("gpus", "gpu_spec"),),
    examples=(
        ("gctl reserve create --user alice --gpus 2 --start '2026-02-01 14:00' --duration 2h", "any two GPUs"),
        ("gctl reserve create --user bob --gpu-spec 0,2 --start 2026-02-01T14:00Z --duration 30m", "GPUs 0 and 2"),
        (
            "gctl reserve create --user eve --gpus 1 --start '2026-02-01 09:00' --duration 8h --timezone Asia/Tokyo",
            "at nine in the morning there",
        ),
    ),
)
