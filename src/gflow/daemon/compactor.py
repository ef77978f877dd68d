"""Compaction: when the log is worth replacing by a snapshot, and the writing of one beside everything else.

The log goes on in a new segment meanwhile; a snapshot that cannot be written costs nothing but a longer log.
"""

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from gflow.store.disk import Disk
from gflow.store.load import Loaded
from gflow.store.log import remove_segments
from gflow.store.records import Transaction
from gflow.store.snapshot import PREVIOUS, Abandoned, Snapshot, write_snapshot

logger = logging.getLogger(__name__)

RETRY_SECS = 60.0
STOPPING = "the daemon is stopping"


@dataclass(frozen=True, slots=True)
class CompactionPolicy:
    """When the log is long enough to be worth a snapshot.

    By bytes; by changes of jobs in it, once there are as many as the state has jobs, so that writing snapshots costs no
    more than writing the log; and by age.
    """

    log_bytes: int = 64 << 20
    min_changes: int = 10_000
    age_secs: float = 86_400.0

    def is_due(self, log_bytes: int, changes: int, jobs: int, age_secs: float) -> bool:
        """Whether a log of this size is to be replaced, `jobs` being the number of jobs in the state."""
        return (
            log_bytes >= self.log_bytes
            or changes >= max(self.min_changes, jobs)
            or (age_secs >= self.age_secs and changes > 0)
        )


@dataclass(slots=True)
class Wish:
    """Somebody waits for a snapshot. `done`: it is on disk and has `jobs`, or cannot be had, and `why` says so."""

    jobs: int = 0
    why: str | None = None
    done: trio.Event = field(default_factory=trio.Event)


@dataclass(frozen=True, slots=True)
class Task:
    """What one snapshot replaces: so much of the log; and who waits for it."""

    log_bytes: int
    changes: int
    wishes: list[Wish]

    def give_up(self, why: str) -> None:
        """Tell those who wait."""
        for wish in self.wishes:
            wish.why = why
            wish.done.set()


class Compactor:
    """Keeps count of the log in `data_dir`, which `loaded` was read from.

    - busy: a snapshot is being written. deadline: from which moment on nobody waits for that any more.
    - saved_segment: the first segment to replay on top of the snapshot there is.
    - left_behind: a thread hangs in the disk and may still write.
    - ready: called when another snapshot can be begun.
    """

    def __init__(
        self, data_dir: Path, loaded: Loaded, policy: CompactionPolicy, disk: Disk, ready: Callable[[], None]
    ) -> None:
        self.policy = policy
        self.busy = False
        self.saved_segment = loaded.first_segment
        self.left_behind = False
        self.wishes: list[Wish] = []
        self._data_dir = data_dir
        self._disk = disk
        self._ready = ready
        self._log_bytes = loaded.log_bytes
        self._changes = loaded.log_changes
        self._jobs = len(loaded.jobs)  # of the last snapshot, without those that have left since
        self._saved_at = -math.inf
        self._not_before = -math.inf
        self._abandoned = False
        self._deadline = math.inf
        self._saving = trio.CancelScope()
        self._thread = trio.CapacityLimiter(1)

    def start(self) -> None:
        """The age of the log counts from now."""
        self._saved_at = trio.current_time()

    def count(self, size: int, transactions: Iterable[Transaction]) -> None:
        """These transactions, `size` bytes of them, are in the log."""
        self._log_bytes += size
        for transaction in transactions:
            self._changes += transaction.changes
            self._jobs -= len(transaction.retired)

    def is_due(self) -> bool:
        """Whether a snapshot is to be begun."""
        now = trio.current_time()
        if self.busy:
            return False
        if self.wishes or now < self._not_before:
            return bool(self.wishes)
        return self.policy.is_due(self._log_bytes, self._changes, self._jobs, now - self._saved_at)

    def begin(self) -> Task:
        """What a snapshot of the state as it is now replaces. Who comes to wait from now on waits for the next one."""
        wishes, self.wishes = self.wishes, []
        return Task(self._log_bytes, self._changes, wishes)

    def give_up(self, why: str) -> None:
        """Tell those who wait for a snapshot that has not been begun."""
        self.begin().give_up(why)

    def failed(self, error: OSError, task: Task) -> None:
        """It did not come to a snapshot; another is tried after some time."""
        logger.warning("cannot write a snapshot to %s: %s; the log keeps everything", self._data_dir, error)
        self._not_before = trio.current_time() + RETRY_SECS
        task.give_up(error.strerror or str(error))

    def leave(self) -> None:
        """The daemon leaves: give up a snapshot that is being written."""
        self._abandoned = True

    def set_deadline(self, deadline: float) -> None:
        """From then on nobody waits for a disk that does not answer."""
        self._deadline = self._saving.deadline = deadline

    async def save(self, snapshot: Snapshot, task: Task) -> None:
        """Write the snapshot, beside everything else; `busy` has been set."""
        try:
            with trio.CancelScope(shield=True, deadline=self._deadline) as self._saving:
                await trio.to_thread.run_sync(self._write, snapshot, limiter=self._thread, abandon_on_cancel=True)
        except Abandoned:
            task.give_up(STOPPING)
        except OSError as error:
            self.failed(error, task)
        else:
            self._saved(snapshot, task)
        finally:
            self.busy = False
            self._ready()

    def _saved(self, snapshot: Snapshot, task: Task) -> None:
        if self._saving.cancelled_caught:
            self.left_behind = True
            task.give_up(STOPPING)
            return
        self._log_bytes -= task.log_bytes
        self._changes -= task.changes
        self._jobs = len(snapshot.state.jobs)
        self._saved_at = trio.current_time()
        logger.info("wrote a snapshot of %d jobs as of change %d", self._jobs, snapshot.seq)
        for wish in task.wishes:
            wish.jobs = self._jobs
            wish.done.set()

    def _write(self, snapshot: Snapshot) -> None:
        """In a worker thread. The segments kept are those that go on from the snapshot before this one."""
        wrong = write_snapshot(self._data_dir, snapshot, disk=self._disk, abandoned=lambda: self._abandoned)
        before = self.saved_segment
        self.saved_segment = snapshot.segment
        if wrong is None:
            remove_segments(self._data_dir, before, disk=self._disk)
        else:
            kept = f"the new one has replaced it, and {PREVIOUS} stays with the log that follows it"
            logger.error("the snapshot before this one was not whole any more: %s; %s", wrong, kept)
