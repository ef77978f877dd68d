"""Every system call that changes the store, in one place.

What is durable depends on the order of these calls and on nothing else, so tests put a failing or a forgetful disk
in this one's place and see the whole truth. Files are born 0600 and directories 0700.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_IN_PLACE = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class Disk:
    """The real disk. All methods raise OSError."""

    def create(self, path: Path) -> int:
        """A descriptor that appends to a new file; the file must not exist."""
        return os.open(path, _CREATE, FILE_MODE)

    def open_in_place(self, path: Path) -> int:
        """A descriptor for `overwrite`; the file is made if it is missing."""
        return os.open(path, _IN_PLACE, FILE_MODE)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Append; returns how many bytes were taken."""
        return os.write(fd, data)

    def overwrite(self, fd: int, data: bytes) -> None:
        """Put `data`, which is less than a sector, in the place of the file's first bytes."""
        os.pwrite(fd, data, 0)

    def sync(self, fd: int) -> None:
        """Return once the data of the file, and its size, are on the medium."""
        os.fdatasync(fd)

    def write_again(self, path: Path, offset: int, data: bytes) -> None:
        """Return once bytes that a file has anyway are on the medium, also if syncing them has failed before.

        After a failed sync the kernel takes what it has in memory for what is on the medium; written again, it is not.
        """
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.pwrite(fd, rest, offset + len(data) - len(rest)) :]
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(fd, size)

    def close(self, fd: int) -> None:
        """Give the descriptor back."""
        os.close(fd)

    def replace(self, source: Path, target: Path) -> None:
        """Rename, over `target` if it exists."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def make_directory(self, path: Path) -> None:
        """Make a directory in one that is there."""
        path.mkdir(mode=DIRECTORY_MODE)

    def sync_directory(self, path: Path) -> None:
        """Return once the names in a directory are on the medium, where its file system can say so."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(fd)


DISK = Disk()


def open_regular(path: Path) -> BinaryIO:
    """A file for reading. Raises OSError, also if it is none: a pipe or a device might never come to an end."""
    try:
        fd = os.open(path, _READ)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise _not_regular(path) from None
        raise
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise _not_regular(path)
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def _not_regular(path: Path) -> OSError:
    return OSError(errno.EINVAL, "is not a regular file", os.fspath(path))


def read_regular(path: Path) -> bytes:
    """All that is in a file. Raises as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def write_all(disk: Disk, fd: int, data: bytes) -> None:
    """Append all of `data`, however many calls it takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[disk.write(fd, rest) :]


def write_new(disk: Disk, path: Path, chunks: Iterable[bytes], *, sync_every: int = 1 << 20) -> None:
    """Make the file `path` of `chunks`, with its content on the medium; the name is not until the directory is synced.

    Syncing every `sync_every` bytes keeps a long file from piling up work that another file's sync would wait for.
    If it fails there is no file.
    """
    fd = disk.create(path)
    try:
        try:
            unsynced = 0
            for chunk in chunks:
                write_all(disk, fd, chunk)
                unsynced += len(chunk)
                if unsynced >= sync_every:
                    disk.sync(fd)
                    unsynced = 0
            disk.sync(fd)
        finally:
            disk.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.remove(path)
        raise


def write_over(disk: Disk, path: Path, chunks: Iterable[bytes]) -> None:
    """Put a file made of `chunks` in the place of `path`; it is on disk, name and content, when this returns.

    Raises OSError; then `path` is as it was, or, after a failed sync of the directory, one of the two.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        disk.remove(temporary)
    write_new(disk, temporary, chunks)
    try:
        disk.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.remove(temporary)
        raise
    disk.sync_directory(path.parent)


def private_directory(path: Path, *, disk: Disk = DISK) -> None:
    """Make a directory, and those above it that are missing, for the owner only. Their names are on disk then."""
    if path.is_dir():
        return
    private_directory(path.parent, disk=disk)
    sync_name(path.parent, disk=disk)  # whoever made that may have been killed before it came to this
    with contextlib.suppress(FileExistsError):
        disk.make_directory(path)
    sync_name(path, disk=disk)


def sync_name(path: Path, *, disk: Disk = DISK) -> None:
    """Return once the name `path` is on the medium, unless whoever we are may not look into the directory it is in."""
    with contextlib.suppress(PermissionError):
        disk.sync_directory(path.parent)
