"""Jobs as data: `gqueue -o json|csv|yaml`.

Which jobs, and in which order, is asked of the daemon in the same words as for the table, so that there is one answer
to that; the records themselves come from the job route.
"""

from __future__ import annotations

import json
import sys
import time

from gflow.cli.entries import entry
from gflow.cli.fetching import fetch, progress_of
from gflow.cli.render.data import csv, yaml
from gflow.cli.render.times import iso
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Record = dict[str, Any]

_CSV_FIELDS = ("id", "name", "state", "time", "gpus", "user", "submitted_at", "reason")


def print_listing(
    client: Client, filters: dict[str, Any], output: str, columns: Sequence[str] | None = None
) -> list[int]:
    """Print the jobs `filters` choose, and nothing but data, also when there are none; their ids.

    columns: CSV has those and no others, as in the table. With START among them, other kinds of data have also when
    those that wait are expected to start, which is not known for nothing.
    """
    if output == "csv" and columns:
        return _print_columns(client, filters, columns)
    rows, total = client.queue(("JOBID", "TIME", "NODELIST(REASON)"), **filters)
    shown = [int(row[0]) for row in rows]
    found = fetch(client, sorted(shown))
    told = progress_of(client, found.values()) if output != "csv" else {}
    jobs = [entry(found[int(row[0])], row[1], row[2], told.get(int(row[0]))) for row in rows if int(row[0]) in found]
    if "START" in (columns or ()):
        starts = client.forecast()
        jobs = [job | {"expected_start": iso(starts.get(job["id"], _begin(job, found)))} for job in jobs]
    if output == "csv":
        sys.stdout.write(csv([_CSV_FIELDS, *(_csv_row(job, _CSV_FIELDS) for job in jobs)]))
        return shown
    document = {"jobs": jobs, "total": total, "timestamp": iso(time.time())}
    sys.stdout.write(yaml(document) if output == "yaml" else json.dumps(document, indent=2) + "\n")
    return shown


def _print_columns(client: Client, filters: dict[str, Any], columns: Sequence[str]) -> list[int]:
    rows, _ = client.queue((*columns, "JOBID"), **filters)
    sys.stdout.write(csv([[name.lower() for name in columns], *(row[:-1] for row in rows)]))
    return [int(row[-1]) for row in rows]


def _begin(job: Record, records: dict[int, Record]) -> Any:
    """When a job starts at the earliest that waits for that time alone: nothing is played forward for those."""
    return records[job["id"]].get("scheduled_at") if job.get("reason") == "BeginTime" else None


def _csv_row(job: Record, fields: tuple[str, ...]) -> list[str]:
    gpus = "[" + ",".join(map(str, job["gpus"])) + "]"
    return [gpus if field == "gpus" else _text(job.get(field)) for field in fields]


def _text(value: object) -> str:
    return "-" if value is None else str(value)
