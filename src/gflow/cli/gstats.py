"""gstats: how many jobs, how they ended, and what they used."""

from __future__ import annotations

import json
import os
import sys

from gflow.cli.command import Command, Option
from gflow.cli.entry import start
from gflow.cli.kinds import choice, not_empty, since
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

_OUTPUTS = ("table", "json", "csv")
_DECIMALS = {
    "avg_wait_secs": 1,
    "avg_runtime_secs": 1,
    "total_gpu_hours": 2,
    "avg_gpus_per_job": 2,
    "success_rate": 1,
    "mean_gpu_utilisation_pct": 1,
}
_CSV_METRICS = (
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
)


def run(values: Values) -> int:
    client = Client(find(values["url"], values["config"]))
    stats = client.stats(_user(values), values["since"])
    if values["output"] == "json":
        print(json.dumps(stats, indent=2))
    elif values["output"] == "csv":
        sys.stdout.write(csv([("metric", "value"), *((name, metric(stats, name)) for name in _CSV_METRICS)]))
    else:
        sys.stdout.write("".join(line + "\n" for line in describe(stats)))
    return 0


def _user(values: Values) -> str | None:
    """Whose numbers; None for everybody's."""
    if values["all_users"] or values["user"] in ("all", "*"):
        return None
    return values["user"] or _caller()


def _caller() -> str:
    """This user's name as the system knows it, which is the one the daemon goes by."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def metric(stats: Record, name: str) -> str:
    """One number as text; empty if there is none."""
    value = stats.get(name)
    if value is None:
        return ""
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
    lines += ["", "Efficiency", _line("Success rate", f"{stats['success_rate']:.1f}%")]
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
            convert=not_empty,
            metavar="NAME",
            help="This user's (default: yours; all: everybody's).",
        ),
        Option("-a", "--all-users", help="Everybody's jobs."),
        Option("-t", "--since", convert=since, metavar="TIME", help="Since: 2h, 3d, 1w, today, yesterday or a date."),
        Option(
            "-o",
            "--output",
            convert=choice(*_OUTPUTS),
            metavar="KIND",
            default="table",
            choices=_OUTPUTS,
            help="table, json or csv.",
        ),
    ),
    exclusive=(("user", "all_users"),),
    examples=(("gstats --since 1w", "your last week"), ("gstats -a -o csv", "everybody, as data")),
)


def main() -> None:
    start(COMMAND)
