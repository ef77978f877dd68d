"""How far arrays and groups are: the lines below the queue on a terminal, and `gqueue --progress`."""

from __future__ import annotations

import sys

from gflow.cli.colour import STATE_COLOURS, terminal_columns, wanted
from gflow.cli.output import print_records
from gflow.cli.render.bars import bar
from gflow.cli.render.table import RESET, harmless, table, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from gflow.cli.command import Values
    from gflow.client.http import Client

    Record = dict[str, Any]

_ENDED = ("Finished", "Failed", "Cancelled", "Timeout")
_PARTS = (
    ("running", ("Running",)),
    ("waiting", ("Queued", "Hold")),
    ("failed", ("Failed", "Timeout")),
    ("cancelled", ("Cancelled",)),
)
_BAR, _MOST_LINES, _NAME = 20, 5, 20
_HEADER = ("JOBID", "NAME", "USER", "JOBS", "ENDED", "RUNNING", "WAITING", "FAILED", "CANCELLED", "PROGRESS")
_FIELDS = ("group_id", "first_job_id", "name", "user", "max_concurrent", *(name.lower() for name in _HEADER[3:]))


def entry(group: Record) -> Record:
    """A group as programs read it; `progress` is the share of its jobs that have ended, 0 to 1."""
    counts = group["counts"]
    sums = {what: sum(counts.get(state, 0) for state in found) for what, found in (("ended", _ENDED), *_PARTS)}
    about = {field: group.get(field) for field in ("group_id", "first_job_id", "name", "user", "max_concurrent")}
    jobs = sum(counts.values())
    return about | {"jobs": jobs, **sums, "progress": round(sums["ended"] / jobs, 4) if jobs else 0.0}


def footer(client: Client, shown: Collection[str], filters: Record, most: int | None) -> str:
    """Lines with bars about the groups of the jobs shown, the latest at the end; for a terminal that is `most` wide.

    `filters` are those of the jobs: whose they are.
    """
    groups = client.groups(mine=filters["mine"], users=filters["users"])
    found = [entry(group) for group in groups if group["group_id"] in shown]
    found = [group for group in found if group["jobs"] > 1]
    lines = [_line(group, most) for group in found[-_MOST_LINES:]]
    if len(found) > _MOST_LINES:
        lines.insert(0, f" … and {len(found) - _MOST_LINES} more: gqueue --progress")
    return "".join(line + "\n" for line in ("", *lines)) if lines else ""


def _line(group: Record, most: int | None) -> str:
    from gflow.cli.render.fit import cut

    said = ", ".join(f"{group[what]} {what}" for what, _ in _PARTS if group[what])
    narrow = most is not None and most < 60
    columns = 8 if narrow else _BAR
    drawn = bar(group["progress"], columns, symbols=True)
    name = cut(harmless(group["name"] or "-"), 8 if narrow else _NAME, "…")
    head = f" {name}{' ' * ((8 if narrow else _NAME) - width(name))}  "
    tail = f"  {group['ended']}/{group['jobs']}  {said}"
    if most is not None:
        tail = cut(tail, max(0, most - width(head) - columns), "…")
    return f"{head}{STATE_COLOURS['F' if group['failed'] else 'R']}{drawn}{RESET}{tail}".rstrip()


def print_progress(client: Client, values: Values, mine: int | None, users: str | None) -> int:
    """`gqueue --progress`: a table, or data."""
    found = [entry(group) for group in client.groups(mine=mine, users=users)]
    if values["output"] != "table":
        print_records("groups", found, values["output"], _FIELDS)
    elif not found:
        print("No arrays or groups that have not ended.")
    else:
        symbols = wanted(values["color"])
        sys.stdout.write(_fitting(found, terminal_columns(), symbols=symbols))
    return 0


def _fitting(found: list[Record], most: int | None, *, symbols: bool) -> str:
    """The table with the longest bars for which there is room."""
    text = ""
    for columns in (10, 5, 3, 0) if symbols else (0,):
        rows = [_row(group, columns) for group in found]
        text = table(_HEADER, rows, most=most, soft=(1, 2), mark="…" if symbols else "+")
        if most is None or max(map(width, text.splitlines())) <= most:
            break
    return text


def _row(group: Record, columns: int) -> list[str]:
    share = f"{100 * group['progress']:.0f}%"
    numbers = [str(group[field]) for field in ("jobs", "ended", "running", "waiting", "failed", "cancelled")]
    drawn = f"{bar(group['progress'], columns, symbols=True)} {share}" if columns else share
    return [str(group["first_job_id"]), harmless(group["name"] or "-"), harmless(group["user"]), *numbers, drawn]
