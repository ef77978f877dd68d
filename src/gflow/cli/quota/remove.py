"""gctl quota remove: back to the configured limits."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.cli.output import TEXT, print_change
from gflow.cli.quota.whose import ONE_OF, WHOSE, described, whose
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def run(values: Values) -> int:
    scope, name = whose(values)
    answer = Client(find(values["url"], values["config"])).remove_quota(scope, name)
    change = {"scope": scope, "name": name, "removed": answer["removed"]}
    print_change(change, values["output"], f"Quota of {described(scope, name)}: as configured")
    return 0


COMMAND = Command(
    "remove",
    "Take back the limits that were set while the daemon ran.",
    run,
    options=(*WHOSE, TEXT),
    exclusive=(ONE_OF,),
    examples=(("gctl quota remove --user alice", "what the configuration says counts again"),),
)
