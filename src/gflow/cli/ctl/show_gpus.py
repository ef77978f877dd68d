"""gctl show-gpus: one tab-separated line per GPU."""

from __future__ import annotations

import sys

from gflow.cli.command import Command
from gflow.cli.render.table import harmless
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    info = Client(find(values["url"], values["config"])).info()
    for gpu in info.get("gpus") or ():
        print("\t".join(_cells(gpu)))
    if info.get("gpu_trouble"):
        print(f"gctl show-gpus: no GPU can be seen: {harmless(info['gpu_trouble'])}", file=sys.stderr)
    return 0


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
    examples=(("gctl show-gpus", "index, available or in_use, and why not"),),
)
