"""Jobs as data: `gqueue -o json|csv|yaml`.

Which jobs, and in which order, is asked of the daemon in the same words as for the table, so that there is one answer
to that; the records themselves come from the job route.
"""

from __future__ import annotations

import json
import sys
import time

from gflow.cli import ids
from gflow.cli.entries import entry
from gflow.cli.render.data import csv, yaml
from gflow.cli.render.times import iso
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

_JOBS_PER_REQUEST, _RANGES_PER_REQUEST = 10_000, 200
_CSV_FIELDS = ("id", "name", "state", "time", "gpus", "user", "submitted_at", "reason")


def print_listing(client: Client, filters: dict[str, Any], output: str, *, forecast: bool = False) -> None:
    """Print the jobs `filters` choose, and nothing but data, also when there are none.

    `forecast`: also when those that wait are expected to start, which is not known for nothing.
    """
    rows, total = client.queue(("JOBID", "TIME", "NODELIST(REASON)"), **filters)
    found = _records(client, sorted(int(row[0]) for row in rows))
    jobs = [entry(found[int(row[0])], row[1], row[2]) for row in rows if int(row[0]) in found]
    if forecast:
        starts = client.forecast()
        jobs = [job | {"expected_start": iso(starts.get(job["id"]))} for job in jobs]
    if output == "csv":
        fields = (*_CSV_FIELDS, "expected_start") if forecast else _CSV_FIELDS
        sys.stdout.write(csv([fields, *(_csv_row(job, fields) for job in jobs)]))
        return
    document = {"jobs": jobs, "total": total, "timestamp": iso(time.time())}
    sys.stdout.write(yaml(document) if output == "yaml" else json.dumps(document, indent=2) + "\n")


def _records(client: Client, wanted: list[int]) -> dict[int, Record]:
    """The jobs by id; ids are asked for as ranges, some at a time, to keep the request line short."""
    found: dict[int, Record] = {}
    for start in range(0, len(wanted), _JOBS_PER_REQUEST):
        ranges = ids.compact(wanted[start : start + _JOBS_PER_REQUEST])
        for at in range(0, len(ranges), _RANGES_PER_REQUEST):
            asked = ids.show(ranges[at : at + _RANGES_PER_REQUEST])
            found.update((job["id"], job) for job in client.jobs(ids=asked))
    return found


def _csv_row(job: Record, fields: tuple[str, ...]) -> list[str]:
    gpus = "[" + ",".join(map(str, job["gpus"])) + "]"
    return [gpus if field == "gpus" else _text(job.get(field)) for field in fields]


def _text(value: object) -> str:
    return "-" if value is None else str(value)
