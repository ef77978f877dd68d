"""gctl resume: start jobs again after `gctl drain`."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.cli.output import TEXT, print_change
from gflow.cli.render.times import iso
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    answer = Client(find(values["url"], values["config"])).resume()
    text = "Jobs are started again." if answer["changed"] else "gflow was not drained."
    print_change(document(answer), values["output"], text)
    return 0


def document(answer: dict[str, Any]) -> dict[str, Any]:
    """What `gctl drain` and `gctl resume` tell programs."""
    drained = answer["drained"]
    told = None if drained is None else {**drained, "since": iso(drained.get("since"))}
    return {"changed": answer["changed"], "drained": told, "running_jobs": answer["running_jobs"]}


COMMAND = Command(
    "resume",
    "Start jobs again after 'gctl drain'.",
    run,
    options=(TEXT,),
    examples=(("gctl resume", "what can start does so at once"),),
)
