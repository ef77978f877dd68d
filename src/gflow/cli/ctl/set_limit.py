"""gctl set-limit: how many jobs of a group may run at once."""

from __future__ import annotations

from gflow.cli.command import Argument, Command, Failure
from gflow.cli.kinds import not_empty, positive
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def run(values: Values) -> int:
    client = Client(find(values["url"], values["config"]))
    group_id = _group(client, values["group"])
    answer = client.set_group_limit(group_id, values["limit"])
    print(
        f"Updated max_concurrency to {answer['max_concurrent']} for group '{group_id}' "
        f"({answer['updated_jobs']} jobs affected)"
    )
    return 0


def _group(client: Client, named: str) -> str:
    """A group's id or name as given, or the id of that of the job whose id was given."""
    if not (named.isascii() and named.isdigit()):
        return named
    group_id = client.job(int(named)).get("group_id")
    if group_id is None:
        raise Failure(f"job {named} belongs to no group; submit with --max-concurrent to make one")
    return str(group_id)


COMMAND = Command(
    "set-limit",
    "Set how many jobs of a group may run at once.",
    run,
    arguments=(Argument("group", "JOB-ID|GROUP-ID|NAME", not_empty), Argument("limit", "N", positive)),
    examples=(
        ("gctl set-limit 42 3", "the group that job 42 belongs to"),
        ("gctl set-limit lr 3", "your group of that name"),
    ),
)
