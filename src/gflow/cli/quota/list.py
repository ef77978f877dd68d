"""gctl quota list: what counts for whom, and how much of it is used."""

from __future__ import annotations

import sys

from gflow.cli.command import Command
from gflow.cli.output import TABLE, print_records
from gflow.cli.render.table import harmless, table
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]

_HEADER = ("SCOPE", "NAME", "JOBS", "GPUS", "QUEUED")
_COUNTED = (
    ("running_jobs", "max_running_jobs"),
    ("running_gpus", "max_running_gpus"),
    ("queued_jobs", "max_queued_jobs"),
)
_FIELDS = ("scope", "name", *(used for used, _ in _COUNTED), *(limit for _, limit in _COUNTED))


def run(values: Values) -> int:
    told = Client(find(values["url"], values["config"])).quotas()
    if values["output"] != "table":
        print_records("quotas", list(map(entry, told["quotas"])), values["output"], _FIELDS)
        return 0
    sys.stdout.write(table(_HEADER, [_row(quota) for quota in told["quotas"]]))
    return 0


def entry(quota: Record) -> Record:
    """What counts for one, as programs read it; a limit that is null is none."""
    limits = {limit: quota["limits"].get(limit) for _, limit in _COUNTED}
    return {"scope": quota["scope"], "name": quota["name"], **{used: quota[used] for used, _ in _COUNTED}, **limits}


def _row(quota: Record) -> list[str]:
    cells = [_cell(quota, used, limit) for used, limit in _COUNTED]
    return [harmless(quota["scope"]), harmless(quota["name"]) or "-", *cells]


def _cell(quota: Record, used: str, limit: str) -> str:
    """`used/limit`; of a default, which nobody uses as such, the limit alone. `-` is no limit."""
    most = quota["limits"].get(limit)
    shown = "-" if most is None else str(most)
    return shown if quota["scope"].startswith("default_") else f"{quota[used]}/{shown}"


COMMAND = Command(
    "list",
    "Show what users and projects may have at once, and what they have.",
    run,
    options=(TABLE,),
    examples=(("gctl quota list", "running jobs, running GPUs and waiting jobs, as used/limit"),),
)
