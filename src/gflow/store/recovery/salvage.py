"""Reading what can still be read of a state that `load` refuses. Changes nothing on disk.

A snapshot counts whole or not at all; of the log every good record counts, wherever it lies. Records hold state, so
what is left is right for the jobs in it, but a job may have changed once more in what was lost: such jobs are
`doubtful`. If the log has no gap and no end is missing, nothing was lost and no job is doubtful.
"""

from dataclasses import dataclass, field
from pathlib import Path

from gflow.core.model import JobId
from gflow.store.acknowledged import acknowledged
from gflow.store.errors import Newer, Unreadable
from gflow.store.load import Loaded, start_from
from gflow.store.records import Transaction, decode
from gflow.store.snapshot import NAME, PREVIOUS, Snapshot, read_snapshot
from gflow.store.wal import Remains, salvage_segment, segment_numbers, segment_path

_NO_RECORD = (KeyError, TypeError, ValueError, AttributeError)


@dataclass(slots=True)
class Salvage:
    """What could be read, and what could not.

    - loaded: the state made of it; `seq` is of the last transaction that could be read.
    - left_out: one line for each thing that could not be read. bad_files: those it was in, and whether a newer gflow
      wrote them.
    - doubtful: jobs that may have changed once more in what could not be read.
    - incomplete: something is missing. blind: how much is not even known, as a whole file is.
    """

    loaded: Loaded = field(default_factory=Loaded)
    left_out: list[str] = field(default_factory=list)
    bad_files: dict[Path, bool] = field(default_factory=dict)
    doubtful: set[JobId] = field(default_factory=set)
    incomplete: bool = False
    blind: bool = False

    def refuse(self, path: Path, error: Unreadable | OSError) -> None:
        """Note a file that cannot be read at all."""
        self.bad_files[path] = isinstance(error, Newer)
        self.left_out.append(f"left out {error if isinstance(error, Unreadable) else f'{path}: {error.strerror}'}")


def salvage(data_dir: Path, told: int | None = None) -> Salvage:
    """What can be read of the state in `data_dir`; never raises for what is wrong with a file. `told`: as in `load`."""
    found = Salvage()
    found.loaded.told = told
    snapshot = _snapshot(data_dir, found)
    if snapshot is not None:
        start_from(snapshot, found.loaded)
    segments = _segments(data_dir, found)
    _look_for_the_start(snapshot, segments, found)
    _replay(_transactions(segments, found), found)
    loaded = found.loaded
    loaded.jobs = dict(sorted(loaded.jobs.items()))
    if (promised := acknowledged(data_dir)) > loaded.seq:
        found.left_out.append(_left_out(loaded.seq + 1, promised))
        found.incomplete, found.doubtful = True, set(loaded.jobs)
    if found.blind:
        found.doubtful = set(loaded.jobs)
    return found


def _snapshot(data_dir: Path, found: Salvage) -> Snapshot | None:
    for name in (NAME, PREVIOUS):
        path = data_dir / name
        try:
            return read_snapshot(path)
        except FileNotFoundError:
            continue
        except (Unreadable, OSError) as error:
            found.refuse(path, error)
    return None


def _segments(data_dir: Path, found: Salvage) -> list[Remains]:
    """All segments, in order."""
    segments = []
    try:
        numbers = segment_numbers(data_dir)
    except OSError as error:
        found.refuse(data_dir, error)
        numbers, found.incomplete, found.blind = [], True, True
    for number in numbers:
        path = segment_path(data_dir, number)
        try:
            segments.append(salvage_segment(path, number))
        except (Unreadable, OSError) as error:
            found.refuse(path, error)
            found.incomplete = found.blind = True
    found.loaded.segment = numbers[-1] if numbers else 0
    return segments


def _look_for_the_start(snapshot: Snapshot | None, segments: list[Remains], found: Salvage) -> None:
    """The log must go on from the snapshot, or, without one, be there if a snapshot was."""
    numbers = {remains.number for remains in segments}
    if snapshot is not None and snapshot.segment not in numbers:
        found.left_out.append(f"segment {snapshot.segment:08x} of the log, which follows the snapshot, is missing")
    elif snapshot is not None or numbers or not found.bad_files:
        return
    found.incomplete = found.blind = True


def _transactions(segments: list[Remains], found: Salvage) -> list[Transaction]:
    """All that can be read, in order; what a later segment replaced, because it was never acknowledged, is not."""
    kept: list[Transaction] = []
    void_from: int | None = None
    for remains in reversed(segments):
        own = _decoded(remains, found)
        _tell_of_damage(remains, own, void_from, found)
        kept += (t for t in own if void_from is None or t.seq < void_from)
        first = remains.first_seq if remains.first_seq is not None else min((t.seq for t in own), default=None)
        if first is not None:
            void_from = first if void_from is None else min(first, void_from)
    return sorted(kept, key=lambda transaction: transaction.seq)


def _decoded(remains: Remains, found: Salvage) -> list[Transaction]:
    transactions = []
    for frame in remains.frames:
        try:
            transactions.append(decode(frame.record))
        except _NO_RECORD as error:
            found.bad_files[remains.path] = False
            found.left_out.append(
                f"left out {remains.path}: the record at byte {frame.offset} makes no sense ({error!r})"
            )
    return transactions


def _tell_of_damage(remains: Remains, own: list[Transaction], next_first: int | None, found: Salvage) -> None:
    """A write at the end that was never finished is no damage: the next segment goes on where it would have."""
    end = remains.frames[-1].end if remains.frames else 0
    goes_on_at = own[-1].seq + 1 if own else remains.first_seq
    unfinished = goes_on_at is not None and (next_first is None or next_first <= goes_on_at)
    for start, stop in remains.bad:
        if not (unfinished and start >= end):
            found.bad_files[remains.path] = False
            found.left_out.append(f"left out {remains.path}: damaged from byte {start} to {stop}")


def _replay(transactions: list[Transaction], found: Salvage) -> None:
    loaded = found.loaded
    changed_at = dict.fromkeys(loaded.jobs, loaded.seq)
    gap_after = 0
    for transaction in transactions:
        if transaction.seq <= loaded.seq:
            continue
        if transaction.seq > loaded.seq + 1:
            found.incomplete = True
            gap_after = transaction.seq
            found.left_out.append(_left_out(loaded.seq + 1, transaction.seq - 1))
        loaded.apply(transaction)
        changed_at.update((job.id, transaction.seq) for job in transaction.jobs)
    found.doubtful = {job_id for job_id in loaded.jobs if changed_at[job_id] < gap_after}


def _left_out(first: int, last: int) -> str:
    what = f"change {first}" if first == last else f"changes {first} to {last}"
    return f"left out {what}, which could not be read"
