"""gctl resume: start jobs again after `gctl drain`."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def run(values: Values) -> int:
    answer = Client(find(values["url"], values["config"])).resume()
    print("Jobs are started again." if answer["changed"] else "gflow was not drained.")
    return 0


COMMAND = Command(
    "resume",
    "Start jobs again after 'gctl drain'.",
    run,
    examples=(("gctl resume", "what can start does so at once"),),
)
