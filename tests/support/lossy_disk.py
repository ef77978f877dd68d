"""A disk that keeps only what was synced: a power cut loses, tears and reorders everything else.

Real files show what the page cache shows, to whoever reads them. Beside them the disk remembers what the medium may
hold. `cut` then leaves, as somebody chooses:

- of every file: any length it had since its last sync, or one in between; of each sector of 512 bytes any content it
  had since then, or zeros where nothing was durable, or the beginning of one and the end of another, torn at any byte;
- of every directory: for each name, whatever it stood for at any time since the directory's last sync, each name on its
  own. That is worse than any file system does: renames are not atomic, and files come back that were removed.

Calls can be made to fail, at any of them the process can be killed or the power can go, and syncs can be made to lie
(`Fault`, `lies`), which is how tests show that they would notice.
"""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gflow.store.disk import DIRECTORY_MODE
from support.traced_disk import TracedDisk

SECTOR = 512

Choose = Callable[[int], int]
"""Given n, a number below n. 0 stands for the least that can be lost: nothing new is on the medium."""


class Killed(BaseException):
    """The process is gone; nothing it would still do happens."""


class PowerCut(Killed):
    """And so is all that was in memory."""


@dataclass(frozen=True)
class Fault:
    """What becomes of one call.

    - end: the process ends there, by this. Without it the call fails with the error `number`.
    - part: how much of a write, in sixteenths, still takes place; other calls take place if it is at least 8.
    """

    part: int = 0
    number: int = errno.EIO
    end: type[Killed] | None = None


class File:
    """What is in a file, and what of that the medium may have: any mixture of `versions`, the last being all of it.

    - given_up: sectors whose sync has failed. The kernel takes what is in memory for what is on the medium, so no sync
      writes them any more, unless they are written to again.
    """

    def __init__(self) -> None:
        self.versions = [b""]
        self.given_up: set[int] = set()

    @property
    def content(self) -> bytes:
        return self.versions[-1]

    def becomes(self, content: bytes, start: int, stop: int) -> None:
        """The bytes from `start` to `stop` have been written."""
        self.versions.append(content)
        self.given_up.difference_update(_sectors(start, stop))

    def sync(self) -> None:
        before = self.versions if self.given_up else []
        self.versions = [*(self._but_for_given_up(version) for version in before), self.content]

    def _but_for_given_up(self, version: bytes) -> bytes:
        """The content now, with those sectors as in `version`."""
        sectors = (version if n in self.given_up else self.content for n in _sectors(0, len(self.content)))
        return b"".join(_sector(content, n) for n, content in enumerate(sectors))[: len(self.content)]

    def sync_failed(self) -> None:
        changed = [n for n in _sectors(0, max(map(len, self.versions))) if len(self._contents(n)) > 1]
        self.given_up.update(changed)

    def _contents(self, number: int) -> list[bytes]:
        """What a sector may have on the medium."""
        return list(dict.fromkeys(_sector(version, number) for version in self.versions))

    def after_cut(self, choose: Choose) -> bytes:
        """What is left of it."""
        sizes = [len(version) for version in self.versions]
        size = sizes[0] if len(self.versions) == 1 else _between(min(sizes), max(sizes), sizes[0], choose)
        return b"".join(self._sector(number, choose) for number in _sectors(0, size))[:size]

    def _sector(self, number: int, choose: Choose) -> bytes:
        """One sector as it may be on the medium: as it was, as it was to become, or a bit of two of those."""
        distinct = self._contents(number)
        if len(distinct) == 1:
            return distinct[0]
        first = distinct[choose(len(distinct))]
        if not choose(2):
            return first
        at = choose(SECTOR)
        return first[:at] + distinct[choose(len(distinct))][at:]


class Directory:
    """The names in a directory, and which of them the medium may have."""

    def __init__(self) -> None:
        self.versions: list[dict[str, File | Directory]] = [{}]

    @property
    def entries(self) -> dict[str, "File | Directory"]:
        return self.versions[-1]

    def becomes(self, **changes: "File | Directory | None") -> None:
        entries = self.entries | changes
        self.versions.append({name: node for name, node in entries.items() if node is not None})

    def sync(self) -> None:
        self.versions = [self.entries]

    def after_cut(self, choose: Choose) -> dict[str, "File | Directory"]:
        """The names that are left, and what they stand for."""
        left = {}
        for name in dict.fromkeys(name for version in self.versions for name in version):
            possible = list(dict.fromkeys(version.get(name) for version in self.versions))
            node = possible[choose(len(possible))] if len(possible) > 1 else possible[0]
            if node is not None:
                left[name] = node
        return left


