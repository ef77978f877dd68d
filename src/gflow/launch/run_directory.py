"""The run directory: what a launch leaves on disk, so that a later daemon knows what became of it.

`D/runs/<id>.<run_id>/` holds the wrapper (`run.sh`), its mark (`started`), the `record` and, for scripts, their text.
The truth about a launch is in here and nowhere else.

The record is one small file, made at the launch, with three lines: the exit status (dashes until the wrapper writes
over them, in place, so that this needs no room on the disk), the id of the machine's boot the launch was made in, and,
appended by it, the process id of the log writer. Creating files is what a launch costs most, so there are few.
"""

import functools
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gflow.core.model import Job
from gflow.launch.script import MARK, RECORD

WRAPPER = "run.sh"
CONDA_OUTPUT = "conda"
BOOT = "boot"
"""Beside the directories of launches: the boot of the latest launches, on disk before the first of them."""


_STATUS = re.compile(rb"(\d{1,3})(?: ([a-z]+))?\n")
_BOOT = re.compile(rb"^[0-9a-f]{8}-[0-9a-f-]{27}$", re.MULTILINE)
_LOGGER = re.compile(rb"^[0-9a-f]{8}-[0-9a-f-]{27}\n(\d+)\n", re.MULTILINE)
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]+")


class Mark(NamedTuple):
    """What the wrapper wrote when it started, `at` seconds since the epoch.

    The process ids are None if nobody started (see `claim`), or if the disk was too full to write them.
    """

    pid: int | None
    server_pid: int | None
    pane: str | None
    at: float


class Record(NamedTuple):
    """What became of the launch.

    code: the exit status, None if there is none (yet). word: what failed in the wrapper itself. written_at: of the
    last writing, seconds since the epoch. boot: the boot the launch was made in. logger_pid: of the log writer.
    """

    code: int | None
    word: str | None
    written_at: float
    boot: str | None
    logger_pid: int | None


@functools.cache
def boot_id() -> str:
    """The kernel's name for this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def name_of(job: Job) -> str:
    """What the launch is called on disk, and among cgroups. Raises ValueError if its run_id is no plain word."""
    if job.run_id is None or not _SAFE_NAME.fullmatch(job.run_id):
        raise ValueError(f"job {job.id} has the run id {job.run_id!r}: use letters, digits, '-' and '_'")
    return f"{job.id}.{job.run_id}"


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of one launch. Methods block on files."""

    path: Path

    @classmethod
    def of(cls, runs: Path, job: Job) -> "RunDirectory":
        """The directory of `job`'s launch. Raises ValueError if its run_id is no plain word."""
        return cls(runs / name_of(job))

    def create(self, wrapper: bytes, files: Iterable[tuple[str, bytes]]) -> None:
        """Make it, with everything the wrapper needs. Raises OSError, as FileExistsError for a second launch."""
        os.mkdir(self.path, 0o700)
        record = f"{'-' * 31}\n{boot_id()}\n".encode()
        for name, content in [(WRAPPER, wrapper), (RECORD, record), *files]:
            if "/" in name:
                (self.path / name).parent.mkdir(mode=0o700, exist_ok=True)
            write_new(self.path / name, content)

    def claim(self) -> bool:
        """Make the mark in the wrapper's place, so that it never runs; False if the wrapper was first.

        A missing directory counts as claimed: without it there is no wrapper.
        """
        try:
            write_new(self.path / MARK, b"")
        except FileExistsError:
            return False
        except FileNotFoundError:
            return True
        return True

    def mark(self) -> Mark | None:
        """The mark, None if there is none."""
        content, at = self._read(MARK)
        if content is None:
            return None
        words = content.decode("ascii", "replace").split()
        if len(words) < 2 or not (words[0].isdigit() and words[1].isdigit()):
            return Mark(None, None, None, at)
        return Mark(int(words[0]), int(words[1]), words[2] if len(words) > 2 else None, at)

    def record(self) -> Record:
        """The record; all fields are None (`written_at`: 0) if there is none."""
        content, at = self._read(RECORD)
        if content is None:
            return Record(None, None, 0.0, None, None)
        status, boot, logger = _STATUS.match(content), _BOOT.search(content), _LOGGER.search(content)
        return Record(
            code=int(status[1]) if status else None,
            word=status[2].decode() if status and status[2] else None,
            written_at=at,
            boot=boot[0].decode() if boot else None,
            logger_pid=int(logger[1]) if logger else None,
        )

    def boot(self) -> str | None:
        """The boot the launch was made in: what its record says, else, as a daemon may be killed before there is one,
        what was noted for all launches; None if there is neither."""
        own = self.record().boot
        if own is not None:
            return own
        try:
            return (self.path.parent / BOOT).read_text(encoding="ascii", errors="replace")
        except OSError:
            return None

    def conda_output(self) -> str | None:
        """The last line conda printed."""
        lines = (self._read(CONDA_OUTPUT)[0] or b"").decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), None)

    def remove(self) -> None:
        """Delete it, if it is there."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _read(self, name: str) -> tuple[bytes | None, float]:
        """A file's content and time of modification; (None, 0) if it is not there, or cannot be read at once."""
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None, 0.0
        try:
            return os.read(descriptor, 1 << 20), os.fstat(descriptor).st_mtime
        except OSError:
            return None, 0.0
        finally:
            os.close(descriptor)


def write_new(path: Path, content: bytes) -> None:
    """Create `path`, which must not exist, readable by its owner only. Raises OSError."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
