"""The write-ahead log: segments `wal-XXXXXXXX.log` (hexadecimal number) of records, each with a checksum.

A segment is a header and frames. All numbers are little-endian.

    header   8 magic "gflowwal" · u32 format version · u32 segment number · u64 seq of its first record · u32 CRC-32
    frame    4 marker · u32 length of the record · u32 bytes from the start of its batch · u32 CRC-32 · record

The CRC of a frame also covers the segment's number and the frame's offset, so bytes of another file, or of another
place, never pass. A batch is what one sync made durable. Frames know where their batch starts, because that tells a
torn tail from damage: a batch is only written once the one before it is on disk, so if a bad frame is followed by a
good one of a later batch, it had been good once.

A segment says with which seq it goes on; what older segments hold from that seq on was never acknowledged and is void.
"""

import contextlib
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from gflow.store.disk import DISK, Disk, open_regular, read_regular, write_all
from gflow.store.errors import Damaged, Newer
from gflow.store.records import MAX_RECORD_BYTES

VERSION = 1
MAX_SEGMENT = 0xFFFFFFFF
LAST_READ = 0xFEFFFFFF
"""A segment with a higher number was not written by us, and would leave too few for those that are to follow."""

_MAGIC = b"gflowwal"
_MARKER = b"\xc1gf\x01"  # 0xC1 is the one byte that never starts a msgpack value
_HEADER = struct.Struct("<8sIIQ")
_FRAME = struct.Struct("<4sII")
_PLACE = struct.Struct("<IQ")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
FRAME_BYTES = _FRAME.size + _CRC.size

_NAME = re.compile(r"wal-([0-9a-f]{8})\.log")


def segment_path(directory: Path, number: int) -> Path:
    """Where a segment is kept."""
    return directory / f"wal-{number:08x}.log"


def new_path(directory: Path, number: int) -> Path:
    """Where a segment is to be made. Raises OverflowError once there are no numbers left."""
    if not 0 < number <= MAX_SEGMENT:
        raise OverflowError(f"segment number {number} is out of range")
    return segment_path(directory, number)


def segment_numbers(directory: Path) -> list[int]:
    """The numbers of the segments there are, in order."""
    return sorted(int(match[1], 16) for name in os.listdir(directory) if (match := _NAME.fullmatch(name)))


class Frame(NamedTuple):
    """A good frame: where it starts, where its batch starts, its record."""

    offset: int
    batch: int
    record: memoryview

    @property
    def end(self) -> int:
        """Where the next frame starts."""
        return self.offset + FRAME_BYTES + len(self.record)


