"""Many jobs in few requests, and one line about those there are not: ranges may be of a hundred thousand ids."""

from __future__ import annotations

from gflow.cli import ids
from gflow.client.errors import Declined
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from gflow.client.http import Client

    Record = dict[str, Any]

_JOBS_PER_REQUEST, _RANGES_PER_REQUEST = 10_000, 200
_RANGES_NAMED = 20


def fetch(client: Client, wanted: list[int]) -> dict[int, Record]:
    """Those of these jobs that exist, in that order. Ids are asked for as ranges, to keep requests short."""
    found: dict[int, Record] = {}
    ascending = sorted(wanted)
    for start in range(0, len(ascending), _JOBS_PER_REQUEST):
        ranges = ids.compact(ascending[start : start + _JOBS_PER_REQUEST])
        for at in range(0, len(ranges), _RANGES_PER_REQUEST):
            asked = ids.show(ranges[at : at + _RANGES_PER_REQUEST])
            found.update((job["id"], job) for job in client.jobs(ids=asked))
    return {job_id: found[job_id] for job_id in wanted if job_id in found}  # an older gflow answers with all jobs


def progress_of(client: Client, jobs: Iterable[Record]) -> dict[int, Record]:
    """How far those of the jobs that run are, by id, as far as they say so."""
    running = sorted(job["id"] for job in jobs if job["state"] == "Running")
    if not running:
        return {}
    few = len(running) <= _RANGES_PER_REQUEST
    try:
        return {told["id"]: told for told in client.progress(*(running if few else ()))}
    except Declined:
        return {}  # an older gflow does not know


def missing_of(client: Client, asked: list[tuple[int, int]], there: Iterable[int] = ()) -> set[int]:
    """Those of the ids in these ranges that no job has; of those in `there` it is known that they are."""
    left = {job_id for low, high in asked for job_id in range(low, high + 1)} - set(there)
    ranges = ids.compact(sorted(left))
    for at in range(0, len(ranges), _RANGES_PER_REQUEST):
        some = ids.show(ranges[at : at + _RANGES_PER_REQUEST])
        rows, _ = client.queue(("JOBID",), states="all", ids=some)
        left -= {int(row[0]) for row in rows}
    return left


def tell_missing(missing: Iterable[int]) -> int:
    """Say that there are no such jobs, in one line; 1 if there are any to be said, else 0."""
    absent = sorted(missing)
    if len(absent) == 1:
        say(f"Job {absent[0]} does not exist")
    elif absent:
        ranges = ids.compact(absent)
        more = f" and {len(ranges) - _RANGES_NAMED} more ranges" if len(ranges) > _RANGES_NAMED else ""
        say(f"Jobs {ids.show(ranges[:_RANGES_NAMED])}{more} do not exist")
    return 1 if absent else 0
