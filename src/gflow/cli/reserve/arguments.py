"""The argument that names reservations, and the ids it stands for."""

from __future__ import annotations

from gflow.cli.command import Argument
from gflow.cli.reserve.kinds import reservation_ids
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values

MANY = Argument("reservations", "IDS", reservation_ids, variadic=True)
"""`7`, `1,3-5`; several words are taken together."""


def many(values: Values) -> tuple[Client, list[int]]:
    """A client, and the reservations that `MANY` named, in that order, each once."""
    ranges = [part for parts in values["reservations"] for part in parts]
    ids = dict.fromkeys(reservation_id for low, high in ranges for reservation_id in range(low, high + 1))
    return Client(find(values["url"], values["config"])), list(ids)
