"""The run directory: what a launch leaves on disk, so that a later daemon knows what became of it.

`D/runs/<id>.<run_id>/` holds the wrapper (`run.sh`), its mark (`started`), the status (`exit`), the process id of the
log writer (`logger`) and the text of a script. The truth about a launch is in here and nowhere else.

`exit` is made with the id of the machine's boot in it. What the wrapper has not overwritten therefore also tells
whether the machine was restarted under the job.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gflow.core.model import Job
from gflow.launch.script import EXIT, MARK

WRAPPER = "run.sh"
LOGGER = "logger"
ENVIRONMENT = "environment"
CONDA_OUTPUT = "conda"

_EXIT_LINE = re.compile(rb"(\d{1,3})(?: ([a-z]+))?\n")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]+")


class Mark(NamedTuple):
    """What the wrapper wrote when it started; `pid` is None if that could not be read. `at`: seconds since the epoch."""

    pid: int | None
    server_pid: int | None
    pane: str | None
    at: float


class Status(NamedTuple):
    """A recorded end: exit code, the wrapper's word for a failure of its own, and when (seconds since the epoch)."""

    code: int
    word: str | None
    at: float


def boot_id() -> str:
    """The kernel's name for this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of one launch. Methods block on files."""

    path: Path

    @classmethod
    def of(cls, runs: Path, job: Job) -> "RunDirectory":
        """The directory of `job`'s launch. Raises ValueError if its run_id is no plain word."""
        if job.run_id is None or not _SAFE_NAME.fullmatch(job.run_id):
            raise ValueError(f"job {job.id} has the run id {job.run_id!r}: use letters, digits, '-' and '_'")
        return cls(runs / f"{job.id}.{job.run_id}")

    def create(self, wrapper: bytes, files: Iterable[tuple[str, bytes]]) -> None:
        """Make it, with everything the wrapper needs. Raises OSError, as FileExistsError for a second launch."""
        self.path.mkdir(mode=0o700)
        for name, content in [(WRAPPER, wrapper), (EXIT, boot_id().encode()), *files]:
            target = self.path / name
            if target.parent != self.path:
                target.parent.mkdir(mode=0o700, exist_ok=True)
            _write_new(target, content)

    def claim(self) -> bool:
        """Make the mark in the wrapper's place, so that it never runs; False if the wrapper was first.

        A missing directory counts as claimed: without it there is no wrapper.
        """
        try:
            os.close(os.open(self.path / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        except FileNotFoundError:
            return True
        return True

    def mark(self) -> Mark | None:
        """The wrapper's mark, None if it did not start."""
        try:
            with open(self.path / MARK, "rb") as file:
                words = file.read().decode("ascii", "replace").split()
                at = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        pids = [int(word) for word in words[:2] if word.isdigit()]
        if len(pids) < 2:
            return Mark(None, None, None, at)
        return Mark(pids[0], pids[1], words[2] if len(words) > 2 else None, at)

    def status(self) -> Status | None:
        """The recorded end, None if there is none (yet)."""
        try:
            with open(self.path / EXIT, "rb") as file:
                line = _EXIT_LINE.match(file.read())
                at = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        return Status(int(line[1]), line[2].decode() if line[2] else None, at) if line else None

    def boot(self) -> str | None:
        """The boot the launch was made in; None once there is a status, or if that is not on disk."""
        try:
            return (self.path / EXIT).read_text(encoding="ascii", errors="replace") or None
        except OSError:
            return None

    def logger_pid(self) -> int | None:
        """The process that writes the log, None if it has not said so."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.path / LOGGER).read_bytes())
        return None

    def conda_output(self) -> str | None:
        """The last line conda printed."""
        with contextlib.suppress(OSError):
            lines = (self.path / CONDA_OUTPUT).read_text(encoding="utf-8", errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), None)
        return None

    def remove(self) -> None:
        """Delete it, if it is there."""
        shutil.rmtree(self.path, ignore_errors=True)


def _write_new(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
