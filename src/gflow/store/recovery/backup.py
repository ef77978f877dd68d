"""Copies of files that cannot be read, beside them: one for each distinct content, however often the daemon starts.

`<file>.corrupt.<seconds since the epoch>`; `.backup.` if a newer gflow wrote the file and nothing is wrong with it.
"""

import filecmp
from collections.abc import Iterator
from pathlib import Path

from gflow.store.disk import DISK, Disk, open_regular, write_new

_CHUNK_BYTES = 1 << 20


def copies_of(path: Path) -> list[Path]:
    """The copies there are, the latest last. Raises OSError."""
    found = [copy for kind in ("corrupt", "backup") for copy in path.parent.glob(f"{path.name}.{kind}.*")]
    return sorted(found, key=lambda copy: (copy.suffix, copy.name))


def keep_copy(path: Path, wall: float, *, newer: bool = False, disk: Disk = DISK) -> Path:
    """A copy of the file that is on disk: one there is, or a new one. Raises OSError."""
    for copy in copies_of(path):
        if filecmp.cmp(path, copy, shallow=False):
            return copy
    copy = _free_name(path, "backup" if newer else "corrupt", wall)
    write_new(disk, copy, _chunks(path))
    disk.sync_directory(path.parent)
    return copy


def set_aside(path: Path, wall: float, *, newer: bool = False, disk: Disk = DISK) -> Path:
    """The same name for the file itself, which needs no room: for files that we write ourselves. Raises OSError."""
    aside = _free_name(path, "backup" if newer else "corrupt", wall)
    disk.replace(path, aside)
    disk.sync_directory(path.parent)
    return aside


def _free_name(path: Path, kind: str, wall: float) -> Path:
    stamp = int(wall)
    while (name := path.with_name(f"{path.name}.{kind}.{stamp}")).exists():
        stamp += 1
    return name


def _chunks(path: Path) -> Iterator[bytes]:
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
