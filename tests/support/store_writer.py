"""What the daemon's writer does to a data directory, one call after the other, on a disk that may do anything.

It knows what it has acknowledged and every state there ever was, so it can tell at any time whether what is found on
the disk is right.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

from gflow.core.events import EventKind
from gflow.core.model import Group, State
from gflow.store.disk import Disk, private_directory
from gflow.store.load import Loaded, load
from gflow.store.log import Log, remove_segments
from gflow.store.records import Transaction, encode
from gflow.store.snapshot import Snapshot, write_snapshot
from support.ledger import Ledger, facts


class StoreWriter:
    """Writes to `directory` by way of `disk`.

    - states: what there is to know of the state after each transaction, by seq, in each of the ways it went on there.
    - acknowledged: the seq up to which all was reported to be on disk; `tell` is told of it.
    - pending: the batch that could not be written yet; nothing else is written before it.
    """

    def __init__(self, directory: Path, disk: Disk, tell: Callable[[int], object] = lambda seq: None) -> None:
        self.directory = directory
        self.disk = disk
        self.tell = tell
        self.ledger = Ledger()
        self.states = {0: [facts(self.ledger)]}
        self.acknowledged = 0
        self.pending: list[Transaction] = []
        self.log: Log | None = None
        self._saved_segment = 1

    # -- a life of the daemon

    def start(self) -> Loaded:
        """A new process: whatever the last one had in memory is gone. Returns what it found, which is right."""
        loaded = self.found(self.directory, self.acknowledged)
        self.pending = []
        self.ledger = Ledger(loaded)
        self._saved_segment = loaded.first_segment
        private_directory(self.directory, disk=self.disk)
        self.log = Log(self.directory, loaded.segment, loaded.tail, disk=self.disk)
        return loaded

    def found(self, directory: Path, acknowledged: int) -> Loaded:
        """What is in a directory. Fails unless that was the state once, with everything acknowledged in it."""
        loaded = load(directory)
        assert loaded.seq >= acknowledged, f"{acknowledged} was acknowledged; {loaded.seq} is all there is"
        assert facts(loaded) in self.states[loaded.seq], f"the state never was like that after transaction {loaded.seq}"
        return loaded

    def stop(self) -> None:
        """A proper end."""
        assert self.log is not None
        self.log.close()

    # -- what it does

    def change(self, *makers: Callable[[Ledger], Transaction]) -> bool:
        """Some steps of the engine, written as one batch; whether they are on disk now."""
        if not self.retry():
            return False
        for make in makers:
            self.pending.append(make(self.ledger))
            self.states.setdefault(self.ledger.seq, []).append(facts(self.ledger))
        return self.retry()

    def retry(self) -> bool:
        """Write what could not be written before; whether it is on disk now."""
        assert self.log is not None
        if self.pending:
            try:
                self.log.append([encode(transaction) for transaction in self.pending], self.pending[0].seq)
            except OSError:
                return False
            self.acknowledged = self.pending[-1].seq
            self.pending = []
            self.tell(self.acknowledged)
        return True

    def insist(self, times: int = 20) -> None:
        """Write what is pending, however often it fails at first."""
        assert any(self.retry() for _ in range(times)), "the disk works, and still nothing can be written"

    def compact(self, disk: Disk | None = None) -> bool:
        """Write a snapshot and remove the log it replaces; whether that worked. `disk` is what the snapshot sees."""
        assert self.log is not None
        if not self.retry():
            return False
        disk = disk or self.disk
        with contextlib.suppress(OSError):
            snapshot = Snapshot(self.ledger.seq, self.log.rotate(self.ledger.seq + 1), self.ledger.state())
            write_snapshot(self.directory, snapshot, disk=disk)
            before, self._saved_segment = self._saved_segment, snapshot.segment
            remove_segments(self.directory, before, disk=disk)
            return True
        return False


# -- steps of the engine, each a function of a ledger


def submit(count: int = 1) -> Callable[[Ledger], Transaction]:
    return lambda ledger: ledger.submitted(count)


def advance(ledger: Ledger) -> Transaction:
    """The oldest job that can goes on: it starts, it ends, it leaves the state. Without one, a new job."""
    for job in ledger.jobs.values():
        if job.state is State.QUEUED:
            return ledger.started(job.id)
        if job.state is State.RUNNING:
            return ledger.finished(job.id)
        return ledger.retired(job.id)
    return ledger.submitted()


def hold(ledger: Ledger) -> Transaction:
    """The newest job changes in place."""
    if not ledger.jobs:
        return ledger.submitted()
    job = ledger.jobs[max(ledger.jobs)]
    return ledger.changed((EventKind.UPDATED, job.with_spec(priority=(job.spec.priority + 1) % 256)))


def set_group(ledger: Ledger) -> Transaction:
    return ledger.changed(groups=(Group(f"group-{ledger.seq % 2}", ledger.seq),))


def set_setting(ledger: Ledger) -> Transaction:
    value = None if "gpus" in ledger.settings else [ledger.seq % 4]
    return ledger.changed(settings={"gpus": value, "last": ledger.seq})


def new_boot(ledger: Ledger) -> Transaction:
    return ledger.changed(boot_id=f"boot-{ledger.seq}")


STEPS = (submit(1), submit(2), advance, hold, set_group, set_setting, new_boot)
