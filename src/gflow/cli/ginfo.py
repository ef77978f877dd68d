"""ginfo: the GPUs, and who has them."""

from __future__ import annotations

import sys

from gflow.cli.colour import terminal_columns
from gflow.cli.command import Command, Option
from gflow.cli.entry import start
from gflow.cli.output import output, print_document
from gflow.cli.render.drained import drained_line
from gflow.cli.render.fit import folded
from gflow.cli.render.gpus import each, grouped
from gflow.cli.render.table import harmless, table
from gflow.cli.render.times import stamp
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]


_SOFT = ("PARTITION", "NAME", "JOB(REASON)", "RESERVED")
"""Columns that are cut where the terminal is too narrow."""


def run(values: Values) -> int:
    info = Client(find(values["url"], values["config"])).info()
    if values["output"] != "table":
        print_document(info, values["output"])
        return 0
    gpus, most = info.get("gpus") or [], terminal_columns()
    if gpus:
        header, rows = (each if values["per_gpu"] else grouped)(gpus)
        soft = [at for at, name in enumerate(header) if name in _SOFT]
        sys.stdout.write(table(header, rows, most=most, soft=soft, mark="+" if most is None else "…"))
    for line in remarks(info):
        print(folded(line, most, "  "))
    return 0


def remarks(info: Record) -> list[str]:
    """What concerns no GPU by itself: that it is drained, what is reserved by number, why nothing can be seen."""
    lines = [drained_line(info["drained"])] if info.get("drained") else []
    if info.get("launch_trouble"):
        lines.append(
            f"Nothing can be launched: {harmless(info['launch_trouble'])}; what waits goes on once it is mended."
        )
    lines += [
        f"{_count(one['gpu_count'])} reserved for {harmless(one['user'])} until {stamp(one['until'])}"
        for one in info.get("reservations") or ()
    ]
    if info.get("gpu_trouble"):
        return [*lines, f"No GPU can be seen: {harmless(info['gpu_trouble'])}"]
    return lines if info.get("gpus") else [*lines, "No GPUs on this machine; jobs without GPUs run as usual."]


def _count(number: int) -> str:
    return f"{number} GPU" if number == 1 else f"{number} GPUs"


COMMAND = Command(
    "ginfo",
    "Show the GPUs and who has them.",
    run,
    options=(
        Option("-N", "--per-gpu", help="One row per GPU, with its name."),
        output("table", "json", "yaml"),
    ),
    examples=(
        ("ginfo", "one row per use"),
        ("ginfo -N", "one row per GPU, with what each job has of it"),
        ("ginfo -o json", "all that is known about each GPU"),
    ),
)


def main() -> None:
    start(COMMAND)
