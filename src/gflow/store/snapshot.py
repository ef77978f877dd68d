"""The snapshot `state.msgpack`: the whole state after one transaction, as a single msgpack map.

    format   "gflow-state"           tells our file from those of other programs
    version  1
    segment  number of the first log segment to replay on top
    seq, next_job_id, next_event_id, boot_id, settings, groups, jobs, events (pairs of id and event)
    crc32    of all bytes before this number; always the last value, in its five-byte form

It holds no paths of the machine but those the jobs hold. It is written beside the old one, synced and renamed; the old
one stays as `state.msgpack.previous`, together with the segments that go on from it, until the next one is in place.
One that has been damaged meanwhile never takes the place of a previous one that is whole.
"""

import contextlib
import math
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgpack  # type: ignore[import-untyped]

from gflow.core.events import Event
from gflow.core.model import Group, Job, JobId, State
from gflow.store.codec import Map, event_from_map, event_to_map, group_from_map, group_to_map, job_from_map, job_to_map
from gflow.store.disk import DISK, Disk, open_regular, write_new
from gflow.store.errors import Damaged, Foreign, Newer, Unreadable
from gflow.store.recovery.backup import keep_copy

NAME = "state.msgpack"
PREVIOUS = "state.msgpack.previous"
TEMPORARY = "state.msgpack.tmp"
FORMAT = "gflow-state"
VERSION = 1
KEPT_EVENTS = 1000
"""How many of the latest events are kept for clients that come back."""

MAX_ID = 1 << 62
"""More jobs, or events, there never were."""

_T = TypeVar("_T")

_CRC = struct.Struct(">BI")
_UINT32 = 0xCE  # msgpack's tag of a four-byte unsigned integer
_CHUNK_JOBS = 40  # about half a millisecond of work between two writes, which let other threads run


