"""What the jobs at hand keep, by user: memory of the daemon, and files beside the state. Kept job by job."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator

from gflow.core.lifecycle import ACTIVE
from gflow.core.model import Job, JobSpec

DEPENDENCY_BYTES = 500
"""What a dependency counts for: it is a few entries in memory, and work at each end of what is waited for."""


def weight(spec: JobSpec) -> int:
    """Bytes of memory, about, that grow with what somebody asked for."""
    texts = [spec.command or "", *(spec.argv or ()), *spec.script_args, *spec.parameters, *spec.parameters.values()]
    return sum(map(sys.getsizeof, texts)) + DEPENDENCY_BYTES * len(spec.depends_on)


class Kept:
    """Bytes by owner: `memory` of all jobs at hand, `files` of the distinct environments and scripts that these need.

    `size_of` gives the bytes of the file with a digest.
    """

    def __init__(self, size_of: Callable[[str], int] = lambda _: 0) -> None:
        self.size_of = size_of
        self.memory: Counter[str] = Counter()
        self.files: Counter[str] = Counter()
        self._users: Counter[tuple[str, str]] = Counter()
        self._sizes: dict[tuple[str, str], int] = {}

    def change(self, old: Job | None, new: Job | None) -> None:
        """A job came (`old` is None), goes on as another, or leaves (`new` is None)."""
        if _alike(old, new):
            return
        if new is not None:
            self._add(new)
        if old is not None:
            self._take(old)

    def above(self, size: int) -> set[str]:
        """The owners whose jobs keep more than so many bytes of memory."""
        return {owner for owner, kept in self.memory.items() if kept > size}

    def _add(self, job: Job) -> None:
        owner = job.spec.owner
        self.memory[owner] += weight(job.spec)
        for digest in _digests(job):
            self._users[owner, digest] += 1
            if self._users[owner, digest] == 1:
                size = self._sizes[owner, digest] = self.size_of(digest)
                self.files[owner] += size

    def _take(self, job: Job) -> None:
        owner = job.spec.owner
        self.memory[owner] -= weight(job.spec)
        for digest in _digests(job):
            self._users[owner, digest] -= 1
            if not self._users[owner, digest]:
                del self._users[owner, digest]
                self.files[owner] -= self._sizes.pop((owner, digest))
        for counter in (self.memory, self.files):
            if not counter[owner]:
                del counter[owner]


def _alike(old: Job | None, new: Job | None) -> bool:
    """Whether both keep the same."""
    if old is None or new is None or old.spec is not new.spec:
        return False
    return (old.state in ACTIVE) == (new.state in ACTIVE)


def _digests(job: Job) -> Iterator[str]:
    """A script is needed as long as the job is at hand, to run it once more; an environment goes at the end."""
    if job.spec.script_digest is not None:
        yield job.spec.script_digest
    if job.spec.environment is not None and job.state in ACTIVE:
        yield job.spec.environment
