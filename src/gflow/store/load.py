"""Reading the whole state: the snapshot, and on top of it every transaction in the log.

Nothing is changed on disk, so looking is always safe. What was never acknowledged may be missing, and that gets one
warning; whatever else does not fit together raises, so that no wrong state is ever taken for a right one.
"""

import gc
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gflow.core.events import Event
from gflow.core.model import Group, Job, JobId
from gflow.store.acknowledged import NAME as MARK
from gflow.store.acknowledged import acknowledged
from gflow.store.errors import Damaged
from gflow.store.records import Transaction, decode
from gflow.store.snapshot import KEPT_EVENTS, NAME, PREVIOUS, Snapshot, SnapshotState, read_snapshot
from gflow.store.wal import LAST_READ, Contents, Frame, Tail, read_segment, segment_numbers, segment_path


@dataclass(slots=True)
class Loaded:
    """The state, and where the log stands.

    - jobs in order of their ids; settings that are set; events: the latest, with their ids, oldest first.
    - seq: of the last transaction. boot_id: the boot the `_boot` times belong to, empty if there never was one.
    - warnings: one line each, for the daemon's log.
    - segment: the number of the newest log segment. first_segment: where replay started.
    - tail: the last batch in the log; it may not be on disk yet.
    - told: the last event that others have, too; all after it are among `events`, however many. None: nobody asks.
    - log_changes, log_bytes: what a snapshot would save reading; see `Transaction.changes`.
    """

    jobs: dict[JobId, Job] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    events: deque[tuple[int, Event]] = field(default_factory=deque)
    next_job_id: int = 1
    next_event_id: int = 1
    seq: int = 0
    boot_id: str = ""
    warnings: list[str] = field(default_factory=list)
    segment: int = 0
    first_segment: int = 1
    tail: Tail | None = None
    log_changes: int = 0
    log_bytes: int = 0
    told: int | None = None

    def state(self) -> SnapshotState:
        """What a snapshot of it holds."""
        return SnapshotState(
            jobs=tuple(self.jobs.values()),
            groups=tuple(self.groups.values()),
            settings=dict(self.settings),
            events=tuple(self.events),
            next_job_id=self.next_job_id,
            next_event_id=self.next_event_id,
            boot_id=self.boot_id,
        )

    def apply(self, transaction: Transaction) -> None:
        """Take over what a transaction changed."""
        self.seq = transaction.seq
        self.jobs.update((job.id, job) for job in transaction.jobs)
        for job_id in transaction.retired:
            self.jobs.pop(job_id, None)
        self.groups.update((group.id, group) for group in transaction.groups)
        for key, value in transaction.settings.items():
            if value is None:
                self.settings.pop(key, None)
            else:
                self.settings[key] = value
        self.remember(transaction.numbered_events)
        self.next_event_id = max(self.next_event_id, transaction.next_event_id)
        highest = max((job.id for job in transaction.jobs), default=JobId(0))
        self.next_job_id = max(self.next_job_id, transaction.next_job_id, highest + 1)
        if transaction.boot_id is not None:
            self.boot_id = transaction.boot_id

    def remember(self, events: Iterable[tuple[int, Event]]) -> None:
        """Take over later events; of those that are not needed the latest are kept."""
        self.events.extend(events)
        while len(self.events) > KEPT_EVENTS and (self.told is None or self.events[0][0] <= self.told):
            self.events.popleft()


def load(data_dir: Path, told: int | None = None) -> Loaded:
    """The state kept in `data_dir`; an empty one if there is none. Raises Damaged, Newer, Foreign or OSError.

    All events after the one with the number `told` are kept, else the latest.
    """
    loaded = Loaded(told=told)
    if data_dir.is_dir():
        with _no_garbage_collection():
            _load(data_dir, loaded)
    return loaded


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Nothing read here is garbage; looking for it again and again would double the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load(data_dir: Path, loaded: Loaded) -> None:
    promised = acknowledged(data_dir)  # before the log is read: a daemon may be going on with both
    snapshot = _snapshot(data_dir, loaded.warnings)
    if snapshot is not None:
        start_from(snapshot, loaded)
    segments = _segments(data_dir, loaded, named=snapshot is not None)
    for contents, void_from in _with_bounds(segments):
        _replay(contents, void_from, loaded)
    loaded.tail = next((contents.tail for contents in reversed(segments) if contents.tail), None)
    _refuse_a_short_log(data_dir, segments, loaded, promised)
    if not promised and (data_dir / MARK).exists():
        loaded.warnings.append(f"{data_dir / MARK} is unreadable: if the end of the log was lost, it does not show")
    if segments:
        _warn_of_torn_tail(segments[-1], loaded)
    loaded.jobs = dict(sorted(loaded.jobs.items()))


