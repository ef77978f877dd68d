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

from pathlib import Path

from gflow.store.disk import DISK, Disk, open_regular
from gflow.store.in_place import InPlace, pack, unpack

NAME = "wal.acknowledged"

_MAGIC = b"gflowack"
_BYTES = len(pack(_MAGIC, (0,)))


def acknowledged(directory: Path) -> int:
    """The seq up to which everything was on disk once; 0 if that is not known."""
    try:
        with open_regular(directory / NAME) as file:
            found = unpack(file.read(_BYTES), _MAGIC, 1)
    except OSError:
        return 0
    return found[0] if found is not None else 0


class Mark:
    """Writes the file in `directory`. Errors are passed over: an older number is as true, and says less."""

    def __init__(self, directory: Path, disk: Disk = DISK) -> None:
        self._file = InPlace(directory / NAME, _MAGIC, disk)

    def note(self, seq: int) -> None:
        """Everything up to `seq` is on disk."""
        self._file.put(seq)

    def sync(self) -> None:
        """Have what was noted on disk, too."""
        self._file.sync()

    def close(self) -> None:
        """The same, and give the descriptor back."""
        self._file.close()
