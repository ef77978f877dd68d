"""Where the files of system mode are, and whose.

- The daemon's own truth is in its data directory, root's alone.
- Logs are in a directory of root's that users may enter, and each log belongs to the submitter of its job: he may write
  to it and empty it, but only root can put another file in its place. So whoever reads a log by its name reads a log.
- What the helper process of a user needs, and the socket of his tmux server, is in directories of the user's own, below
  one of root's. The daemon makes them and never looks into them.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from gflow.users.accounts import Account

_SEARCH_ONLY = 0o711


class UnsafePlace(Exception):
    """A directory that users could change, or could not enter; the message is one line for the administrator."""


@dataclass(frozen=True, slots=True)
class Places:
    """`jobs`: what outlives a restart of the machine. `sockets`: what does not."""

    jobs: Path
    sockets: Path

    @classmethod
    def beside(cls, data_dir: Path, socket: Path) -> "Places":
        """Those of the daemon with this data directory and this socket."""
        return cls(data_dir.with_name(f"{data_dir.name}-jobs"), socket.parent / "users")

    @property
    def logs(self) -> Path:
        """Every job's output, by its id."""
        return self.jobs / "logs"

    def is_of(self, job_id: int, uid: int) -> bool:
        """Whether this job has been started as this user: root made its log, and made it his."""
        try:
            return os.lstat(self.logs / f"{job_id}.log").st_uid == uid
        except OSError:
            return False

    def files_of(self, uid: int) -> Path:
        """What the helper of a user keeps."""
        return self.jobs / "users" / str(uid)

    def sockets_of(self, uid: int) -> Path:
        """Where the tmux server of a user listens."""
        return self.sockets / str(uid)

    def prepare(self) -> None:
        """Make what is root's. Raises UnsafePlace, OSError."""
        for directory in (self.jobs, self.logs, self.jobs / "users", self.sockets):
            open_directory(directory, _SEARCH_ONLY)
            check_place(directory)

    def prepare_for(self, account: Account) -> None:
        """Make what is the user's. Raises UnsafePlace, OSError."""
        for directory in (self.files_of(account.uid), self.sockets_of(account.uid)):
            _give(directory, account)


def open_directory(path: Path, mode: int) -> None:
    """Make a directory with exactly this mode, in one that is there. One of root's that is there stays as it is."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise UnsafePlace(f"{path} is not a directory of root's: remove it, or choose another place") from None
    else:
        os.chmod(path, mode)


def check_place(path: Path) -> None:
    """Raise UnsafePlace if others could rename anything on the way to `path`, or users could not come there."""
    for directory in (path, *path.parents):
        found = os.lstat(directory)
        if stat.S_ISLNK(found.st_mode) or found.st_uid != 0:
            raise UnsafePlace(f"{directory}, on the way to {path}, is not a directory of root's: choose another place")
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
            raise UnsafePlace(f"others may change {directory}, on the way to {path}: choose another place")
        if not found.st_mode & stat.S_IXOTH:
            raise UnsafePlace(f"users may not enter {directory}, on the way to {path}: chmod o+x it")


def closed_to_users(path: Path) -> Path | None:
    """What on the way to `path` keeps others from using it, by its mode; None if nothing does."""
    for place in (path, *path.parents):
        mode = os.stat(place).st_mode
        if not mode & stat.S_IXOTH and (place != path or stat.S_ISDIR(mode) or mode & stat.S_IXUSR):
            return place
    return None


def _give(path: Path, account: Account) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, account.uid):
            raise UnsafePlace(f"{path} does not belong to '{account.name}': an administrator has to look") from None
        if found.st_uid == account.uid:
            return
    os.chown(path, account.uid, account.gid, follow_symlinks=False)
