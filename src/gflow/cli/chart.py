"""gstats --by: a line for each user, project or day, and on a terminal a bar of what they used."""

from __future__ import annotations

from gflow.cli.colour import terminal_columns, wanted
from gflow.cli.render.table import GAP, harmless, table, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Record = dict[str, Any]

_WIDEST, _NARROWEST = 40, 10
_ALL = ("JOBS", "DONE", "FAILED", "CANCELLED", "RUNNING", "WAITING", "SUCCESS", "RUN-HOURS", "GPU-HOURS", "UTIL")
_HOURS = {"GPU-HOURS": "total_gpu_hours", "RUN-HOURS": "total_run_hours"}


def chart(stats: Record, colour: str) -> str:
    """The table, and bars where they are wanted: of GPU-hours, or of hours where nobody used GPUs."""
    by, rows = stats["by"], stats["rows"]
    if not rows:
        return "No jobs found.\n"
    hours = "GPU-HOURS" if any(row["total_gpu_hours"] for row in rows) else "RUN-HOURS"
    if by != "day":
        rows = sorted(rows, key=lambda row: -row[_HOURS[hours]])
    most, symbols = terminal_columns(), wanted(colour)
    header, cells = _table(by, rows, _chosen(by, rows, hours, most))
    if symbols:
        header, cells = _with_bars(header, cells, [row[_HOURS[hours]] for row in rows], most or 120)
    return table(header, cells, most=most, soft=(0,), mark="…" if symbols else "+")


def _chosen(by: str, rows: list[Record], hours: str, most: int | None) -> Sequence[str]:
    """The columns: all, or on a terminal those that leave room for bars."""
    if most is None:
        return _ALL
    few = ("JOBS", "DONE", "FAILED", "SUCCESS", hours, "UTIL")
    fitting = (names for names in (_ALL, few) if _taken(*_table(by, rows, names)) + GAP + _NARROWEST <= most)
    return next(fitting, (hours,))


def _table(by: str, rows: list[Record], names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    return [by.upper(), *names], [[harmless(row[by]), *(_cells(row)[name] for name in names)] for row in rows]


def _cells(row: Record) -> dict[str, str]:
    rate, busy = row["success_rate"], row["mean_gpu_utilisation_pct"]
    return {
        "JOBS": str(row["total_jobs"]),
        "DONE": str(row["completed_jobs"]),
        "FAILED": str(row["failed_jobs"] + row["timeout_jobs"]),
        "CANCELLED": str(row["cancelled_jobs"]),
        "RUNNING": str(row["running_jobs"]),
        "WAITING": str(row["queued_jobs"]),
        "SUCCESS": "-" if rate is None else f"{rate:.0f}%",
        **{name: f"{row[field]:.1f}" for name, field in _HOURS.items()},
        "UTIL": "-" if busy is None else f"{busy:.0f}%",
    }


def _taken(header: list[str], cells: list[list[str]]) -> int:
    """How wide the table is without bars."""
    return max(width(line) for line in table(header, cells).splitlines())


def _with_bars(
    header: list[str], cells: list[list[str]], values: list[float], most: int
) -> tuple[list[str], list[list[str]]]:
    """With a last column of bars, the longest as long as there is room."""
    from gflow.cli.render.bars import strip

    columns, largest = min(_WIDEST, most - _taken(header, cells) - GAP), max(values)
    if columns < 1 or not largest:
        return header, cells
    return [*header, ""], [[*row, strip(value / largest, columns)] for row, value in zip(cells, values, strict=True)]
