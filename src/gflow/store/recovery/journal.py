"""The journal `state.journal.jsonl`: the whole state in one line, written while the state files cannot be read.

    ts        seconds since the epoch        kind   "snapshot"        version  1
    id        of this recovery, the same over restarts; the state it ends up in says in settings["journal_merged"]
              which journal it has taken over, so an old journal never overrides a newer state
    base      generation and seq of the last transaction that could be read from the state files when it began
    changed   {"jobs", "groups", "settings"}: what has changed since; everything else is as it was read then
    scheduler seq, next_job_id, next_event_id, boot_id, settings, groups, jobs, events: as in the snapshot
    crc32     of all bytes before `,"crc32"`

Each save puts a new file in the place of the old one. An empty file says that there is nothing to take over.
"""

import json
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from gflow.core.model import Job, JobId
from gflow.store.codec import event_from_map, event_to_map, group_from_map, group_to_map, job_from_map, job_to_map
from gflow.store.disk import DISK, Disk, read_regular, write_over
from gflow.store.errors import Damaged, Newer
from gflow.store.records import Transaction
from gflow.store.snapshot import SnapshotState

NAME = "state.journal.jsonl"
VERSION = 1

_CRC = b',"crc32":'
_CHUNK_JOBS = 40  # little enough that other threads get their turn between two writes


@dataclass(slots=True)
class Changes:
    """What has changed since a recovery began."""

    jobs: set[JobId] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    settings: set[str] = field(default_factory=set)

    def note(self, transactions: Iterable[Transaction]) -> None:
        """Add what these changed."""
        for transaction in transactions:
            self.jobs.update(job.id for job in transaction.jobs)
            self.jobs.update(transaction.retired)
            self.groups.update(group.id for group in transaction.groups)
            self.settings.update(transaction.settings)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a journal holds."""

    id: str
    base: tuple[int, int]
    changed: Changes
    seq: int
    state: SnapshotState


class Journal:
    """Writes the journal of the recovery `journal_id`. One thread at a time."""

    def __init__(
        self, data_dir: Path, journal_id: str, base: tuple[int, int], changed: Changes, *, disk: Disk = DISK
    ) -> None:
        self.path = data_dir / NAME
        self._id = journal_id
        self._base = base
        self._changed = changed
        self._disk = disk
        self._encoded: dict[JobId, tuple[Job, bytes]] = {}

    def save(self, transactions: Iterable[Transaction], state: SnapshotState, seq: int) -> None:
        """Put the state after `transactions`, the last of which is `seq`, in the journal; return when it is on disk.

        Raises OSError; then the journal is as it was.
        """
        self._changed.note(transactions)
        write_over(self._disk, self.path, _with_crc(self._chunks(state, seq)))

    def _chunks(self, state: SnapshotState, seq: int) -> Iterator[bytes]:
        changed = self._changed
        head = {
            "ts": int(time.time()),
            "kind": "snapshot",
            "version": VERSION,
            "id": self._id,
            "base": self._base,
            "changed": {
                "jobs": sorted(changed.jobs),
                "groups": sorted(changed.groups),
                "settings": sorted(changed.settings),
            },
        }
        known = {job.id: job for job in state.jobs}
        scheduler = {
            "seq": seq,
            "next_job_id": state.next_job_id,
            "next_event_id": state.next_event_id,
            "boot_id": state.boot_id,
            "settings": dict(state.settings),
            "groups": [group_to_map(group) for group in state.groups],
            "events": [(number, event_to_map(event, known)) for number, event in state.events],
        }
        yield _json(head)[:-1] + b',"scheduler":' + _json(scheduler)[:-1] + b',"jobs":['
        yield from self._jobs(state.jobs)
        yield b"]}"

    def _jobs(self, jobs: tuple[Job, ...]) -> Iterator[bytes]:
        """Most jobs are as they were at the last save, and so is their text."""
        before, self._encoded = self._encoded, {}
        rest = iter(jobs)
        comma = b""
        while chunk := list(islice(rest, _CHUNK_JOBS)):
            for job in chunk:
                kept = before.get(job.id)
                self._encoded[job.id] = kept if kept and kept[0] is job else (job, _json(job_to_map(job)))
            yield comma + b",".join(self._encoded[job.id][1] for job in chunk)
            comma = b","


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _with_crc(chunks: Iterable[bytes]) -> Iterator[bytes]:
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
        yield chunk
    yield _CRC + b"%d}\n" % crc


def read_journal(data_dir: Path) -> Entry | None:
    """What the journal holds, None if it is empty or missing. Raises Damaged, Newer or OSError; changes nothing."""
    path = data_dir / NAME
    try:
        data = read_regular(path)
    except FileNotFoundError:
        return None
    if not data:
        return None
    body, _, crc = data.rpartition(_CRC)
    if crc != b"%d}\n" % zlib.crc32(body):
        raise Damaged(path, 0, "its checksum is wrong: it was cut short or has changed since it was written")
    try:
        return _entry(path, json.loads(body + b"}"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(path, 0, f"it does not hold a state ({error!r})") from error


def _entry(path: Path, plain: dict[str, Any]) -> Entry:
    if plain["version"] > VERSION:
        raise Newer(path, plain["version"], VERSION)
    scheduler, changed = plain["scheduler"], plain["changed"]
    jobs = {job.id: job for job in map(job_from_map, scheduler["jobs"])}
    state = SnapshotState(
        jobs=tuple(jobs.values()),
        groups=tuple(map(group_from_map, scheduler["groups"])),
        settings=scheduler["settings"],
        events=tuple((number, event_from_map(event, jobs)) for number, event in scheduler["events"]),
        next_job_id=scheduler["next_job_id"],
        next_event_id=scheduler["next_event_id"],
        boot_id=scheduler["boot_id"],
    )
    changes = Changes(set(changed["jobs"]), set(changed["groups"]), set(changed["settings"]))
    generation, seq = plain["base"]
    return Entry(plain["id"], (generation, seq), changes, scheduler["seq"], state)


def truncate_journal(data_dir: Path, *, disk: Disk = DISK) -> None:
    """Say that nothing in the journal is to be taken over any more. Raises OSError."""
    path = data_dir / NAME
    if path.exists() and path.stat().st_size:
        write_over(disk, path, [])
