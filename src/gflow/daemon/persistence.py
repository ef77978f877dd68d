"""The persistence writer: what was submitted is on disk before anybody is told so.

A transaction is encoded when it is submitted, in the same step in which the state changed, and queued. One task takes
all that is queued as one batch, writes and syncs it in a worker thread, and only then lets the effects and answers go
(group commit). A batch that cannot be written stays in the queue and is tried again until it is on disk, so neither a
full disk nor a cancelled caller loses anything.

When the log has grown enough, the state as of one batch is written as a snapshot by another thread, while the log goes
on in a new segment.

In a recovery the log is not touched: a batch is durable once the whole state after it is in the journal.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import trio

from gflow.core.errors import Unavailable, WrongState
from gflow.daemon.compactor import STOPPING, CompactionPolicy, Compactor, Wish
from gflow.daemon.hand import Hand
from gflow.store.disk import DISK, Disk
from gflow.store.ids import Ids, Mark, generation_of
from gflow.store.load import Loaded
from gflow.store.log import Log
from gflow.store.records import Transaction, encode
from gflow.store.recovery.journal import Journal
from gflow.store.recovery.opening import Recovery
from gflow.store.snapshot import Snapshot, SnapshotState
from gflow.store.upkeep.compaction import Compacted, bytes_to_read

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

MAX_BATCH_BYTES = 32 << 20
"""More than this is not written at one go, so that a long queue does not make the first in it wait for the last."""

FIRST_BACKOFF_SECS = 0.1
MAX_BACKOFF_SECS = 5.0


@dataclass(slots=True)
class _Batch:
    """What is made durable by one sync. `done` is set when it is, or when it is known to take too long.

    `state`, where it is needed, is the one after this batch. A batch without transactions has the state saved.
    """

    first_seq: int
    transactions: list[Transaction] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    size: int = 0
    taken: bool = False
    state: SnapshotState | None = None
    done: trio.Event = field(default_factory=trio.Event)

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.transactions) - 1


class Persistence:
    """Writes transactions to the log in `data_dir`, which `loaded` was read from; in a `recovery`, to the journal.

    - mark: what is known of the ids that were set aside.
    - snapshot_source: the state as of everything submitted so far; called now and then, on the trio thread.
    - on_durable: called on the trio thread with each transaction once it is on disk, in order. It must not raise.
    - grace_secs: how long callers wait for a disk that fails before they are told.
    - flush_secs: how long `close`, or a cancelled `run`, may go on writing.
    """

    def __init__(
        self,
        data_dir: Path,
        loaded: Loaded,
        snapshot_source: Callable[[], SnapshotState],
        on_durable: Callable[[Transaction], None],
        *,
        mark: Mark | None = None,
        recovery: Recovery | None = None,
        policy: CompactionPolicy | None = None,
        grace_secs: float = 3.0,
        flush_secs: float = 5.0,
        disk: Disk = DISK,
    ) -> None:
        self._data_dir = data_dir
        self._snapshot_source = snapshot_source
        self._on_durable = on_durable
        self._grace_secs = grace_secs
        self._flush_secs = flush_secs
        self._disk = disk
        self._log = Log(data_dir, loaded.segment, loaded.tail, disk=disk)
        self._ids = Ids(data_dir, mark or Mark(), generation_of(loaded.settings), disk=disk)
        self._journal: Journal | None = None
        if recovery is not None:
            self._journal = Journal(data_dir, recovery.journal_id, recovery.base, recovery.changed, disk=disk)

        self._next_job_id = loaded.next_job_id
        self._last_seq = loaded.seq
        self._durable_seq = loaded.seq
        self._queue: deque[_Batch] = deque()
        self._work = trio.Event()
        self._closing = False
        self._ended = trio.Event()
        self._flush_deadline = math.inf
        self._hand = Hand("gflow-writer")
        self._writing = trio.CancelScope()
        self._writing_since = math.inf
        self._left_behind = False

        self._last_error: str | None = None
        self._failing_since = math.inf
        self._unavailable = False

        self.compactor = Compactor(data_dir, loaded, policy or CompactionPolicy(), disk, self._stir)

    # -- for those who change the state ----------------------------------------------------------------------------

    @property
    def next_seq(self) -> int:
        """The `seq` the next transaction must have."""
        return self._last_seq + 1

    @property
    def healthy(self) -> bool:
        """Whether the last attempt to write succeeded, and none has been under way for long."""
        return self._last_error is None

    @property
    def last_error(self) -> str | None:
        """Why writing fails just now, None if it does not."""
        return self._last_error

    def submit(self, transaction: Transaction) -> int:
        """Queue a transaction for the log and return its seq; once this returns it will be written, whoever waits.

        Raises ValueError if its seq is not `next_seq`, Unavailable once the writer has ended, TooLarge, TypeError or
        OverflowError if it cannot be encoded; then it is not queued.
        """
        if transaction.seq != self.next_seq:
            raise ValueError(f"transaction {transaction.seq} submitted where {self.next_seq} was due")
        if self._ended.is_set():
            raise Unavailable("The daemon is stopping and takes no changes")
        record = encode(transaction)
        batch = self._open_batch(len(record))
        batch.transactions.append(transaction)
        batch.records.append(record)
        batch.size += len(record)
        self._last_seq = transaction.seq
        self._work.set()
        return transaction.seq

    def _open_batch(self, size: int) -> _Batch:
        if not self._queue or self._queue[-1].taken or self._queue[-1].size + size > MAX_BATCH_BYTES:
            self._queue.append(_Batch(self.next_seq))
        return self._queue[-1]

    async def durable(self, seq: int) -> None:
        """Wait until transaction `seq` is on disk.

        Raises Unavailable if the disk has been failing for some seconds; the transaction stays queued all the same.
        """
        if seq <= self._durable_seq:
            await trio.lowlevel.checkpoint()
        while seq > self._durable_seq:
            self.check_writable()
            await self._batch_of(seq).done.wait()

    def check_writable(self) -> None:
        """Raise Unavailable if the disk has been failing or silent for some seconds, or the writer has ended."""
        if self._unavailable:
            raise Unavailable(f"The state cannot be written: {self._last_error or 'the daemon is stopping'}")

    async def compact(self) -> Compacted:
        """Write a snapshot of everything submitted so far; return once it is on disk.

        Raises WrongState in a recovery, Unavailable if it cannot be written now.
        """
        if self._journal is not None:
            raise WrongState("The state is in recovery: its files stay as they are until it can be read again")
        self.check_writable()
        before = await trio.to_thread.run_sync(bytes_to_read, self._data_dir, self.compactor.saved_segment)
        if self._ended.is_set():
            raise Unavailable("The daemon is stopping")
        wish = Wish()
        self.compactor.wishes.append(wish)
        self._work.set()
        await wish.done.wait()
        if wish.why is not None:
            raise Unavailable(f"The snapshot cannot be written: {wish.why}")
        after = await trio.to_thread.run_sync(bytes_to_read, self._data_dir, self.compactor.saved_segment)
        return Compacted(wish.jobs, before, after)

    def _batch_of(self, seq: int) -> _Batch:
        for batch in self._queue:
            if seq <= batch.last_seq:
                return batch
        raise ValueError(f"transaction {seq} was never submitted")

    # -- the service -----------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until `close`. When cancelled, first write what has been submitted, for at most `flush_secs`."""
        self.compactor.start()
        if self._journal is not None:
            self._queue.appendleft(_Batch(self._durable_seq + 1, taken=True))  # what was salvaged is to be safe
            self._work.set()
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                nursery.start_soon(self._watch_for_silence)
                try:
                    await self._write_until_closed(nursery)
                finally:
                    self.compactor.leave()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True, deadline=self._deadline()):
                await self._flush()
            self._end()

    async def close(self) -> None:
        """Have `run` write what was submitted and end; wait for that, also if cancelled, for at most `flush_secs`."""
        self._closing = True
        self._work.set()
        with trio.CancelScope(shield=True, deadline=self._deadline()):
            await self._ended.wait()

    @property
    def clean(self) -> bool:
        """Whether everything submitted was written, and no thread is left that may still write."""
        return self._ended.is_set() and not self._queue and not (self._left_behind or self.compactor.left_behind)

    def _deadline(self) -> float:
        self._flush_deadline = min(self._flush_deadline, trio.current_time() + self._flush_secs)
        self._writing.deadline = self._flush_deadline
        self.compactor.set_deadline(self._flush_deadline)
        return self._flush_deadline

    async def _write_until_closed(self, nursery: trio.Nursery) -> None:
        while self._queue or not self._closing:
            if not self._queue:
                if self.compactor.wishes and not self.compactor.busy:
                    await self._compact(self._snapshot_source(), self._durable_seq, nursery)
                    continue
                self._work = trio.Event()
                await self._work.wait()
                continue
            batch = self._take()
            compact = self._compaction_is_due()
            # In the same step as taking: the state is the one after this batch, and no later change is in it.
            if compact:
                batch.state = self._snapshot_source()
            await self._write(batch)
            if compact and batch.state is not None:
                await self._compact(batch.state, batch.last_seq, nursery)

    async def _flush(self) -> None:
        while self._queue:
            await self._write(self._take())
        if self._durable_seq or self._next_job_id > 1:
            await self._in_thread(self._settle_ids)

    def _take(self) -> _Batch:
        batch = self._queue[0]
        batch.taken = True
        if self._journal is not None and batch.state is None:
            batch.state = self._snapshot_source()
        return batch

    def _end(self) -> None:
        """Nothing is written any more; whoever still waits is told."""
        if self._queue:
            lost = self._last_seq - self._durable_seq
            logger.error("stopping; changes that could not be written: %d (%s)", lost, self._last_error)
        if not self._left_behind:  # a thread that hangs in the disk still has the descriptors
            self._log.close()
            self._ids.close()
        self._hand.close()
        self._ended.set()
        self._tell_waiters()

    # -- writing ---------------------------------------------------------------------------------------------------

    async def _write(self, batch: _Batch) -> None:
        """Return once the batch, the first of the queue, is on disk and everybody knows."""
        pauses = _backoff()
        while not await self._try_to_write(batch):
            await trio.sleep_until(min(trio.current_time() + next(pauses), self._next_news()))
            if trio.current_time() >= self._next_news():
                self._tell_waiters()
        self._recovered()
        self._settle(batch)

    async def _try_to_write(self, batch: _Batch) -> bool:
        try:
            return await self._in_thread(self._make_durable, batch) is not None
        except OSError as error:
            self._failed(error)
            return False

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T | None:
        """What `work` returns. At the end of the flush it is left behind, for the disk may never answer: None."""
        if self._left_behind:
            await trio.sleep_forever()  # until those who wait for the end do not wait any longer
        result = None
        self._writing_since = trio.current_time()
        try:
            with trio.CancelScope(shield=True, deadline=self._flush_deadline) as self._writing:
                result = await self._hand.do(work, *args)
        finally:
            self._writing_since = math.inf
        if self._writing.cancelled_caught:
            self._left_behind = True
        return result

    def _make_durable(self, batch: _Batch) -> bool:
        """In the writer's thread."""
        if batch.transactions:
            self._ids.reserve(batch.transactions[-1].next_job_id, batch.first_seq - 1)
        if self._journal is None:
            self._log.append(batch.records, batch.first_seq)
        else:
            assert batch.state is not None
            self._journal.save(batch.transactions, batch.state, batch.last_seq)
        self._ids.note(max([self._next_job_id, *(t.next_job_id for t in batch.transactions[-1:])]), batch.last_seq)
        return True

    def _settle_ids(self) -> None:
        """In the writer's thread. A mark that is not exact costs some ids at most, when the state is lost."""
        try:
            if self._journal is None:
                self._log.secure()
            self._ids.settle(self._next_job_id, self._durable_seq)
        except OSError as error:
            logger.warning("cannot write which ids were given: %s", error)

    def _settle(self, batch: _Batch) -> None:
        self._queue.popleft()
        self._durable_seq = batch.last_seq
        self.compactor.count(batch.size, batch.transactions)
        if batch.transactions:
            self._next_job_id = max(self._next_job_id, batch.transactions[-1].next_job_id)
        try:
            for transaction in batch.transactions:
                self._on_durable(transaction)
        finally:
            batch.done.set()

    async def _watch_for_silence(self) -> None:
        """A disk that does not answer at all is as good as one that fails."""
        try:
            while True:
                await self._work.wait()
                await trio.sleep(self._grace_secs / 4)
                if trio.current_time() >= self._writing_since + self._grace_secs and not self._unavailable:
                    self._note_failure("the disk does not answer")
                    self._tell_waiters()
        finally:
            self._deadline()  # if this is how `run` learns that it is to end, a write under way has to know

    def _failed(self, error: OSError) -> None:
        self._note_failure(error.strerror or str(error))

    def _note_failure(self, why: str) -> None:
        if self._last_error is None:
            logger.error("cannot write to %s: %s; trying again until it works", self._data_dir, why)
            self._failing_since = trio.current_time()
        self._last_error = why

    def _recovered(self) -> None:
        if self._last_error is not None:
            logger.warning("writing to %s works again", self._data_dir)
        self._last_error = None
        self._failing_since = math.inf
        self._unavailable = False

    def _next_news(self) -> float:
        """When those who wait are to be told that it takes longer; never, if they have been."""
        return math.inf if self._unavailable else self._failing_since + self._grace_secs

    def _tell_waiters(self) -> None:
        self._unavailable = True
        for batch in self._queue:
            batch.done.set()
            batch.done = trio.Event()
        self.compactor.give_up(self._last_error or STOPPING)

    # -- compaction ------------------------------------------------------------------------------------------------

    def _stir(self) -> None:
        self._work.set()  # for those who have come to wait for a snapshot meanwhile

    def _compaction_is_due(self) -> bool:
        return self._journal is None and len(self._queue) == 1 and self.compactor.is_due()

    async def _compact(self, state: SnapshotState, seq: int, nursery: trio.Nursery) -> None:
        """Let the log go on in a new segment, and start writing the snapshot that it goes on from."""
        task = self.compactor.begin()
        try:
            segment = await self._in_thread(self._log.rotate, seq + 1)
        except OSError as error:
            self.compactor.failed(error, task)
            return
        if segment is None:
            task.give_up(STOPPING)
            return
        self.compactor.busy = True
        nursery.start_soon(self.compactor.save, Snapshot(seq, segment, state), task)


def _backoff() -> Iterator[float]:
    pause = FIRST_BACKOFF_SECS
    while True:
        yield pause
        pause = min(2 * pause, MAX_BACKOFF_SECS)
