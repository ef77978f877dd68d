"""Compacting and pruning the files of a data directory that no daemon has: what `gctl state` does by itself.

The caller holds the lock. Only a state that is whole and is the latest there was is touched; all others are a daemon's
to sort out at its start.

Pruning goes in an order in which nothing is ever half gone: first the jobs leave the state, in one record of the log;
then their logs go, then what the history has of them. After a crash, pruning again does the rest.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from gflow.core.engine import Engine
from gflow.core.model import JobId, Now
from gflow.store.disk import DISK, Disk
from gflow.store.errors import Unreadable
from gflow.store.history import KEPT, History
from gflow.store.ids import furthest, generation_of, read_latest, read_mark
from gflow.store.load import Loaded, load
from gflow.store.log import Log, remove_segments
from gflow.store.records import Transaction, encode
from gflow.store.recovery.journal import read_journal
from gflow.store.recovery.opening import MERGED
from gflow.store.snapshot import Snapshot, write_snapshot
from gflow.store.upkeep.compaction import Compacted, bytes_to_read
from gflow.store.upkeep.pruning import Pruned, count_logs, remove_logs


class NotTidy(Exception):
    """The state is not to be touched as it is; the message is one line that says why and what to do."""


def compact(data_dir: Path, *, disk: Disk = DISK) -> Compacted:
    """Write the state as a new snapshot. Raises NotTidy or OSError."""
    loaded = _current(data_dir, told=0)  # of which events notifications may still have to tell is not known here
    before = bytes_to_read(data_dir, loaded.first_segment)
    log = Log(data_dir, loaded.segment, loaded.tail, disk=disk)
    with closing(log):
        segment = log.rotate(loaded.seq + 1)
    write_snapshot(data_dir, Snapshot(loaded.seq, segment, loaded.state()), disk=disk)
    remove_segments(data_dir, loaded.first_segment, disk=disk)
    return Compacted(len(loaded.jobs), before, bytes_to_read(data_dir, segment))


def prune(data_dir: Path, before: float, *, logs: bool, dry_run: bool, wall: float, disk: Disk = DISK) -> Pruned:
    """Remove the jobs that ended before a moment (seconds since the epoch). Raises NotTidy, HistoryError or OSError."""
    loaded = _current(data_dir)
    engine = Engine()
    engine.restore(loaded.jobs.values(), loaded.groups.values(), loaded.next_job_id, Now(wall, 0.0))
    here, kept = engine.prunable(before)
    staying = engine.jobs.keys() - set(here)
    with closing(History(data_dir)) as history:
        past = [job_id for job_id in history.ended_before(before) if job_id not in staying]
        gone = sorted({*here, *past})
        if not dry_run:
            left = max(0, history.count() - len(past))
            _retire(data_dir, loaded, engine.retire(here).retired, left, disk)
        of_logs = (count_logs if dry_run else remove_logs)(data_dir / "logs", gone) if logs else 0
        if not dry_run:
            history.remove(past)
    return Pruned(len(gone), len(here), len(past), kept, of_logs)


def _current(data_dir: Path, told: int | None = None) -> Loaded:
    """The state, if it is whole and the latest there was."""
    try:
        loaded, entry = load(data_dir, told), read_journal(data_dir)
        mark = furthest(read_mark(data_dir), read_latest(data_dir))
    except Unreadable as error:
        raise NotTidy(f"{error}; see 'gctl state check'") from error
    if entry is not None and loaded.settings.get(MERGED) != entry.id:
        raise NotTidy(
            f"{data_dir}: the state is in recovery: start gflowd first, which puts state and journal together"
        )
    if mark is not None and mark.place > (generation_of(loaded.settings), loaded.seq):
        raise NotTidy(
            f"{data_dir}: the state is from an earlier day than its ids: start gflowd first, and then try again"
        )
    return loaded


def _retire(data_dir: Path, loaded: Loaded, retired: Sequence[JobId], left: int, disk: Disk) -> None:
    """Put on disk that these jobs have left the state, and how many the history will have."""
    if not retired and loaded.settings.get(KEPT, 0) <= left:
        return
    transaction = Transaction(
        seq=loaded.seq + 1,
        jobs=(),
        groups=(),
        events=(),
        settings={KEPT: left},
        next_job_id=loaded.next_job_id,
        next_event_id=loaded.next_event_id,
        retired=tuple(retired),
    )
    with closing(Log(data_dir, loaded.segment, loaded.tail, disk=disk)) as log:
        log.append([encode(transaction)], transaction.seq)