class Tail(NamedTuple):
    """The last batch in a log. Whoever wrote it may have been killed before it was on disk."""

    path: Path
    offset: int
    size: int

    def secure(self, disk: Disk) -> None:
        """Have it on disk. Raises OSError."""
        with open_regular(self.path) as file:
            file.seek(self.offset)
            data = file.read(self.size)
        disk.write_again(self.path, self.offset, data)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a segment holds.

    - first_seq: of the first record it has, or would have had; None if not even its header was finished.
    - torn_at: where an unfinished write starts, None if there is none. size: of the file, in bytes.
    """

    path: Path
    number: int
    first_seq: int | None
    frames: list[Frame]
    torn_at: int | None
    size: int

    @property
    def tail(self) -> Tail | None:
        """The last batch in it."""
        if not self.frames:
            return None
        last = self.frames[-1]
        return Tail(self.path, last.batch, last.end - last.batch)


def _header(number: int, first_seq: int) -> bytes:
    header = _HEADER.pack(_MAGIC, VERSION, number, first_seq)
    return header + _CRC.pack(zlib.crc32(header))


def _crc(number: int, offset: int, head: bytes | memoryview, record: bytes | memoryview) -> int:
    return zlib.crc32(record, zlib.crc32(head, zlib.crc32(_PLACE.pack(number, offset))))


def _batch(number: int, start: int, records: Sequence[bytes]) -> bytes:
    parts: list[bytes] = []
    offset = start
    for record in records:
        head = _FRAME.pack(_MARKER, len(record), offset - start)
        parts += head, _CRC.pack(_crc(number, offset, head, record)), record
        offset += FRAME_BYTES + len(record)
    return b"".join(parts)


# -- reading -----------------------------------------------------------------------------------------------------------


def read_segment(path: Path, number: int) -> Contents:
    """All good frames of a segment up to a torn tail. Raises Damaged, Newer or OSError; changes nothing."""
    data = read_regular(path)
    view = memoryview(data)
    first_seq = _read_header(path, view, number)
    frames: list[Frame] = []
    offset = HEADER_BYTES
    if first_seq is not None:
        while frame := _frame_at(view, offset, number):
            frames.append(frame)
            offset = frame.end
    if first_seq is None:
        return Contents(path, number, None, [], 0, len(data))
    if offset == len(data):
        return Contents(path, number, first_seq, frames, None, len(data))
    _refuse_damage(path, data, offset, number)
    return Contents(path, number, first_seq, frames, offset, len(data))


def _read_header(path: Path, view: memoryview, number: int) -> int | None:
    """The first seq, None if the header was never finished. It is on disk before anything is written after it."""
    whole = len(view) >= HEADER_BYTES
    if not whole or zlib.crc32(view[: _HEADER.size]) != _CRC.unpack_from(view, _HEADER.size)[0]:
        if len(view) > HEADER_BYTES:
            raise Damaged(path, 0, "its header is unreadable")
        return None
    magic, version, own_number, first_seq = _HEADER.unpack_from(view)
    if magic != _MAGIC:
        raise Damaged(path, 0, "it is not a log of gflow")
    if version > VERSION:
        raise Newer(path, version, VERSION)
    if own_number != number:
        raise Damaged(path, 0, f"it is segment {own_number:08x} under another name")
    return int(first_seq)


def _frame_at(view: memoryview, offset: int, number: int) -> Frame | None:
    """The frame that starts at `offset`, None if there is no good one."""
    start = offset + FRAME_BYTES
    if start > len(view):
        return None
    head = view[offset : offset + _FRAME.size]
    marker, length, back = _FRAME.unpack(head)
    if marker != _MARKER or length > min(MAX_RECORD_BYTES, len(view) - start) or back > offset - HEADER_BYTES:
        return None
    record = view[start : start + length]
    if _crc(number, offset, head, record) != _CRC.unpack_from(view, offset + _FRAME.size)[0]:
        return None
    return Frame(offset, offset - back, record)


def _refuse_damage(path: Path, data: bytes, bad: int, number: int) -> None:
    """Raise Damaged if what is at `bad` cannot be an unfinished write, as a later batch follows it."""
    for frame in _frames_after(data, bad, number):
        if frame.batch > bad:
            raise Damaged(
                path, bad, f"a record is unreadable, and there are good ones after it, from byte {frame.offset}"
            )


def _frames_after(data: bytes, bad: int, number: int) -> Iterator[Frame]:
    view = memoryview(data)
    offset = data.find(_MARKER, bad + 1)
    while offset >= 0:
        frame = _frame_at(view, offset, number)
        if frame:
            yield frame
        offset = data.find(_MARKER, frame.end if frame else offset + 1)


@dataclass(frozen=True, slots=True)
class Remains:
    """What can still be read of a segment that may be damaged.

    - first_seq: as its header says; None if that cannot be read, or was never finished.
    - bad: stretches without a good frame, as pairs of first byte and byte after.
    """

    path: Path
    number: int
    first_seq: int | None
    frames: list[Frame]
    bad: list[tuple[int, int]]


def salvage_segment(path: Path, number: int) -> Remains:
    """All good frames of a segment, whatever lies between them. Raises Newer or OSError; changes nothing."""
    data = read_regular(path)
    try:
        first_seq = _read_header(path, memoryview(data), number)
    except Damaged:
        first_seq = None
    frames = list(_frames_after(data, HEADER_BYTES - 1, number))
    bad, good_to = [], HEADER_BYTES if first_seq is not None else 0
    for frame in frames:
        if frame.offset > good_to:
            bad.append((good_to, frame.offset))
        good_to = frame.end
    if len(data) > good_to:
        bad.append((good_to, len(data)))
    return Remains(path, number, first_seq, frames, bad)


# -- writing -----------------------------------------------------------------------------------------------------------


class Segment:
    """A segment being written. Not thread-safe: one thread at a time.

    `size` is the offset up to which everything is on disk. `broken` is set once that can no longer be relied on for
    what comes after it; then another segment has to go on.
    """

    def __init__(self, fd: int, path: Path, number: int, first_seq: int, disk: Disk) -> None:
        self.path = path
        self.number = number
        self.first_seq = first_seq
        self.size = HEADER_BYTES
        self.records = 0
        self.broken = False
        self._fd = fd
        self._disk = disk

    @classmethod
    def create(cls, directory: Path, number: int, first_seq: int, *, disk: Disk = DISK) -> Self:
        """A new segment whose header and name are on disk. Raises OSError, leaving no file if that can be helped."""
        path = new_path(directory, number)
        return cls.begin(disk.create(path), path, number, first_seq, disk=disk)

    @classmethod
    def begin(cls, fd: int, path: Path, number: int, first_seq: int, *, disk: Disk = DISK) -> Self:
        """The same with a file just made. If it fails the file is removed, but may be there again after a power cut."""
        try:
            write_all(disk, fd, _header(number, first_seq))
            disk.sync(fd)
            disk.sync_directory(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                disk.close(fd)
            with contextlib.suppress(OSError):
                disk.remove(path)
            raise
        return cls(fd, path, number, first_seq, disk)

    def append(self, records: Sequence[bytes]) -> None:
        """Write one batch and return when it is on disk.

        Raises OSError; then the batch is not there, as far as the disk lets us take it back. After a failed sync the
        segment is `broken`: what the page cache says about it is not what the disk has.
        """
        if self.broken:
            raise OSError(f"{self.path}: cannot go on after a failed write")
        batch = _batch(self.number, self.size, records)
        try:
            write_all(self._disk, self._fd, batch)
        except BaseException:
            self._take_back()
            raise
        try:
            self._disk.sync(self._fd)
        except BaseException:
            self._take_back()
            self.broken = True
            raise
        self.size += len(batch)
        self.records += len(records)

    def _take_back(self) -> None:
        try:
            self._disk.truncate(self._fd, self.size)
        except OSError:
            self.broken = True

    def close(self) -> None:
        """Give the descriptor back; everything appended is on disk already."""
        with contextlib.suppress(OSError):
            self._disk.close(self._fd)
