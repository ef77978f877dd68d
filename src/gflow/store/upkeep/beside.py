"""Reading the state files while a daemon may be at work on them.

A snapshot that is put in place, and segments that go, change which files there are in the middle of reading; what is
only appended does not matter. So an error counts if the files are still those that were there when reading began, and
else it is read once more.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gflow.store.errors import Unreadable
from gflow.store.load import Loaded, load
from gflow.store.recovery.journal import NAME as JOURNAL
from gflow.store.snapshot import NAME, PREVIOUS
from gflow.store.wal import segment_numbers, segment_path

TRIES = 20
"""How often the files may be replaced under a reader before it is believed what it sees."""

_T = TypeVar("_T")


def identities(data_dir: Path) -> dict[Path, tuple[int, int]]:
    """The state files there are, each with the device and inode that tell it from another of the same name.

    Raises OSError.
    """
    paths = [data_dir / name for name in (NAME, PREVIOUS, JOURNAL)]
    paths += [segment_path(data_dir, number) for number in segment_numbers(data_dir)]
    found = {}
    for path in paths:
        try:
            about = path.stat()
        except FileNotFoundError:
            continue
        found[path] = about.st_dev, about.st_ino
    return found


def settled(data_dir: Path, look: Callable[[], _T], sound: Callable[[_T], bool]) -> _T:
    """What `look` returns, as soon as it is `sound`, or as no file was replaced while it looked.

    Raises OSError, but FileNotFoundError only for a file that was not there before either.
    """
    for _ in range(TRIES):
        before = identities(data_dir)
        try:
            seen = look()
        except FileNotFoundError:
            if identities(data_dir) == before:
                raise
            continue
        if sound(seen) or identities(data_dir) == before:
            return seen
    return look()


def load_beside(data_dir: Path) -> Loaded:
    """As `load`, beside a daemon. Raises what `load` raises."""

    def look() -> Loaded | Unreadable | OSError:
        try:
            return load(data_dir)
        except (Unreadable, OSError) as error:
            return error

    seen = settled(data_dir, look, lambda found: isinstance(found, Loaded))
    if isinstance(seen, Exception):
        raise seen
    return seen
