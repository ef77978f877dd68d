"""How far the log was on disk for certain, kept apart from the log: the file `wal.acknowledged`.

A write that was never finished and a last batch that has rotted look alike, and only the first may be cut off without
a word. So after each sync of the log the seq of its last transaction is put here. That is not synced in its turn: it
costs one system call, survives a killed daemon, and reaches the disk when the kernel finds the time (within half a
minute), when a new segment begins, and when the daemon stops. Since it is only written after the log is on disk,
whatever number is found here was true: a log that ends before it has lost something. None can be told for what was
acknowledged in the last moments before a power cut.

    8 magic "gflowack" · u64 seq · u32 CRC-32 of those, little-endian

A file that is missing says nothing; of one that is unreadable there is a warning at the start.
"""

import contextlib
import struct
import zlib
from pathlib import Path

from gflow.store.disk import DISK, Disk

NAME = "wal.acknowledged"

_MAGIC = b"gflowack"
_MARK = struct.Struct("<8sQ")
_CRC = struct.Struct("<I")
_BYTES = _MARK.size + _CRC.size


def acknowledged(directory: Path) -> int:
    """The seq up to which everything was on disk once; 0 if that is not known."""
    try:
        with (directory / NAME).open("rb") as file:
            data = file.read(_BYTES)
    except OSError:
        return 0
    if len(data) < _BYTES or data[: len(_MAGIC)] != _MAGIC or _CRC.unpack_from(data, _MARK.size)[0] != _crc(data):
        return 0
    return int(_MARK.unpack_from(data)[1])


def _crc(data: bytes) -> int:
    return zlib.crc32(data[: _MARK.size])


class Mark:
    """Writes the file in `directory`. Errors are passed over: an older number is as true, and says less."""

    def __init__(self, directory: Path, disk: Disk = DISK) -> None:
        self._path = directory / NAME
        self._disk = disk
        self._fd: int | None = None

    def note(self, seq: int) -> None:
        """Everything up to `seq` is on disk."""
        mark = _MARK.pack(_MAGIC, seq)
        with contextlib.suppress(OSError):
            if self._fd is None:
                self._fd = self._disk.open_in_place(self._path)
            self._disk.overwrite(self._fd, mark + _CRC.pack(_crc(mark)))

    def sync(self) -> None:
        """Have what was noted on disk, too."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                self._disk.sync(self._fd)

    def close(self) -> None:
        """The same, and give the descriptor back."""
        if self._fd is not None:
            self.sync()
            with contextlib.suppress(OSError):
                self._disk.close(self._fd)
            self._fd = None
