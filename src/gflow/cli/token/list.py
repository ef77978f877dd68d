"""gctl token list: which tokens there are; of their texts nothing is known."""

from __future__ import annotations

import sys

from gflow.cli.command import Command
from gflow.cli.output import TABLE, print_records
from gflow.cli.render.table import harmless, table
from gflow.cli.token.data import FIELDS, day, entry, rights
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]

_HEADER = ("ID", "USER", "NAME", "RIGHTS", "CREATED", "BY", "EXPIRES")


def run(values: Values) -> int:
    found = Client(find(values["url"], values["config"])).tokens()
    if values["output"] != "table":
        print_records("tokens", list(map(entry, found)), values["output"], FIELDS)
        return 0
    sys.stdout.write(table(_HEADER, list(map(_row, found))) if found else "No tokens found.\n")
    return 0


def _row(token: Record) -> list[str]:
    name = "-" if token["name"] is None else harmless(token["name"])
    whose = [str(token["id"]), harmless(token["user"]), name, rights(token)]
    return [*whose, day(token["created_at"]), harmless(token["created_by"]), _expiry(token)]


def _expiry(token: Record) -> str:
    if token["expires_at"] is None:
        return "never"
    return f"{day(token['expires_at'])}{' (expired)' if token['expired'] else ''}"


COMMAND = Command(
    "list",
    "Show the tokens there are: your own; to administrators, everybody's.",
    run,
    options=(TABLE,),
    examples=(("gctl token list", "whose they are, what they may do, and until when"),),
)
