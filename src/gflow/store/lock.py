"""One daemon per data directory: a lock that is held for life.

The kernel drops it when the holder dies, however it dies, so a file left behind locks nothing. The file says who holds
it; the directory itself is locked, too, so that nobody gets in because the file was removed.

When a daemon leaves, the file goes on to say where it listened, until `gflowd down` is said (`forget`): commands mean
that daemon also while it is restarted or has crashed, rather than one of all users (`gflow.client.endpoint`).
"""

import contextlib
import errno
import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from gflow.store.disk import DIRECTORY_MODE, FILE_MODE, private_directory

NAME = "gflowd.lock"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Held(Exception):
    """Another daemon has the data directory. `pid` and `socket` are None if it has not said yet."""

    def __init__(self, data_dir: Path, pid: int | None, socket: str | None) -> None:
        who = f"gflowd, process {pid}" if pid is not None else "another gflowd"
        where = f" (listening on {socket})" if socket else ""
        super().__init__(f"{data_dir} is in use by {who}{where}: stop that one first, or use another directory")
        self.pid = pid
        self.socket = socket


class DataLock:
    """The lock on `data_dir`, held from construction to `close` or the end of the process.

    Makes the directory, 0700, if it is missing. Without a `socket` it is no daemon's: what the file said before it says
    again afterwards. Raises Held, or OSError if the directory cannot be used.
    """

    def __init__(self, data_dir: Path, *, socket: str, started: float) -> None:
        private_directory(data_dir)
        _close_to_others(data_dir)
        self.path = data_dir / NAME
        self._directory = os.open(data_dir, _DIRECTORY)
        try:
            self._open(data_dir, socket, started)
        except BaseException:
            os.close(self._directory)
            raise

    def _open(self, data_dir: Path, socket: str, started: float) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        try:
            self._take(data_dir)
            self._afterwards = _json({"socket": socket}) if socket else os.pread(self._fd, 4096, 0)
            self._say(_json({"pid": os.getpid(), "started": started, "socket": socket}))
        except BaseException:
            os.close(self._fd)
            raise

    def _take(self, data_dir: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, socket = _holder(os.pread(self._fd, 4096, 0))
            raise Held(data_dir, pid, socket) from None
        if not _flock(self._directory, fcntl.LOCK_EX):
            raise Held(data_dir, None, None)

    def _say(self, body: bytes) -> None:
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, body, 0)

    def close(self) -> None:
        """Let the next daemon in."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._say(self._afterwards)
            os.close(self._fd)
            os.close(self._directory)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _flock(descriptor: int, kind: int) -> bool:
    """Whether nobody stands in the way of a lock; some file systems have none for directories."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _close_to_others(data_dir: Path) -> None:
    """A directory that was there may be open; nothing in it is for others. Raises PermissionError if it is not ours."""
    found = data_dir.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"belongs to user {found.st_uid}", os.fspath(data_dir))
    if found.st_mode & 0o077:
        data_dir.chmod(DIRECTORY_MODE)


def _json(said: dict[str, object]) -> bytes:
    return json.dumps(said).encode(errors="surrogateescape")


def forget(data_dir: Path) -> None:
    """Have the file say nothing of a daemon that was stopped for good. One that has the directory is left alone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(data_dir / NAME, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


def holder(data_dir: Path) -> int | None:
    """The pid of the daemon that has the data directory, None if none does."""
    return _held_by(data_dir)[0]


def socket_of_holder(data_dir: Path) -> str | None:
    """Where the daemon that has the data directory listens, None if none does, or it has not said yet."""
    return _held_by(data_dir)[1]


def _held_by(data_dir: Path) -> tuple[int | None, str | None]:
    try:
        descriptor = os.open(data_dir / NAME, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None, None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(os.pread(descriptor, 4096, 0))
    finally:
        os.close(descriptor)
    return None, None


def _holder(body: bytes) -> tuple[int | None, str | None]:
    try:
        said = json.loads(body)
        return int(said["pid"]), str(said["socket"])
    except (ValueError, KeyError, TypeError):
        return None, None
