"""gctl show-gpus: one tab-separated line per GPU."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.cli.output import TABLE, print_records
from gflow.cli.render.table import harmless
from gflow.client.endpoint import find
from gflow.client.http import Client
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

_FIELDS = ("index", "uuid", "name", "available", "restricted", "simulated", "reason")


def run(values: Values) -> int:
    info = Client(find(values["url"], values["config"])).info()
    if values["output"] != "table":
        print_records("gpus", list(map(entry, info.get("gpus") or ())), values["output"], _FIELDS)
    for gpu in info.get("gpus") or ():
        if values["output"] == "table":
            print("\t".join(_cells(gpu)))
    if info.get("gpu_trouble"):
        say(f"no GPU can be seen: {harmless(info['gpu_trouble'])}")
    return 0


def entry(gpu: dict[str, Any]) -> dict[str, Any]:
    """A device as programs read it; `ginfo -o json` has all that is known."""
    return {field: gpu.get(field) for field in _FIELDS}


def _cells(gpu: dict[str, Any]) -> list[str]:
    cells = [str(gpu["index"]), "available" if gpu["available"] else "in_use"]
    if gpu.get("restricted"):
        cells.append("restricted")
    if gpu.get("simulated"):
        cells.append("simulated")
    if gpu.get("reason") and gpu["reason"] not in cells:
        cells.append(harmless(str(gpu["reason"])))
    return cells


COMMAND = Command(
    "show-gpus",
    "Show each GPU and whether it may be used.",
    run,
    options=(TABLE,),
    examples=(("gctl show-gpus", "index, available or in_use, and why not"),),
)
