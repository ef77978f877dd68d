"""gjob top: what the processes of a running job take, once, or again and again until it ends."""

from __future__ import annotations

import select
import shutil
import sys
import time

from gflow.cli.command import Command, Option, UsageError
from gflow.cli.each import each
from gflow.cli.job.arguments import MANY, many
from gflow.cli.kinds import interval
from gflow.cli.output import TEXT, print_each
from gflow.cli.render.table import harmless, table
from gflow.cli.render.times import iso
from gflow.cli.render.usage import bytes_text, gpu_line, percent
from gflow.client.errors import Declined
from gflow.core.limits import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from gflow.cli.command import Values
    from gflow.cli.screen import Screen
    from gflow.client.http import Client

    Record = dict[str, Any]

SAMPLE_SECS = 0.5
"""Between the two looks that CPU use is told by, if it is to be told once."""

_HEADER = ("PID", "CPU", "MEMORY", "THREADS", "ST", "TIME", "COMMAND")


def run(values: Values) -> int:
    if values["watch"] and values["output"] != "text":
        raise UsageError("-o json and yaml are of one moment, so they do not go with --watch")
    client, job_ids = many(values)
    before: dict[int, Record] = {}

    def look(job_id: int) -> None:
        before[job_id] = client.processes(job_id)

    def show(job_id: int) -> None:
        print("\n".join(lines(client.processes(job_id), before[job_id], width)))

    def found(job_id: int) -> Record:
        return document(client.processes(job_id), before[job_id])

    status = each(job_ids, look)
    if values["output"] != "text":
        _pause(min(SAMPLE_SECS, values["interval"]) if before else 0.0)
        return max(status, print_each("jobs", list(before), found, values["output"]))
    if not before:
        return status
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    _pause(min(SAMPLE_SECS, values["interval"]))
    if values["watch"]:
        _watch(client, before, values["interval"])
        return status
    return max(status, each(list(before), show))


def document(now: Record, before: Record | None) -> Record:
    """A job's processes as programs read them; `cpu_percent` is of one core."""
    shares = cpu_shares(now, before)
    processes = [
        process | {"started_at": iso(process["started_at"]), "cpu_percent": round(shares[process["pid"]], 1)}
        for process in now["processes"]
    ]
    return {
        "id": now["id"],
        "name": now["name"],
        "measured_at": iso(now["measured_at"]),
        "cpus": now["cpus"],
        "cpu_percent": round(sum(shares.values()), 1),
        "memory_bytes": sum(process["memory_bytes"] for process in now["processes"]),
        "processes": processes,
        "gpus": now["gpus"],
    }


def lines(now: Record, before: Record | None, width: int | None = None) -> list[str]:
    """A job's processes, those that compute most first; `before` is an earlier look. `width`: columns there are."""
    shares = cpu_shares(now, before)
    processes = sorted(now["processes"], key=lambda process: (-shares[process["pid"]], process["pid"]))
    total = sum(process["memory_bytes"] for process in processes)
    count = f"{len(processes)} process" + ("" if len(processes) == 1 else "es")
    head = f"Job {now['id']} ({harmless(now['name'])}): {count}, CPU {percent(sum(shares.values()))}"
    found = [f"{head} of {now['cpus']} cores, memory {bytes_text(total)}"]
    found += [gpu_line(gpu) for gpu in now["gpus"]]
    rows = [_row(process, shares[process["pid"]]) for process in processes]
    found += table(_HEADER, rows).splitlines() if rows else []
    return found if width is None else [line[:width] for line in found]


def _row(process: Record, share: float) -> list[str]:
    return [
        str(process["pid"]),
        percent(share),
        bytes_text(process["memory_bytes"]),
        str(process["threads"]),
        harmless(process["state"]),
        format_duration(process["cpu_secs"]),
        harmless(process["command"]),
    ]


def cpu_shares(now: Record, before: Record | None) -> dict[int, float]:
    """Cores in use by each process, in percent of one: since the look before, or else since it started."""
    known = {(p["pid"], round(p["started_at"])): p["cpu_secs"] for p in before["processes"]} if before else {}
    shares = {}
    for process in now["processes"]:
        earlier = known.get((process["pid"], round(process["started_at"])))
        since = before["measured_at"] if before and earlier is not None else process["started_at"]
        passed = now["measured_at"] - since
        shares[process["pid"]] = 100 * max(0.0, process["cpu_secs"] - (earlier or 0.0)) / passed if passed > 0 else 0.0
    return shares


def _watch(client: Client, before: dict[int, Record], interval_secs: float) -> None:
    """Draw over and over until none of the jobs runs, or `q` is pressed; on a terminal on a screen of its own."""
    if not sys.stdout.isatty():
        ended = _print_again(client, before, interval_secs)
    else:
        from gflow.cli.screen import Screen

        with Screen() as screen:
            ended = _draw_again(screen, client, before, interval_secs)
    if ended:
        print("\n".join(f"Job {job_id} does not run any more." for job_id in ended))


def _print_again(client: Client, before: dict[int, Record], interval_secs: float) -> list[int]:
    while now := _look(client, before):
        print("\n".join(_picture(now, before, "Ctrl-C to leave")) + "\n", flush=True)
        before = now
        _pause(interval_secs)
    return list(before)


def _draw_again(screen: Screen, client: Client, before: dict[int, Record], interval_secs: float) -> list[int]:
    """The jobs that have ended; none if the user left before."""
    while now := _look(client, before):
        columns, height = screen.size()
        screen.draw([line[:columns] for line in _picture(now, before, "q: quit")][:height])
        before = now
        if screen.quits_within(interval_secs):
            return []
    return list(before)


def _picture(now: dict[int, Record], before: dict[int, Record], how_to_leave: str) -> list[str]:
    parts = [lines(seen, before[job_id]) for job_id, seen in now.items()]
    return [f"{time.strftime('%H:%M:%S')}   ({how_to_leave})", *(line for part in parts for line in ["", *part])]


def _look(client: Client, job_ids: Iterable[int]) -> dict[int, Record]:
    """Those of the jobs that run, as they are now."""
    found = {}
    for job_id in job_ids:
        try:
            found[job_id] = client.processes(job_id)
        except Declined:
            continue
    return found


def _pause(secs: float) -> None:
    select.select([], [], [], secs)


COMMAND = Command(
    "top",
    "Show what the processes of running jobs take: CPU, memory, GPUs.",
    run,
    options=(
        Option("-w", "--watch", help="Go on showing it until the jobs have ended; q ends it."),
        Option(
            "--interval", convert=interval, metavar="SECS", default=2.0, help="With --watch: how often (default 2)."
        ),
        TEXT,
    ),
    arguments=(MANY,),
    examples=(("gjob top 7", "once"), ("gjob top -w @", "your latest job, live")),
)
