"""gctl gpu-process list: what is ignored, one tab-separated line each."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.cli.output import TABLE, print_records
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def run(values: Values) -> int:
    ignored = Client(find(values["url"], values["config"])).gpu_processes()
    if values["output"] != "table":
        print_records("processes", ignored, values["output"], ("gpu_index", "pid"))
        return 0
    for one in ignored:
        print(f"gpu={one['gpu_index']}\tpid={one['pid']}")
    if not ignored:
        print("No ignored GPU processes")
    return 0


COMMAND = Command(
    "list",
    "Show the processes that are ignored.",
    run,
    options=(TABLE,),
    examples=(("gctl gpu-process list", "gpu=INDEX and pid=PID of each"),),
)