@dataclass(frozen=True, slots=True)
class SnapshotState:
    """The state at one moment. Nothing in it may change afterwards: it is written by another thread.

    - settings: the values now set. events: the latest, with their ids.
    - boot_id: the boot that the `_boot` times of the jobs belong to.
    """

    jobs: tuple[Job, ...]
    groups: tuple[Group, ...]
    settings: Mapping[str, Any]
    events: tuple[tuple[int, Event], ...]
    next_job_id: int
    next_event_id: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state, the seq of the transaction it was taken after, and the first segment to replay on top of it."""

    seq: int
    segment: int
    state: SnapshotState


class Abandoned(Exception):
    """Writing was given up because the daemon stops."""


def _never() -> bool:
    return False


# -- writing -----------------------------------------------------------------------------------------------------------


def write_snapshot(
    directory: Path,
    snapshot: Snapshot,
    *,
    disk: Disk = DISK,
    abandoned: Callable[[], bool] = _never,
    keep_previous: bool = True,
) -> Unreadable | OSError | None:
    """Put `snapshot` in the place of the one before, which becomes the previous one.

    That is only for a whole one. If something is wrong with it, that is returned: then a copy of it is kept if that can
    be had, and the previous one stays, which still needs its log. With `keep_previous` False, what is in its place is
    no snapshot of ours, and is replaced. Raises OSError, or Abandoned soon after `abandoned` turns true; then the files
    that count are as they were.
    """
    temporary = directory / TEMPORARY
    with contextlib.suppress(FileNotFoundError):
        disk.remove(temporary)
    write_new(disk, temporary, _watched(_with_crc(_chunks(snapshot)), abandoned))
    current = directory / NAME
    wrong = _wrong_with(current) if keep_previous else None
    if wrong is not None:
        with contextlib.suppress(OSError):
            keep_copy(current, time.time(), newer=isinstance(wrong, Newer), disk=disk)
    elif keep_previous and current.exists():
        disk.replace(current, directory / PREVIOUS)
    disk.replace(temporary, current)
    disk.sync_directory(directory)
    return wrong


def _wrong_with(path: Path) -> Unreadable | OSError | None:
    """What has become of a snapshot since it was written; None if it is whole, or not there."""
    try:
        _check(path)
    except FileNotFoundError:
        return None
    except (Unreadable, OSError) as error:
        return error
    return None


def _watched(chunks: Iterator[bytes], abandoned: Callable[[], bool]) -> Iterator[bytes]:
    for chunk in chunks:
        if abandoned():
            raise Abandoned
        yield chunk


def _with_crc(chunks: Iterator[bytes]) -> Iterator[bytes]:
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
        yield chunk
    yield _CRC.pack(_UINT32, crc)


def _chunks(snapshot: Snapshot) -> Iterator[bytes]:
    """The file, up to the value of the checksum."""
    state = snapshot.state
    packer = msgpack.Packer(unicode_errors="surrogatepass")
    known = {job.id: job for job in state.jobs}
    head = {
        "format": FORMAT,
        "version": VERSION,
        "segment": snapshot.segment,
        "seq": snapshot.seq,
        "next_job_id": state.next_job_id,
        "next_event_id": state.next_event_id,
        "boot_id": state.boot_id,
        "settings": dict(state.settings),
    }
    yield packer.pack_map_header(len(head) + 4)
    for key, value in head.items():
        yield packer.pack(key) + packer.pack(value)
    yield from _list(packer, "groups", state.groups, group_to_map)
    yield from _list(packer, "jobs", state.jobs, job_to_map)
    yield from _list(packer, "events", state.events, lambda pair: (pair[0], event_to_map(pair[1], known)))
    yield packer.pack("crc32")


def _list(packer: msgpack.Packer, key: str, items: Sequence[_T], plain: Callable[[_T], object]) -> Iterator[bytes]:
    yield packer.pack(key) + packer.pack_array_header(len(items))
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK_JOBS)):
        yield b"".join([packer.pack(plain(item)) for item in chunk])


# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reader:
    """Takes the map apart value by value, so that only one job at a time is there twice."""

    unpacker: msgpack.Unpacker
    values: Map = field(default_factory=dict)
    jobs: dict[JobId, Job] = field(default_factory=dict)
    events: list[Map] = field(default_factory=list)

    def read(self) -> None:
        for _ in range(self.unpacker.read_map_header()):
            key = self.unpacker.unpack()
            if key == "jobs":
                for _ in range(self.unpacker.read_array_header()):
                    job = job_from_map(self.unpacker.unpack())
                    self.jobs[job.id] = job
            else:
                self.values[key] = self.unpacker.unpack()

    def snapshot(self) -> Snapshot:
        values = self.values
        state = SnapshotState(
            jobs=tuple(self.jobs.values()),
            groups=tuple(group_from_map(group) for group in values["groups"]),
            settings=values["settings"],
            events=tuple((number, event_from_map(event, self.jobs)) for number, event in values["events"]),
            next_job_id=values["next_job_id"],
            next_event_id=values["next_event_id"],
            boot_id=values["boot_id"],
        )
        return Snapshot(values["seq"], values["segment"], state)


def read_snapshot(path: Path) -> Snapshot:
    """The snapshot in a file. Raises FileNotFoundError, Damaged, Newer, Foreign or OSError; changes nothing."""
    _check(path)
    snapshot = _read(path)
    _refuse_nonsense(path, snapshot.state)
    return snapshot


def _refuse_nonsense(path: Path, state: SnapshotState) -> None:
    """Raise Damaged for values that nothing can go on from, whatever the checksum says of them."""
    for number in (state.next_job_id, state.next_event_id):
        if type(number) is not int or not 0 < number <= MAX_ID:
            raise Damaged(path, 0, f"it does not hold a state (the next id is {number!r})")
    for job in state.jobs:
        try:
            wrong = _nonsense(job)
        except TypeError as error:
            wrong = f"has a value of the wrong kind ({error})"
        if wrong is not None:
            raise Damaged(path, 0, f"it does not hold a state (job {job.id} {wrong})")


def _nonsense(job: Job) -> str | None:
    """What is wrong with a job. Raises TypeError. Called for every job at every start."""
    spec = job.spec
    if not 0 < job.id <= MAX_ID:
        return "has an id that was never given"
    if not -math.inf < job.submitted_at < math.inf:
        return f"was submitted at {job.submitted_at}"
    for at in (job.started_at, job.finished_at, spec.begin_at):
        if at is not None and not -math.inf < at < math.inf:
            return f"has a time that is {at}"
    if job.state is State.RUNNING and job.run_id is None:
        return "is Running and has no run id"
    if spec.gpus < 0:
        return f"has {spec.gpus} GPUs"
    if spec.depends_on and job.id in spec.depends_on:
        return "depends on itself"
    return None


def first_break(path: Path) -> tuple[int, bool] | None:
    """Where a file whose checksum is wrong first makes no sense: the byte at which that value starts, and whether it
    is one that goes on beyond the end. None: nowhere. Raises OSError.
    """
    try:
        _read(path)
    except Damaged as damaged:
        return damaged.offset, isinstance(damaged.__cause__, msgpack.OutOfData)
    except MemoryError:  # damage can declare lists of any length
        return None
    return None


def _read(path: Path) -> Snapshot:
    """No value can have more parts than the file has bytes; what claims to is refused before room is made for it."""
    with open_regular(path) as file:
        most = max(os.fstat(file.fileno()).st_size, 1)
        unpacker = msgpack.Unpacker(file, unicode_errors="surrogatepass", strict_map_key=False, max_buffer_size=most)
        reader = _Reader(unpacker)
        try:
            reader.read()
            return reader.snapshot()
        except (msgpack.UnpackException, KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged(path, unpacker.tell(), f"it does not hold a state ({error!r})") from error


def _check(path: Path) -> None:
    """Raise what is wrong with the file as a whole. Every version has its checksum at the end, so that comes first."""
    with open_regular(path) as file:
        start = file.read(64)
        sound = _crc_is_right(file)
    if not sound:
        if start.strip(b"\0") and b"format" not in start and FORMAT.encode() not in start:
            raise Foreign(path, "it was not written by this program")
        raise Damaged(path, 0, "its checksum is wrong: it was cut short or has changed since it was written")
    name, version = _format_and_version(start)
    if name != FORMAT or not isinstance(version, int):
        raise Foreign(path, "it was not written by this program")
    if version > VERSION:
        raise Newer(path, version, VERSION)


def _crc_is_right(file: BinaryIO) -> bool:
    crc = 0
    rest = file.seek(0, os.SEEK_END) - _CRC.size
    file.seek(0)
    while rest > 0 and (chunk := file.read(min(1 << 20, rest))):
        crc = zlib.crc32(chunk, crc)
        rest -= len(chunk)
    return rest == 0 and file.read() == _CRC.pack(_UINT32, crc)


def _format_and_version(start: bytes) -> tuple[object, object]:
    """The first two values of the map."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(start)
    try:
        unpacker.read_map_header()
        _, name, _, version = (unpacker.unpack() for _ in range(4))
    except (msgpack.UnpackException, ValueError):
        return None, None
    return name, version
