"""A disk that fails on command, counts, and can be stopped in the middle of a sync."""

import errno
import os
import threading

from gflow.store.disk import Disk


class FaultyDisk(Disk):
    """The real disk, until told otherwise.

    - failing: names of calls that raise, with their error number.
    - room: how many more bytes fit; None: any number.
    - calls: the names of all calls, in order.
    """

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}
        self.room: int | None = None
        self.calls: list[str] = []
        self.syncing = threading.Event()
        self._may_sync = threading.Event()
        self._may_sync.set()

    def hold_syncs(self) -> None:
        """Let the next sync hang until `release_syncs`; `syncing` says that one does."""
        self.syncing.clear()
        self._may_sync.clear()

    def release_syncs(self) -> None:
        """Let syncs go on."""
        self._may_sync.set()

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            number = self.failing[name]
            raise OSError(number, os.strerror(number))

    def create(self, path):
        self._called("create")
        return super().create(path)

    def write(self, fd, data):
        self._called("write")
        if self.room is None:
            return super().write(fd, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = super().write(fd, data[: self.room])
        self.room -= taken
        return taken

    def sync(self, fd):
        self.syncing.set()
        assert self._may_sync.wait(30)
        self._called("sync")
        super().sync(fd)

    def open_in_place(self, path):
        self._called("open_in_place")
        return super().open_in_place(path)

    def overwrite(self, fd, data):
        self._called("overwrite")
        super().overwrite(fd, data)

    def write_again(self, path, offset, data):
        self._called("write_again")
        super().write_again(path, offset, data)

    def make_directory(self, path):
        self._called("make_directory")
        super().make_directory(path)

    def truncate(self, fd, size):
        self._called("truncate")
        super().truncate(fd, size)

    def replace(self, source, target):
        self._called("replace")
        super().replace(source, target)

    def remove(self, path):
        self._called("remove")
        super().remove(path)

    def sync_directory(self, path):
        self._called("sync_directory")
        super().sync_directory(path)
