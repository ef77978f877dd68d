"""ginfo: the GPUs, and who has them."""

from __future__ import annotations

import json
import sys

from gflow.cli.command import Command, Option
from gflow.cli.entry import start
from gflow.cli.kinds import choice
from gflow.cli.render.table import harmless, table
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]

_OUTPUTS = ("table", "json")
_HEADER = ("PARTITION", "GPUS", "NODES", "STATE", "JOB(REASON)")


def run(values: Values) -> int:
    client = Client(find(values["url"], values["config"]))
    info = client.info()
    if values["output"] == "json":
        print(json.dumps(info, indent=2))
        return 0
    gpus = info.get("gpus") or []
    if not gpus:
        print("No GPUs on this machine; jobs without GPUs run as usual.")
        return 0
    sys.stdout.write(table(_HEADER, rows(gpus, _names(client, gpus))))
    return 0


def _names(client: Client, gpus: list[Record]) -> dict[int, str]:
    """The names of the jobs that hold GPUs."""
    holders = sorted({job_id for gpu in gpus for job_id in gpu.get("jobs") or ()})
    if not holders:
        return {}
    return {job["id"]: job.get("run_name") or "" for job in client.jobs(ids=",".join(map(str, holders)))}


def rows(gpus: list[Record], names: dict[int, str]) -> list[list[str]]:
    """One row for the idle GPUs, then one per set of holders or reason, by lowest index; simulated ones apart."""
    found: dict[tuple[bool, str, str], list[int]] = {}
    for gpu in sorted(gpus, key=lambda gpu: int(gpu["index"])):
        found.setdefault((bool(gpu.get("simulated")), *_use(gpu, names)), []).append(gpu["index"])
    idle_first = sorted(found.items(), key=lambda item: item[0][1] != "idle")
    return [
        [_partition(simulated), str(len(indices)), ",".join(map(str, indices)), state, harmless(text)]
        for (simulated, state, text), indices in idle_first
    ]


def _partition(simulated: bool) -> str:
    return "gpu (simulated)" if simulated else "gpu"


def _use(gpu: Record, names: dict[int, str]) -> tuple[str, str]:
    """State and JOB(REASON) of one GPU."""
    holders = gpu.get("jobs") or ()
    if holders:
        return "allocated", ", ".join(f"{job_id} ({names.get(job_id, '?')})" for job_id in holders)
    if gpu["available"]:
        return "idle", ""
    return "unavailable", f"({gpu.get('reason') or 'unknown'})"


COMMAND = Command(
    "ginfo",
    "Show the GPUs and who has them.",
    run,
    options=(
        Option(
            "-o",
            "--output",
            convert=choice(*_OUTPUTS),
            metavar="KIND",
            default="table",
            choices=_OUTPUTS,
            help="table or json.",
        ),
    ),
    examples=(("ginfo", "one row per use"), ("ginfo -o json", "all that is known about each GPU")),
)


def main() -> None:
    start(COMMAND)
