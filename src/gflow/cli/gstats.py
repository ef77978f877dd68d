"""gstats: how many jobs, how they ended, and what they used."""

from __future__ import annotations

import os
import sys

from gflow.cli.colour import COLOUR
from gflow.cli.command import Command, Option
from gflow.cli.entry import start
from gflow.cli.kinds import choice, names, not_empty, since
from gflow.cli.output import TABLE, print_document
from gflow.cli.render.data import csv
from gflow.cli.render.table import harmless, table
from gflow.client.endpoint import find
from gflow.client.http import Client
from gflow.core.limits import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]

_BY = ("user", "project", "day")
_DECIMALS = {
    "avg_wait_secs": 1,
    "avg_runtime_secs": 1,
    "total_gpu_hours": 2,
    "total_run_hours": 2,
    "avg_gpus_per_job": 2,
    "success_rate": 1,
    "mean_gpu_utilisation_pct": 1,
}
METRICS = (
    "total_jobs",
    "completed_jobs",
    "failed_jobs",
    "cancelled_jobs",
    "timeout_jobs",
    "running_jobs",
    "queued_jobs",
    "avg_wait_secs",
    "avg_runtime_secs",
    "total_gpu_hours",
    "jobs_with_gpus",
    "avg_gpus_per_job",
    "peak_gpu_usage",
    "success_rate",
    "measured_jobs",
    "mean_gpu_utilisation_pct",
    "total_run_hours",
)


def run(values: Values) -> int:
    client = Client(find(values["url"], values["config"]))
    about = {"project": values["project"], "since": values["since"], "by": values["by"]}
    stats = told(client.stats(user=_user(values), **about))
    if values["output"] == "csv":
        sys.stdout.write(csv(_csv_rows(stats, values["by"])))
    elif values["output"] != "table":
        print_document(stats, values["output"])
    elif values["by"] is not None:
        from gflow.cli.chart import chart

        sys.stdout.write(chart(stats, values["color"]))
    else:
        sys.stdout.write("".join(line + "\n" for line in describe(stats)))
    return 0


def told(stats: Record) -> Record:
    """The figures without those that nothing tells: the API has a success rate of 0 where no job has ended."""
    rows = {"rows": [_told_of(row) for row in stats["rows"]]} if "rows" in stats else _told_of(stats)
    return stats | rows


def _told_of(figures: Record) -> Record:
    ended = any(figures[f"{how}_jobs"] for how in ("completed", "failed", "timeout"))
    unknown = [("success_rate", not ended), ("avg_gpus_per_job", not figures["total_jobs"])]
    return figures | {name: None for name, is_unknown in unknown if is_unknown}


def _csv_rows(stats: Record, by: str | None) -> list[tuple[str, ...]]:
    """A figure a line, or with `by` a user, project or day a line."""
    if by is None:
        return [("metric", "value"), *((name, exact(stats, name)) for name in METRICS)]
    rows = [(str(row[by]), *(exact(row, name) for name in METRICS)) for row in stats["rows"]]
    return [(by, *METRICS), *rows]


def _user(values: Values) -> str | None:
    """Whose numbers; None for everybody's."""
    users = values["user"]
    if values["all_users"] or {"all", "*"}.intersection(users or ()) or (values["by"] == "user" and not users):
        return None
    return ",".join(users) if users else _caller()


def _caller() -> str:
    """This user's name as the system knows it, which is the one the daemon goes by."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid:{os.getuid()}"


def exact(stats: Record, name: str) -> str:
    """One number as programs get it, to the microsecond and its like; empty if there is none."""
    value = stats.get(name)
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return "" if value is None else str(value)


def metric(stats: Record, name: str) -> str:
    """One number as people get it; `-` if there is none."""
    value = stats.get(name)
    if value is None:
        return "-"
    return f"{value:.{_DECIMALS[name]}f}" if name in _DECIMALS else str(value)


def describe(stats: Record) -> list[str]:
    """The sections of the table."""
    ended = sum(stats[f"{how}_jobs"] for how in ("completed", "failed", "cancelled", "timeout"))
    counts = ("completed", "failed", "cancelled", "timeout", "running", "queued")
    lines = [f"Usage statistics: {harmless(stats.get('user') or 'all users')}", "", "Job Status"]
    lines.append(_line("Total", stats["total_jobs"]))
    for what in counts:
        share = f" ({100 * stats[f'{what}_jobs'] / ended:.0f}%)" if ended and what in counts[:4] else ""
        lines.append(_line(what.capitalize(), f"{stats[f'{what}_jobs']}{share}"))
    rate = "-" if stats["success_rate"] is None else f"{stats['success_rate']:.1f}%"
    lines += ["", "Efficiency", _line("Success rate", rate)]
    lines += [_line("Average wait", _secs(stats["avg_wait_secs"]))]
    lines += [_line("Average runtime", _secs(stats["avg_runtime_secs"])), "", "GPU Usage"]
    lines += [_line("GPU hours", metric(stats, "total_gpu_hours")), _line("Jobs with GPUs", stats["jobs_with_gpus"])]
    lines += [_line("GPUs per job", metric(stats, "avg_gpus_per_job")), _line("Peak GPUs", stats["peak_gpu_usage"])]
    return lines + _utilisation(stats) + _top(stats.get("top_jobs") or [])


def _utilisation(stats: Record) -> list[str]:
    """How busy the GPUs were; nothing if no job was measured."""
    if stats.get("mean_gpu_utilisation_pct") is None:
        return []
    jobs = "1 job" if stats["measured_jobs"] == 1 else f"{stats['measured_jobs']} jobs"
    return [_line("GPU utilisation", f"{stats['mean_gpu_utilisation_pct']:.0f}% (measured in {jobs})")]


def _top(jobs: list[Record]) -> list[str]:
    if not jobs:
        return []
    rows = [
        [str(job["id"]), harmless(job.get("name") or "-"), _secs(job["runtime_secs"]), str(job["gpus"])] for job in jobs
    ]
    return ["", "Top Jobs by Runtime", *table(("JOBID", "NAME", "RUNTIME", "GPUS"), rows).splitlines()]


def _line(label: str, value: object) -> str:
    return f"  {label + ':':<17}{value}"


def _secs(value: float | None) -> str:
    return "-" if value is None else format_duration(value)


COMMAND = Command(
    "gstats",
    "Show statistics of past and present jobs.",
    run,
    options=(
        Option(
            "-u",
            "--user",
            convert=names,
            metavar="LIST",
            help="These users' (default: yours, and with --by user everybody's; all: everybody's).",
        ),
        Option("-a", "--all-users", help="Everybody's jobs."),
        Option("-P", "--project", convert=not_empty, metavar="CODE", help="Jobs of this project."),
        Option(
            "-t",
            "--since",
            convert=since,
            metavar="TIME",
            help="Jobs submitted since: 2h, 3d, 1w, today, yesterday or a date; with --by day what was used since then "
            "(default: 14 days).",
        ),
        Option(
            "-b",
            "--by",
            convert=choice(*_BY),
            metavar="WHAT",
            choices=_BY,
            help="A line for each user, project or day, with a bar on a terminal.",
        ),
        TABLE,
        COLOUR,
    ),
    exclusive=(("user", "all_users"),),
    examples=(
        ("gstats --since 1w", "your last week"),
        ("gstats --by user --since 30d", "who had the GPUs this month, and how well they were used"),
        ("gstats -a --by day", "GPU-hours of the machine, day by day"),
        ("gstats -a -o csv", "everybody, as data"),
    ),
)


def main() -> None:
    start(COMMAND)
