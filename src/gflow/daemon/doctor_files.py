"""Whether the daemon can use what lies in its data directory: after a `sudo gflowd` some of it is root's.

All that is wrong there is one finding with one command, or whoever mends it file by file meets the next one each time.
"""

import getpass
import os
import pwd
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from gflow.daemon.finding import PROBLEM, Finding, Place
from gflow.store.lock import NAME as LOCK
from gflow.store.lock import holder

_DIRECTORIES = ("logs", "runs", "spool")
_COPY = re.compile(r"\.(backup|corrupt)\.\d+")
_SHOWN = 3


def files(place: Place) -> Iterator[Finding]:
    """Nothing if all of it can be used, or the directory itself is another's, which is said elsewhere."""
    unusable = _unusable(place.data_dir)
    if unusable:
        shown = [f"{path.relative_to(place.data_dir)} ({_as_it_is(path)})" for path in unusable[:_SHOWN]]
        more = f" and {len(unusable) - _SHOWN} more" if len(unusable) > _SHOWN else ""
        what = f"not usable for you in {place.data_dir}: {', '.join(shown)}{more}"
        yield Finding(PROBLEM, what, f"run: {_mend(place.data_dir, unusable)}")


def stale_lock(data: Path) -> Path | None:
    """A lock that says who held it and is not held; None if there is none, or it may not be looked at.

    A daemon that has left says no pid there any more.
    """
    lock = data / LOCK
    written = _may(lock, os.R_OK) and b'"pid"' in lock.read_bytes()
    return lock if written and holder(data) is None else None


def _unusable(data: Path) -> list[Path]:
    """What the daemon needs, and may not read and write."""
    if not _may(data, os.R_OK | os.X_OK) or data.stat().st_uid != os.geteuid():
        return []
    found: list[Path] = []
    for path in sorted(data.iterdir()):
        if path.is_dir():
            found += _closed(path) if path.name in _DIRECTORIES else []
        elif not _COPY.search(path.name) and not _may(path, os.R_OK | os.W_OK):
            found.append(path)
    return found


def _closed(directory: Path) -> list[Path]:
    """A directory, those in it, and the files that are read again: logs are not, and there may be many."""
    if not _may(directory, os.R_OK | os.W_OK | os.X_OK):
        return [directory]
    if directory.name == "logs":
        return []
    found: list[Path] = []
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            found += _closed(path)
        elif not _may(path, os.R_OK):
            found.append(path)
    return found


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


def _as_it_is(path: Path) -> str:
    try:
        about = path.stat()
    except OSError as error:
        return error.strerror or str(error)
    if about.st_uid != os.geteuid():
        return f"of {_name(about.st_uid)}"
    return f"mode {stat.S_IMODE(about.st_mode):03o}"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _mend(data: Path, unusable: list[Path]) -> str:
    """One command for all of it. Directories that are links are named, as neither program follows them."""
    linked = {os.path.realpath(data / name) for name in _DIRECTORIES if (data / name).is_symlink()}
    places = shlex.join([os.fspath(data), *sorted(linked)])
    opened = f"chmod -R u+rwX {places}"
    if all(path.exists() and path.stat().st_uid == os.geteuid() for path in unusable):
        return opened
    return f"sudo chown -R {getpass.getuser()} {places} && {opened}"
