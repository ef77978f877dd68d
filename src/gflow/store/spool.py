"""Captured environments and script texts, each distinct one once, in a file named by its SHA-256.

They may hold secrets, so they stay out of snapshot, log and exports; here they are 0600 files that go when no live job
needs them. A file is on disk, whole, before `put` returns its name.

A submission stores its files before there is a job that needs them. So `put` pins what it stores, and the caller
unpins it once the job is in the engine, or refused. `condemn` must be called in the same synchronous step in which the
needed digests were collected; then no file that a job needs is ever removed.
"""

import contextlib
import hashlib
import itertools
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Literal

from gflow.store.disk import DISK, Disk, private_directory, write_new

Kind = Literal["env", "script"]
KINDS: tuple[Kind, ...] = ("env", "script")

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Spool:
    """The files in `directory`. All methods may be called from any thread. Raises OSError where it touches the disk."""

    def __init__(self, directory: Path, *, disk: Disk = DISK) -> None:
        self._directory = directory
        self._disk = disk
        self._lock = threading.Lock()
        self._pins: Counter[tuple[Kind, str]] = Counter()
        self._known: dict[Kind, dict[str, int]] = {kind: self._take_stock(kind) for kind in KINDS}
        self._total = sum(sum(known.values()) for known in self._known.values())
        self._serial = itertools.count()

    def _take_stock(self, kind: Kind) -> dict[str, int]:
        """The digests there are, with the bytes of their files.

        Syncing their directory once makes all of them as durable as those of `put`.
        """
        directory = self._directory / kind
        private_directory(directory, disk=self._disk)
        names = os.listdir(directory)
        for name in names:
            if name.startswith(".new-"):
                self._disk.remove(directory / name)
        self._disk.sync_directory(directory)
        return {name: (directory / name).stat().st_size for name in names if _DIGEST.fullmatch(name)}

    def size(self, digest: str) -> int:
        """The bytes of what is kept under a digest, 0 where nothing is. Quick enough for the event loop."""
        return next((known[digest] for known in self._known.values() if digest in known), 0)

    def total_bytes(self) -> int:
        """Of all files, but those that are just going."""
        return self._total

    def path(self, kind: Kind, digest: str) -> Path:
        """Where the content is kept. Raises ValueError for what is no digest."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is not a SHA-256 digest in hexadecimal")
        return self._directory / kind / digest

    def pin(self, kind: Kind, digest: str) -> bool:
        """Pin content that is there already; False if it is not. Quick enough for the event loop."""
        with self._lock:
            if digest not in self._known[kind]:
                return False
            self._pins[kind, digest] += 1
        if self.path(kind, digest).exists():
            return True
        self.unpin(kind, digest)
        return False

    def put(self, kind: Kind, data: bytes) -> str:
        """Store `data`, pin it, and return its digest. What is there already costs one stat."""
        digest = hashlib.sha256(data).hexdigest()
        with self._lock:
            self._pins[kind, digest] += 1
            known = digest in self._known[kind]
        try:
            if not (known and self._is_there(kind, digest, len(data))):
                self._write(kind, digest, data)
        except BaseException:
            self.unpin(kind, digest)
            raise
        return digest

    def _is_there(self, kind: Kind, digest: str, size: int) -> bool:
        try:
            return self.path(kind, digest).stat().st_size == size
        except FileNotFoundError:
            return False

    def _write(self, kind: Kind, digest: str, data: bytes) -> None:
        path = self.path(kind, digest)
        private_directory(path.parent, disk=self._disk)  # somebody may have removed it
        new = path.with_name(f".new-{next(self._serial)}")
        write_new(self._disk, new, [data])
        self._disk.replace(new, path)
        self._disk.sync_directory(path.parent)
        with self._lock:
            self._total += len(data) - self._known[kind].get(digest, 0)
            self._known[kind][digest] = len(data)

    def unpin(self, kind: Kind, digest: str) -> None:
        """Take back the pin of one `put`."""
        with self._lock:
            self._pins[kind, digest] -= 1
            if self._pins[kind, digest] <= 0:
                del self._pins[kind, digest]

    def condemn(self, kind: Kind, live: Set[str]) -> frozenset[str]:
        """Digests that neither a job (`live`) nor a pin keeps, for `remove`. Does not touch the disk."""
        with self._lock:
            doomed = {digest for digest in self._known[kind].keys() - live if not self._pins[kind, digest]}
            for digest in doomed:
                self._total -= self._known[kind].pop(digest)
        return frozenset(doomed)

    def remove(self, kind: Kind, condemned: Iterable[str]) -> None:
        """Remove the files of `condemned`, but those that were stored anew since."""
        for digest in condemned:
            with self._lock:
                if digest in self._known[kind] or self._pins[kind, digest]:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    self._disk.remove(self.path(kind, digest))

    def sweep(self, kind: Kind, live: Set[str]) -> None:
        """`condemn` and `remove` in one, where blocking for the disk is no matter."""
        self.remove(kind, self.condemn(kind, live))
