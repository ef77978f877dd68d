"""What the launches of a user need besides the job: environments and scripts, as files of his while they are needed.

Each distinct one is there once. The daemon's own copies are where no user can come; these here are made of what the
daemon sends along with each launch, so losing them is no loss once the launch has begun.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from gflow.core.model import Job

_KINDS = ("environment", "script")


class Kept:
    """Files in `directory`. `login`: what every environment begins with, in the form of `render_environment`."""

    def __init__(self, directory: Path, login: bytes) -> None:
        self._directory = directory
        self._login = login
        self._needed: dict[tuple[str, str], set[str]] = {}
        for kind in _KINDS:
            (directory / kind).mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, kind: str, digest: str) -> Path:
        """Where it is."""
        return self._directory / kind / os.path.basename(digest)

    def need(self, job: Job) -> None:
        """Leave what this launch needs where it is, or will be, until `drop`."""
        for kind, digest in _names(job):
            if digest is not None:
                self._needed.setdefault((kind, digest), set()).add(job.run_id or "")

    def write(self, job: Job, environment: bytes | None, script: bytes | None) -> None:
        """Have there what a launch needs, which was said before. Blocks. Raises OSError."""
        wanted = (None if environment is None else self._login + environment, script)
        for (kind, digest), content in zip(_names(job), wanted, strict=True):
            if digest is not None and content is not None:
                self._write(self.path(kind, digest), content)

    def _write(self, path: Path, content: bytes) -> None:
        if path.exists():
            return
        new = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        new.replace(path)

    def drop(self, job: Job) -> None:
        """A launch needs its files no more; the last one takes them along."""
        for kind, digest in _names(job):
            if digest is not None and (users := self._needed.get((kind, digest))):
                users.discard(job.run_id or "")
                if not users:
                    del self._needed[kind, digest]
                    self.path(kind, digest).unlink(missing_ok=True)

    def sweep(self, running: Iterable[Job]) -> None:
        """After a restart: keep what these launches may still need, and nothing else."""
        for job in running:
            self.need(job)
        for kind in _KINDS:
            for path in (self._directory / kind).iterdir():
                if (kind, path.name) not in self._needed:
                    path.unlink(missing_ok=True)


def _names(job: Job) -> tuple[tuple[str, str | None], tuple[str, str | None]]:
    return ("environment", job.spec.environment), ("script", job.spec.script_digest)
