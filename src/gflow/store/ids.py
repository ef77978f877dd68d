"""The high-water mark `ids`: whatever else is lost or put back, no id below it is ever given again.

The file is JSON, one line: {"next": N, "generation": G, "seq": S, "crc32": of the three}. As of transaction S of
generation G, ids below N were given or set aside. Ids are set aside in steps, before the first transaction that needs
them, so the file is rarely written; a clean stop writes exactly where ids and transactions stand.

That file alone would take any copy made since the last step for the latest state. So beside it is `ids.latest`, which
says after every batch where ids and transactions stand. It is overwritten in place and synced at a step and at a stop
only (see `in_place`): exact after kill -9, and after a power cut some moments behind at most.

    8 magic "gflowids" · u64 next · u64 generation · u64 seq · u32 CRC-32 of those, little-endian

What counts is the further of the two. It is written when the transactions it speaks of are on disk, so the state as it
was left is never older than that.

A state that is not older than the mark says itself which id is next, and there is no gap. If it is older (it was
lost, damaged, or is a copy from an earlier day) the mark does. The generation, a setting of the state, goes up whenever
a state is put together anew; then transactions may be counted on from less than there once were.
"""

import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gflow.store.disk import DISK, Disk, open_regular, read_regular, write_over
from gflow.store.errors import Damaged
from gflow.store.history import History, HistoryError
from gflow.store.in_place import InPlace, pack, unpack

NAME = "ids"
LATEST = "ids.latest"
STEP = 256
"""How many ids are set aside at a time: as many may be left out when the state is lost."""

GENERATION = "generation"
"""The setting that says how often the state was put together anew; not there: never."""

_MAGIC = b"gflowids"
_LATEST_BYTES = len(pack(_MAGIC, (0, 0, 0)))

_LOG = re.compile(r"([1-9][0-9]{0,14})\.log")


@dataclass(frozen=True, slots=True)
class Mark:
    """`next`: the lowest id that was neither given nor set aside as of transaction `seq` of `generation`."""

    next: int = 1
    seq: int = 0
    generation: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """For comparing: a state at a lower place is older."""
        return self.generation, self.seq


def generation_of(settings: Mapping[str, Any]) -> int:
    """The generation of a state with these settings."""
    found = settings.get(GENERATION, 0)
    return found if isinstance(found, int) else 0


def read_mark(data_dir: Path) -> Mark | None:
    """The mark, None if there is none. Raises Damaged or OSError."""
    path = data_dir / NAME
    try:
        said = json.loads(read_regular(path))
        mark = Mark(said["next"], said["seq"], said["generation"])
        sound = type(mark.next) is type(mark.seq) is type(mark.generation) is int and said["crc32"] == _crc(mark)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise Damaged(path, 0, "it does not hold a mark with its checksum")
    return mark


def read_latest(data_dir: Path) -> Mark | None:
    """Where things stood after the last batch, None if that is not said. Raises Damaged or OSError."""
    path = data_dir / LATEST
    try:
        with open_regular(path) as file:
            data = file.read(_LATEST_BYTES)
    except FileNotFoundError:
        return None
    if not data.strip(b"\0"):
        return None  # the power went before it said anything
    found = unpack(data, _MAGIC, 3)
    if found is None:
        raise Damaged(path, 0, "it does not hold a mark with its checksum")
    return Mark(next=found[0], generation=found[1], seq=found[2])


def furthest(*marks: Mark | None) -> Mark | None:
    """What several marks say together, None if there is none."""
    there = [mark for mark in marks if mark is not None]
    if not there:
        return None
    generation, seq = max(mark.place for mark in there)
    return Mark(max(mark.next for mark in there), seq, generation)


def _crc(mark: Mark) -> int:
    return zlib.crc32(b"%d %d %d" % (mark.next, mark.generation, mark.seq))


class Ids:
    """Sets ids aside, going on from `mark`, for a state of this generation.

    Methods block on the disk; those that raise OSError say so. One thread at a time.
    """

    def __init__(self, data_dir: Path, mark: Mark, generation: int = 0, *, disk: Disk = DISK) -> None:
        self._path = data_dir / NAME
        self._mark = mark
        self._generation = generation
        self._disk = disk
        self._latest = InPlace(data_dir / LATEST, _MAGIC, disk)

    def reserve(self, next_id: int, seq: int) -> None:
        """Return when every id below `next_id` is set aside; `seq` is the last transaction that is on disk.

        Raises OSError.
        """
        if next_id > self._mark.next:
            generation, seq = max((self._generation, seq), self._mark.place)
            self._write(Mark(next_id + STEP, seq, generation))
            self._latest.sync()

    def note(self, next_id: int, seq: int) -> None:
        """Everything up to transaction `seq` is on disk, and the next id is `next_id`. Costs one call; never raises.

        Nothing is noted of a state that is behind the mark.
        """
        if (self._generation, seq) >= self._mark.place:
            self._latest.put(next_id, self._generation, seq)

    def settle(self, next_id: int, seq: int) -> None:
        """Write where ids and transactions stand, everything being on disk. A mark that is ahead of that stays.

        Raises OSError.
        """
        mark = Mark(next_id, seq, self._generation)
        self.note(next_id, seq)
        self._latest.sync()
        if mark.place >= self._mark.place and mark != self._mark:
            self._write(mark)

    def close(self) -> None:
        """Give the descriptor back; what was noted is on disk then."""
        self._latest.close()

    def _write(self, mark: Mark) -> None:
        said = {"next": mark.next, "generation": mark.generation, "seq": mark.seq, "crc32": _crc(mark)}
        write_over(self._disk, self._path, [json.dumps(said).encode() + b"\n"])
        self._mark = mark


def logged_ids(data_dir: Path) -> set[int]:
    """The jobs that have a log: they were launched once. Raises OSError."""
    try:
        names = os.listdir(data_dir / "logs")
    except FileNotFoundError:
        return set()
    return {int(match[1]) for name in names if (match := _LOG.fullmatch(name))}


def highest_id_seen(data_dir: Path, below: int | None, warnings: list[str]) -> int:
    """The highest id that logs and history know of, 0 if none.

    Ids from `below` on (None: any) are not believed: they were never given, so such a log is not ours.
    """
    try:
        ids = logged_ids(data_dir)
    except OSError as error:
        warnings.append(f"{data_dir / 'logs'}: cannot be looked at for ids that were given: {error.strerror}")
        ids = set()
    history = History(data_dir)
    try:
        ids.add(history.highest_id())
    except HistoryError as error:
        warnings.append(f"{error}; it cannot be asked for ids that were given")
    finally:
        history.close()
    return max((seen for seen in ids if below is None or seen < below), default=0)
