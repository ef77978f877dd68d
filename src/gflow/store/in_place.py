"""Small marks that are overwritten in place, in files of their own: how far things had got, at the cost of one call.

    8 magic · u64 for each number · u32 CRC-32 of those, little-endian

A mark is written when what it says is on disk, and is not synced in its turn. So it survives a killed daemon, reaches
the disk when the kernel finds the time (within half a minute) or when it is told to, and whatever is found was true.
"""

import contextlib
import struct
import zlib
from pathlib import Path

from gflow.store.disk import DISK, Disk

MAGIC_BYTES = 8
_CRC = struct.Struct("<I")


def pack(magic: bytes, numbers: tuple[int, ...]) -> bytes:
    """The bytes of a mark; `magic` are eight of them."""
    said = struct.pack(f"<{MAGIC_BYTES}s{len(numbers)}Q", magic, *numbers)
    return said + _CRC.pack(zlib.crc32(said))


def unpack(data: bytes, magic: bytes, count: int) -> tuple[int, ...] | None:
    """The `count` numbers that a mark of this kind holds, None if `data` does not begin with one."""
    body = struct.Struct(f"<{MAGIC_BYTES}s{count}Q")
    if len(data) < body.size + _CRC.size:
        return None
    found, *numbers = body.unpack_from(data)
    sound = found == magic and _CRC.unpack_from(data, body.size)[0] == zlib.crc32(data[: body.size])
    return tuple(numbers) if sound else None


class InPlace:
    """Writes the mark `path`. Errors are passed over: an older mark is as true, and says less. One thread at a time."""

    def __init__(self, path: Path, magic: bytes, disk: Disk = DISK) -> None:
        self._path = path
        self._magic = magic
        self._disk = disk
        self._fd: int | None = None

    def put(self, *numbers: int) -> None:
        """Overwrite it."""
        with contextlib.suppress(OSError):
            if self._fd is None:
                self._fd = self._disk.open_in_place(self._path)
            self._disk.overwrite(self._fd, pack(self._magic, numbers))

    def sync(self) -> None:
        """Have what was put on disk, too."""
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
