"""gctl show-gpus: one tab-separated line per GPU."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    info = Client(find(values["url"], values["config"])).info()
    allowed = info.get("allowed_gpu_indices")
    for gpu in info.get("gpus") or ():
        print("\t".join(_cells(gpu, allowed)))
    return 0


def _cells(gpu: dict[str, Any], allowed: list[int] | None) -> list[str]:
    cells = [str(gpu["index"]), "available" if gpu["available"] else "in_use"]
    if allowed is not None and gpu["index"] not in allowed:
        cells.append("restricted")
    if gpu.get("simulated"):
        cells.append("simulated")
    if gpu.get("reason"):
        cells.append(str(gpu["reason"]))
    return cells


COMMAND = Command(
    "show-gpus",
    "Show each GPU and whether it may be used.",
    run,
    examples=(("gctl show-gpus", "index, available or in_use, and why not"),),
)
