"""Everything there is, as lines of JSON: for people, for other programs, and to keep.

    {"format": "gflow-export", "version": 1, "at": …, "seq": …, "next_job_id": …, …}    the head
    {"group": {…}}     {"setting": {"key": …, "value": …}}
    {"job": {…}}       every job by id, from state and history, each once
    {"event": {…}}     the latest events, each with its job as it then was
    {"end": {"jobs": N, "groups": N, "settings": N, "events": N}}    how many there must be of each

Jobs, groups and events have the keys of the log (see codec); a key that is missing has its default. What is no text
(undecodable bytes of paths and arguments) comes as lone surrogates, so the lines are plain ASCII. Environments and
script texts are in the spool and not in here; jobs only name them. Nor are tokens, not even their hashes.

All of it is the state at one moment, also beside a daemon that goes on: the state is read whole, and from the history,
which is read a page at a time, what comes to it later is left out. If something is removed from it meanwhile, there is
no such moment any more, and the lines stop without an end.
"""

import heapq
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gflow.core.model import Job, JobId
from gflow.core.selection import EVERYTHING
from gflow.core.tokens import SETTING
from gflow.store.codec import Map, event_to_map, group_to_map, job_to_map
from gflow.store.errors import Unreadable
from gflow.store.history import History
from gflow.store.recovery.journal import read_journal
from gflow.store.recovery.opening import MERGED
from gflow.store.snapshot import SnapshotState
from gflow.store.upkeep.beside import TRIES, load_beside

FORMAT = "gflow-export"
VERSION = 1
PAGE = 500
"""Jobs of the history that are in memory at once."""


class CannotExport(Exception):
    """There is no one state to be had just now; the message is one line."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """The state after transaction `seq`, and what of the history belongs to it: ids up to `last_id`, `past` jobs.

    recovered: it was read from the journal of a recovery, because the state files cannot be read.
    """

    state: SnapshotState
    seq: int
    recovered: bool
    last_id: int
    past: int


def export(data_dir: Path, wall: float) -> Iterator[str]:
    """The lines, each with its newline; `wall` is now, in seconds since the epoch.

    Raises CannotExport, HistoryError, or what `load` raises: before the first line or, if the history was pruned or is
    damaged, at any line.
    """
    with closing(History(data_dir)) as history:
        moment = _moment(data_dir, history)
        state = moment.state
        counts = dict.fromkeys(("groups", "settings", "jobs", "events"), 0)
        yield _line(_head(moment, wall))
        for kind, plain in _records(state, _jobs(moment, history)):
            counts[f"{kind}s"] += 1
            yield _line({kind: plain})
        yield _line({"end": counts})


def _line(value: Map) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"


def _head(moment: _Moment, wall: float) -> Map:
    state = moment.state
    return {
        "format": FORMAT,
        "version": VERSION,
        "at": wall,
        "seq": moment.seq,
        "next_job_id": max(state.next_job_id, moment.last_id + 1),
        "next_event_id": state.next_event_id,
        "boot_id": state.boot_id,
        "recovery": moment.recovered,
    }


def _records(state: SnapshotState, jobs: Iterator[Job]) -> Iterator[tuple[str, Map]]:
    for group in state.groups:
        yield "group", group_to_map(group)
    for key, value in state.settings.items():
        if key != SETTING:
            yield "setting", {"key": key, "value": value}
    for job in jobs:
        yield "job", job_to_map(job)
    for number, event in state.events:
        yield "event", {"id": number, **event_to_map(event)}


# -- one moment --------------------------------------------------------------------------------------------------------


def _moment(data_dir: Path, history: History) -> _Moment:
    """A state, and a history that did not change while it was read."""
    for _ in range(TRIES):
        edition = history.edition()
        state, seq, recovered = _state(data_dir)
        last_id = max(history.highest_id(), state.next_job_id - 1)
        past = history.count(besides=[job.id for job in state.jobs])
        if history.edition() == edition:
            return _Moment(state, seq, recovered, last_id, past)
    raise CannotExport(f"{history.path}: it changes faster than it can be read; try again later")


def _state(data_dir: Path) -> tuple[SnapshotState, int, bool]:
    """The state, the seq it has reached, and whether it is that of a recovery."""
    entry = read_journal(data_dir)
    try:
        loaded = load_beside(data_dir)
    except (Unreadable, OSError):
        if entry is None:
            raise
        return entry.state, entry.seq, True
    if entry is not None and loaded.settings.get(MERGED) != entry.id:
        raise CannotExport(
            f"{data_dir}: a recovery is about to end, and gflowd puts state and journal together; start it, or try "
            "again in a moment"
        )
    return loaded.state(), loaded.seq, False


def _jobs(moment: _Moment, history: History) -> Iterator[Job]:
    """All jobs by id. One in both places counts as it is in the state."""
    here = sorted(moment.state.jobs, key=_by_id)
    return heapq.merge(here, _past(moment, history, {job.id for job in here}), key=_by_id)


def _past(moment: _Moment, history: History, here: set[JobId]) -> Iterator[Job]:
    last, found = None, 0
    while page := history.page(EVERYTHING, after=last, most=PAGE):
        for job in page:
            if job.id not in here and job.id <= moment.last_id:
                found += 1
                yield job
        last = page[-1].id
    if found != moment.past:
        raise CannotExport(f"{history.path}: jobs were pruned from it while it was read; export once more")


def _by_id(job: Job) -> JobId:
    return job.id
