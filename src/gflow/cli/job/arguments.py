"""The arguments that name jobs, and the jobs they name."""

from __future__ import annotations

from gflow.cli import ids
from gflow.cli.command import Argument
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values

ONE = Argument("job", "ID|@|@~N", ids.parse_one)
MANY = Argument("jobs", "IDS", ids.parse, variadic=True)
"""`7`, `1,3-5`, `@`; several words are taken together."""


def one(values: Values) -> tuple[Client, int]:
    """A client, and the job that `ONE` named."""
    client = Client(find(values["url"], values["config"]))
    return client, ids.expand([values["job"]], client)[0]


def many(values: Values) -> tuple[Client, list[int]]:
    """A client, and the jobs that `MANY` named."""
    client = Client(find(values["url"], values["config"]))
    return client, ids.expand([part for parts in values["jobs"] for part in parts], client)