def _sectors(start: int, stop: int) -> range:
    return range(start // SECTOR, -(-stop // SECTOR))


def _sector(content: bytes, number: int) -> bytes:
    return content[number * SECTOR : (number + 1) * SECTOR].ljust(SECTOR, b"\0")


def _between(low: int, high: int, usual: int, choose: Choose) -> int:
    """`usual`, or any number from `low` to `high`."""
    return usual if not choose(2) else low + choose(high - low + 1)


class LossyDisk(TracedDisk):
    """The files below `root`, which must be an empty directory.

    - calls: the names of all calls so far. faults: what becomes of some of those to come, by number, from 1.
    - lies: names of calls that do nothing and say they have.
    """

    def __init__(self, root: Path, *, lies: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.root = root
        self.lies = lies
        self.calls: list[str] = []
        self.faults: dict[int, Fault] = {}
        self._tree = Directory()
        self._open: dict[int, File] = {}
        self._ended: type[Killed] | None = None

    # -- the end, and after it

    def end(self, how: type[Killed]) -> None:
        """The process ends between two calls."""
        self._ended = how

    def restart(self, choose: Choose) -> None:
        """Another process begins, after a power cut on what that has left."""
        if self._ended is PowerCut:
            self.cut(choose)
        self._give_descriptors_back()
        self._ended = None
        self.faults.clear()

    def cut(self, choose: Choose) -> None:
        """Take away what the medium does not have."""
        self._tree = _settled(self._tree, choose)
        shutil.rmtree(self.root)
        _materialise(self._tree, self.root)

    def _give_descriptors_back(self) -> None:
        for fd in list(self._open):
            os.close(fd)
        self._open.clear()

    # -- faults

    def _do(self, name: str, effect: Callable[[int], None], failed: Callable[[], None] = lambda: None) -> None:
        """Carry out a call, `effect` being told how many sixteenths of it take place. `failed` is for when it fails."""
        if self._ended is not None:
            raise self._ended
        self.calls.append(name)
        fault = self.faults.pop(len(self.calls), None)
        if fault is None:
            effect(16)
            return
        effect(fault.part)
        if fault.end is not None:
            self._ended = fault.end
            raise fault.end
        failed()
        raise OSError(fault.number, os.strerror(fault.number))

    def _whole(self, name: str, effect: Callable[[], None]) -> None:
        self._do(name, lambda part: effect() if part >= 8 else None)

    def _synced(self, name: str, file: File) -> None:
        def effect(part: int) -> None:
            if part >= 8 and name not in self.lies:
                file.sync()

        self._do(name, effect, file.sync_failed)

    # -- where things are

    def _directory(self, path: Path) -> Directory:
        node: File | Directory = self._tree
        for name in path.relative_to(self.root).parts:
            assert isinstance(node, Directory)
            node = node.entries[name]
        assert isinstance(node, Directory)
        return node

    def _file(self, path: Path) -> File:
        node = self._directory(path.parent).entries[path.name]
        assert isinstance(node, File)
        return node

    # -- the calls

    def create(self, path: Path) -> int:
        opened: list[int] = []
        self._whole("create", lambda: self._created(path, opened))
        return opened[0]

    def _created(self, path: Path, opened: list[int]) -> None:
        opened.append(super().create(path))
        self._open[opened[0]] = File()
        self._directory(path.parent).becomes(**{path.name: self._open[opened[0]]})

    def open_in_place(self, path: Path) -> int:
        opened: list[int] = []
        self._whole("open_in_place", lambda: self._opened_in_place(path, opened))
        return opened[0]

    def _opened_in_place(self, path: Path, opened: list[int]) -> None:
        opened.append(super().open_in_place(path))
        directory = self._directory(path.parent)
        if path.name not in directory.entries:
            directory.becomes(**{path.name: File()})
        self._open[opened[0]] = self._file(path)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        def effect(part: int) -> None:
            taken = bytes(data[: len(data) * part // 16])
            super(LossyDisk, self).write(fd, taken)
            file = self._open[fd]
            file.becomes(file.content + taken, len(file.content), len(file.content) + len(taken))

        self._do("write", effect)
        return len(data)

    def overwrite(self, fd: int, data: bytes) -> None:
        def effect() -> None:
            super(LossyDisk, self).overwrite(fd, data)
            self._open[fd].becomes(data + self._open[fd].content[len(data) :], 0, len(data))

        self._whole("overwrite", effect)

    def truncate(self, fd: int, size: int) -> None:
        def effect() -> None:
            super(LossyDisk, self).truncate(fd, size)
            self._open[fd].becomes(self._open[fd].content[:size], size, size)

        self._whole("truncate", effect)

    def sync(self, fd: int) -> None:
        self._synced("sync", self._open[fd])

    def write_again(self, path: Path, offset: int, data: bytes) -> None:
        file = self._file(path)
        assert file.content[offset : offset + len(data)] == data
        if self._ended is None and "write_again" not in self.lies:
            file.becomes(file.content, offset, offset + len(data))
        self._synced("write_again", file)

    def close(self, fd: int) -> None:
        if self._ended is not None:
            raise self._ended
        super().close(fd)
        del self._open[fd]

    def replace(self, source: Path, target: Path) -> None:
        def effect() -> None:
            super(LossyDisk, self).replace(source, target)
            node = self._file(source)
            self._directory(source.parent).becomes(**{source.name: None, target.name: node})

        assert source.parent == target.parent
        self._whole("replace", effect)

    def remove(self, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(path)

        def effect() -> None:
            super(LossyDisk, self).remove(path)
            self._directory(path.parent).becomes(**{path.name: None})

        self._whole("remove", effect)

    def make_directory(self, path: Path) -> None:
        def effect() -> None:
            super(LossyDisk, self).make_directory(path)
            self._directory(path.parent).becomes(**{path.name: Directory()})

        self._whole("make_directory", effect)

    def sync_directory(self, path: Path) -> None:
        def effect() -> None:
            if "sync_directory" not in self.lies and path != self.root.parent:
                self._directory(path).sync()

        self._whole("sync_directory", effect)


def _settled(directory: Directory, choose: Choose) -> Directory:
    """What is left of a directory: all of it durable now."""
    settled = Directory()
    for name, node in directory.after_cut(choose).items():
        if isinstance(node, Directory):
            settled.versions[0][name] = _settled(node, choose)
        else:
            file = File()
            file.versions = [node.after_cut(choose)]
            settled.versions[0][name] = file
    return settled


def _materialise(directory: Directory, path: Path) -> None:
    path.mkdir(mode=DIRECTORY_MODE)
    for name, node in directory.entries.items():
        if isinstance(node, Directory):
            _materialise(node, path / name)
        else:
            (path / name).write_bytes(node.content)
