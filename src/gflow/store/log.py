"""The log as one thing to append to, whichever segment it is in.

Segment numbers only ever go up. A segment that failed is left as it is, and the next one goes on at the same seq; that
voids whatever of the failed batch may still turn up in the old one.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from gflow.store.acknowledged import Mark
from gflow.store.disk import DISK, Disk, sync_name
from gflow.store.wal import Segment, Tail, new_path, segment_numbers, segment_path


class Log:
    """Appends to segments after number `last`, going on from `tail`. Makes no file before there is something to write.

    A batch that failed must be tried again as it was, before any other. Not thread-safe: one thread at a time.
    """

    def __init__(self, directory: Path, last: int, tail: Tail | None = None, *, disk: Disk = DISK) -> None:
        self._directory = directory
        self._last = last
        self._tail = tail
        self._disk = disk
        self._segment: Segment | None = None
        self._took_over = False
        self._mark = Mark(directory, disk)

    def append(self, records: Sequence[bytes], first_seq: int) -> None:
        """Write one batch, whose first record has `first_seq`; return when it is on disk. Raises OSError: it is not."""
        if self._segment is None or self._segment.broken:
            self._start(first_seq)
        assert self._segment is not None
        self._segment.append(records)
        self._mark.note(first_seq + len(records) - 1)

    def rotate(self, first_seq: int) -> int:
        """The number of a segment that is on disk and starts with `first_seq`. Raises OSError; `append` goes on."""
        segment = self._segment
        if segment is None or segment.broken or segment.records or segment.first_seq != first_seq:
            self._start(first_seq)
        return self._last

    def _start(self, first_seq: int) -> None:
        self.secure()
        self._last += 1
        path = new_path(self._directory, self._last)
        self._mark.sync()
        fd = self._disk.create(path)
        # If the rest fails the file may still be there after a power cut, and void what older segments hold from
        # `first_seq` on. So from here on none of them gets any more.
        self._close_segment()
        self._segment = Segment.begin(fd, path, self._last, first_seq, disk=self._disk)

    def secure(self) -> None:
        """Put on disk what was found: an earlier process may have been killed between writing and syncing it.

        What this one writes goes on from there, so a power cut must not take the one without the other. Raises OSError.
        """
        if self._took_over:
            return
        sync_name(self._directory, disk=self._disk)
        if self._tail is not None:
            self._tail.secure(self._disk)
        self._took_over = True

    def close(self) -> None:
        """Give the descriptors back. Then it is known for certain how far the log goes."""
        self._close_segment()
        self._mark.close()

    def _close_segment(self) -> None:
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