def _snapshot(data_dir: Path, warnings: list[str]) -> Snapshot | None:
    """The latest snapshot. Between two renames there may only be the previous one; the log on top makes it whole."""
    for name in (NAME, PREVIOUS):
        path = data_dir / name
        if path.exists():
            if name == PREVIOUS:
                warnings.append(f"{data_dir / NAME} is missing; read {PREVIOUS} and the log after it instead")
            return read_snapshot(path)
    return None


def start_from(snapshot: Snapshot, loaded: Loaded) -> None:
    """Take over the state of a snapshot, into an empty one."""
    state = snapshot.state
    loaded.jobs = {job.id: job for job in state.jobs}
    loaded.groups = {group.id: group for group in state.groups}
    loaded.settings = dict(state.settings)
    loaded.remember(state.events)
    loaded.next_event_id = state.next_event_id
    loaded.next_job_id = max(state.next_job_id, max(loaded.jobs, default=JobId(0)) + 1)
    loaded.seq = snapshot.seq
    loaded.boot_id = state.boot_id
    loaded.first_segment = snapshot.segment


def _segments(data_dir: Path, loaded: Loaded, *, named: bool) -> list[Contents]:
    """The segments to replay. A snapshot names one that is made before it is, so that one must be there."""
    numbers = [number for number in segment_numbers(data_dir) if number >= loaded.first_segment]
    if named and loaded.first_segment not in numbers:
        raise Damaged(segment_path(data_dir, loaded.first_segment), 0, "the log that follows the snapshot is missing")
    if numbers and numbers[-1] > LAST_READ:
        raise Damaged(segment_path(data_dir, numbers[-1]), 0, "its number leaves none for the segments after it")
    if numbers:
        loaded.segment = numbers[-1]
        loaded.first_segment = numbers[0]
    return [read_segment(segment_path(data_dir, number), number) for number in numbers]


def _with_bounds(segments: list[Contents]) -> Iterator[tuple[Contents, int | None]]:
    """Each segment with the seq from which on later segments replace it."""
    bounds: list[int | None] = []
    void_from: int | None = None
    for contents in reversed(segments):
        bounds.append(void_from)
        if contents.first_seq is not None:
            void_from = contents.first_seq if void_from is None else min(void_from, contents.first_seq)
    return zip(segments, reversed(bounds), strict=True)


def _replay(contents: Contents, void_from: int | None, loaded: Loaded) -> None:
    if contents.first_seq is not None and contents.first_seq > loaded.seq + 1:
        raise Damaged(contents.path, 0, f"{_missing(loaded.seq + 1, contents.first_seq)} before it")
    for frame in contents.frames:
        transaction = _decode(contents, frame)
        if void_from is not None and transaction.seq >= void_from:
            break
        if transaction.seq > loaded.seq + 1:
            raise Damaged(contents.path, frame.offset, f"{_missing(loaded.seq + 1, transaction.seq)} here")
        if transaction.seq == loaded.seq + 1:
            loaded.apply(transaction)
            loaded.log_changes += transaction.changes
    loaded.log_bytes += contents.size


def _missing(first: int, after: int) -> str:
    return (
        f"transaction {first} is missing" if after == first + 1 else f"transactions {first} to {after - 1} are missing"
    )


def _decode(contents: Contents, frame: Frame) -> Transaction:
    try:
        return decode(frame.record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(contents.path, frame.offset, f"the record makes no sense ({error!r})") from error


def _refuse_a_short_log(data_dir: Path, segments: list[Contents], loaded: Loaded, promised: int) -> None:
    """An unfinished write was never acknowledged, so a log that ends before what was has lost more than that."""
    after = promised + 1
    if after > loaded.seq + 1:
        what = f"{_missing(loaded.seq + 1, after)} at the end, though on disk once"
        path, offset = (data_dir / NAME, 0) if not segments else (segments[-1].path, _end(segments[-1]))
        raise Damaged(path, offset, f"{what} (as {MARK} says; without that file the log is taken as it is)")


def _end(contents: Contents) -> int:
    return contents.size if contents.torn_at is None else contents.torn_at


def _warn_of_torn_tail(last: Contents, loaded: Loaded) -> None:
    """Older segments have no tail to warn of: their successor went on from the good part."""
    if last.torn_at is not None and last.size > last.torn_at:
        loaded.warnings.append(
            f"{last.path}: left out {last.size - last.torn_at} bytes at the end, from byte {last.torn_at}: "
            "a write that was never finished"
        )
