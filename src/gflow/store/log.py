"""The log as one thing to append to, whichever segment it is in.

Segment numbers only ever go up. A segment that failed is left as it is, and the next one goes on at the same seq; that
voids whatever of the failed batch may still turn up in the old one.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from gflow.store.disk import DISK, Disk
from gflow.store.wal import Segment, segment_numbers, segment_path


class Log:
    """Appends to segments after number `last`. Makes no file before there is something to write.

    Not thread-safe: one thread at a time.
    """

    def __init__(self, directory: Path, last: int, *, disk: Disk = DISK) -> None:
        self._directory = directory
        self._last = last
        self._disk = disk
        self._segment: Segment | None = None

    def append(self, records: Sequence[bytes], first_seq: int) -> None:
        """Write one batch, whose first record has `first_seq`; return when it is on disk. Raises OSError: it is not."""
        if self._segment is None or self._segment.broken:
            self._start(first_seq)
        assert self._segment is not None
        self._segment.append(records)

    def rotate(self, first_seq: int) -> int:
        """The number of a segment that is on disk and starts with `first_seq`. Raises OSError; the old one stays."""
        segment = self._segment
        if segment is None or segment.broken or segment.records or segment.first_seq != first_seq:
            self._start(first_seq)
        return self._last

    def _start(self, first_seq: int) -> None:
        self._last += 1
        segment = Segment.create(self._directory, self._last, first_seq, disk=self._disk)
        self.close()
        self._segment = segment

    def close(self) -> None:
        """Give the descriptor back."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None


def remove_segments(directory: Path, before: int, *, disk: Disk = DISK) -> None:
    """Remove the segments numbered below `before`, oldest first, so that no gap is ever left. Raises OSError."""
    for number in segment_numbers(directory):
        if number >= before:
            break
        with contextlib.suppress(FileNotFoundError):
            disk.remove(segment_path(directory, number))
