"""Opening the state at start: as it is, or, if it cannot be read, as well as it can be read.

A state file that cannot be read is never changed. The daemon then serves from what was salvaged and keeps everything
in the journal; copies of the bad files are left beside them. Once the state can be read again, the journal goes on top
of it and a new snapshot holds both, before anybody is served.

Which of two versions of a job counts, the journal's or the state's? The journal's, but for jobs that did not change
since the recovery began, if the state reaches as far as what had been salvaged then.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gflow.core.model import Job, JobId
from gflow.store.acknowledged import NAME as ACKNOWLEDGED
from gflow.store.disk import DISK, Disk, write_over
from gflow.store.errors import Damaged, Foreign, Newer, Unreadable
from gflow.store.history import History, HistoryError
from gflow.store.ids import (
    GENERATION,
    LATEST,
    Ids,
    Mark,
    furthest,
    generation_of,
    highest_id_seen,
    logged_ids,
    read_latest,
    read_mark,
)
from gflow.store.ids import NAME as IDS
from gflow.store.load import Loaded, load
from gflow.store.log import Log
from gflow.store.recovery import journal as journals
from gflow.store.recovery.backup import keep_copy, set_aside
from gflow.store.recovery.journal import Changes, Entry, read_journal, truncate_journal
from gflow.store.recovery.mend import Evidence, mend
from gflow.store.recovery.salvage import Salvage, salvage
from gflow.store.snapshot import NAME, PREVIOUS, Snapshot, write_snapshot

MERGED = "journal_merged"
"""The setting that names the journal a state has taken over."""

EVENTS_STEP = 1 << 20
"""Events of a recovery are counted from this much further on: there may have been some that nothing tells of."""

UNKNOWN_IDS = 1000
"""Ids left out where some were given that nothing tells of any more."""

_PUT_BACK = "put a good copy in its place, gflowd takes it up by itself"

_STATE_FILES = re.compile(rf"{re.escape(NAME)}|{re.escape(PREVIOUS)}|wal-[0-9a-f]{{8}}\.log|{re.escape(ACKNOWLEDGED)}")


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a daemon needs to serve without changing a state file.

    - trouble: what is wrong, one line. backup: the copy of the first file that cannot be read, if there is one.
    - journal_id, base, changed: for the journal.
    - unwritten: how many bytes must fit on the disk before it is worth trying again: the state could be read, but what
      the journal holds could not be written on top of it. None if it could not be read.
    - files: what `state_files` said before they were read, None if it could not be said. passing: the trouble is the
      disk's, so that the files may be readable again without having changed.
    """

    trouble: str
    backup: Path | None
    journal_id: str
    base: tuple[int, int]
    changed: Changes
    files: Mapping[str, tuple[int, ...]] | None
    passing: bool = False
    unwritten: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The state to go on from, the mark of its ids, and what to know if it is a recovery."""

    loaded: Loaded
    mark: Mark
    recovery: Recovery | None = None


@dataclass(slots=True)
class _Opening:
    """What is known while the state is being opened.

    - mark: how far things had gone; what `ids` and `ids.latest` say together. set_aside: ids from here on were never
      given, None if that is not known.
    - older: all there is to see ends before the mark, or does not know of ids that were given.
    """

    data_dir: Path
    wall: float
    disk: Disk
    told: int | None = None
    way_out: str = _PUT_BACK
    files: Mapping[str, tuple[int, ...]] | None = None
    warnings: list[str] = field(default_factory=list)
    mark: Mark | None = None
    set_aside: int | None = None
    older: bool = False
    entry: Entry | None = None

    @property
    def generation(self) -> int:
        """The latest that there was, as far as what lies beside the state tells."""
        entry = generation_of(self.entry.state.settings) if self.entry is not None else 0
        return max(entry, self.mark.generation if self.mark is not None else 0)

    def history(self, ids: Sequence[JobId]) -> Mapping[JobId, Job]:
        history = History(self.data_dir)
        try:
            return history.get(ids)
        except HistoryError as error:
            self.warnings.append(f"{error}; jobs that may be in it are taken for lost")
            return {}
        finally:
            history.close()

    def evidence(self) -> Evidence:
        logged: set[int] = set()
        runs: set[str] = set()
        with contextlib.suppress(OSError):
            logged = logged_ids(self.data_dir)
            runs = set(os.listdir(self.data_dir / "runs"))
        return Evidence(logged, runs, self.history)


def open_state(
    data_dir: Path, wall: float, *, told: int | None = None, way_out: str | None = None, disk: Disk = DISK
) -> Opened:
    """The state kept in `data_dir`; `wall` is now, in seconds since the epoch. The caller holds the lock.

    All events after the one with the number `told` are kept, else the latest. `way_out`: what to do about a snapshot
    that is none of ours. Raises nothing for what is wrong with a file; that is in the warnings of what was loaded.
    """
    opening = _Opening(data_dir, wall, disk, told, way_out or _PUT_BACK)
    with contextlib.suppress(OSError):
        opening.files = state_files(data_dir)
    _read_mark(opening)
    _read_journal(opening)
    try:
        loaded = load(data_dir, told)
    except (Unreadable, OSError) as error:
        return _recover(opening, error)
    opening.warnings[:0] = loaded.warnings
    loaded.warnings = opening.warnings
    return _go_on(opening, loaded)


def state_files(data_dir: Path) -> dict[str, tuple[int, ...]]:
    """A signature of each state file, which differs once the file has changed. Raises OSError."""
    found: dict[str, tuple[int, ...]] = {}
    with os.scandir(data_dir) as entries:
        for entry in entries:
            if _STATE_FILES.fullmatch(entry.name):
                about = entry.stat(follow_symlinks=True)
                found[entry.name] = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return found


def has_room(data_dir: Path, size: int, *, disk: Disk = DISK) -> bool:
    """Whether a file of `size` bytes can be written now."""
    path = data_dir / f"{NAME}.room"
    chunk = bytes(1 << 16)
    try:
        write_over(disk, path, (chunk for _ in range(size // len(chunk) + 1)))
        disk.remove(path)
    except OSError:
        return False
    return True


# -- what lies beside the state ----------------------------------------------------------------------------------------


def _read_mark(opening: _Opening) -> None:
    reserved = latest = None
    try:
        reserved = read_mark(opening.data_dir)
    except (Damaged, OSError) as error:
        opening.warnings.append(f"{_said(error, opening.data_dir / IDS)}; ids go on after the highest that can be seen")
    try:
        latest = read_latest(opening.data_dir)
    except (Damaged, OSError) as error:
        what = "if the state was put back from an earlier day, that may not show"
        opening.warnings.append(f"{_said(error, opening.data_dir / LATEST)}; {what}")
    opening.mark = furthest(reserved, latest)
    opening.set_aside = opening.mark.next if opening.mark is not None and reserved is not None else None


def _read_journal(opening: _Opening) -> None:
    """A journal that cannot be read is moved out of the way of the next one, whole."""
    path = opening.data_dir / journals.NAME
    try:
        opening.entry = read_journal(opening.data_dir)
    except OSError as error:
        opening.warnings.append(f"{_said(error, path)}; what it holds is left out")
    except Unreadable as error:
        try:
            kept = set_aside(path, opening.wall, newer=isinstance(error, Newer), disk=opening.disk)
            opening.warnings.append(f"{error}; it is left out, and kept as {kept.name}")
        except OSError as failure:
            opening.warnings.append(f"{error}; it is left out, and cannot be kept: {failure.strerror}")


def _said(error: Exception, path: Path) -> str:
    return f"{error.filename or path}: {error.strerror or error}" if isinstance(error, OSError) else str(error)


# -- the state can be read ---------------------------------------------------------------------------------------------


def _go_on(opening: _Opening, loaded: Loaded) -> Opened:
    entry = opening.entry
    stale = entry is not None and loaded.settings.get(MERGED) == entry.id
    if stale:
        entry = opening.entry = None
    _number_jobs(opening, loaded)
    if entry is not None:
        _merge(opening, loaded, entry)
        return _written_anew(opening, loaded, entry)
    if opening.older:
        _distrust(opening, loaded)
        return _written_anew(opening, loaded, None)
    opened = Opened(loaded, opening.mark or Mark())
    return _forgotten(opening, opened) if stale else opened


def _distrust(opening: _Opening, loaded: Loaded) -> None:
    loaded.warnings.append(_older_line(opening, loaded, NAME))
    loaded.warnings += mend(loaded.jobs, set(loaded.jobs), opening.evidence(), opening.wall, blind=False)
    loaded.next_event_id += EVENTS_STEP


def _older_line(opening: _Opening, loaded: Loaded, name: str) -> str:
    return (
        f"{opening.data_dir / name}: it is older than the ids that were given: the state was lost, or put back "
        f"from an earlier day; the next job is {loaded.next_job_id}"
    )


def _number_jobs(opening: _Opening, loaded: Loaded) -> None:
    """Set the id of the next job, and whether the state turned out to be older than what else there is to see."""
    mark, entry = opening.mark, opening.entry
    reached = max(_place(loaded), _entry_place(entry))
    given = max(loaded.next_job_id, entry.state.next_job_id if entry is not None else 1)
    seen = 0
    if mark is None or opening.set_aside is None or (mark.next, mark.place) != (given, reached):
        seen = highest_id_seen(opening.data_dir, opening.set_aside, opening.warnings)
    behind = mark is not None and (mark.place > reached or reached == (0, 0))  # ids were given, and nothing is there
    opening.older = behind or seen >= given
    loaded.next_job_id = max(given, seen + 1, mark.next if mark else 1) if opening.older else given


def _place(loaded: Loaded) -> tuple[int, int]:
    return generation_of(loaded.settings), loaded.seq


def _entry_place(entry: Entry | None) -> tuple[int, int]:
    return (generation_of(entry.state.settings), entry.seq) if entry is not None else (0, 0)


def _merge(opening: _Opening, loaded: Loaded, entry: Entry) -> None:
    known = set(loaded.jobs)
    reaches = _place(loaded) >= entry.base and not opening.older
    _put_on_top(loaded, entry, newer=reaches)
    doubtful = set() if reaches else known - entry.changed.jobs
    if opening.older:
        doubtful = set(loaded.jobs)
        loaded.next_event_id += EVENTS_STEP
        loaded.warnings.append(_older_line(opening, loaded, journals.NAME))
    loaded.warnings.append(
        f"{opening.data_dir / NAME}: it can be read again; {len(entry.changed.jobs)} jobs that changed meanwhile were "
        "taken over from the journal"
    )
    loaded.warnings += mend(loaded.jobs, doubtful, opening.evidence(), opening.wall, blind=False)


def _put_on_top(loaded: Loaded, entry: Entry, *, newer: bool) -> None:
    """`newer`: the loaded state counts where nothing has changed since the recovery began."""
    state, changed = entry.state, entry.changed

    def keeps(key: object, there: object, touched: object) -> bool:
        return newer and key in there and key not in touched  # type: ignore[operator]

    loaded.jobs |= {job.id: job for job in state.jobs if not keeps(job.id, loaded.jobs, changed.jobs)}
    loaded.groups |= {group.id: group for group in state.groups if not keeps(group.id, loaded.groups, changed.groups)}
    for job_id in changed.jobs - {job.id for job in state.jobs}:
        loaded.jobs.pop(job_id, None)  # it left the state
    for key in changed.settings - state.settings.keys():
        loaded.settings.pop(key, None)
    loaded.settings |= {
        key: value for key, value in state.settings.items() if not keeps(key, loaded.settings, changed.settings)
    }
    events = sorted((dict(loaded.events) | dict(state.events)).items())
    loaded.events.clear()
    loaded.remember(events)
    loaded.jobs = dict(sorted(loaded.jobs.items()))
    loaded.next_job_id = max(loaded.next_job_id, state.next_job_id, max(loaded.jobs, default=JobId(0)) + 1)
    loaded.next_event_id = max(loaded.next_event_id, state.next_event_id)
    # times of two boots do not mix: without a boot nothing is concluded from any
    loaded.boot_id = state.boot_id if loaded.boot_id in ("", state.boot_id) else ""


def _written_anew(opening: _Opening, loaded: Loaded, entry: Entry | None) -> Opened:
    """Put the state on disk as a new snapshot, and only then let go of the journal."""
    settings = dict(loaded.settings)
    try:
        _write_anew(opening, loaded, entry)
    except OSError as error:
        loaded.settings = settings
        if entry is None:  # the mark on disk goes on saying what it said
            loaded.warnings.append(f"{opening.data_dir}: the state cannot be written anew: {error.strerror}")
            return Opened(loaded, opening.mark or Mark())
        return _unwritten(opening, loaded, entry, error)
    mark = Mark(loaded.next_job_id, loaded.seq, generation_of(loaded.settings))
    ids = Ids(opening.data_dir, opening.mark or Mark(), mark.generation, disk=opening.disk)
    with contextlib.suppress(OSError), contextlib.closing(ids):  # neither is needed for the state to count
        _write_snapshot(opening, loaded)  # the one before is of another state, and no help if this one got damaged
        ids.settle(mark.next, mark.seq)
        return _forgotten(opening, Opened(loaded, mark))
    return _forgotten(opening, Opened(loaded, opening.mark or Mark()))


def _write_anew(opening: _Opening, loaded: Loaded, entry: Entry | None) -> None:
    """Under the number of the last transaction, so that at each moment snapshot and log fit together."""
    loaded.settings[GENERATION] = max(generation_of(loaded.settings), opening.generation) + 1
    if entry is not None:
        loaded.settings[MERGED] = entry.id
    log = Log(opening.data_dir, loaded.segment, loaded.tail, disk=opening.disk)
    loaded.segment, loaded.tail = log.rotate(loaded.seq + 1), None
    log.close()
    _write_snapshot(opening, loaded)
    loaded.first_segment = loaded.segment
    loaded.log_bytes = loaded.log_changes = 0


def _write_snapshot(opening: _Opening, loaded: Loaded) -> None:
    snapshot = Snapshot(loaded.seq, loaded.segment, loaded.state())
    write_snapshot(opening.data_dir, snapshot, disk=opening.disk)


def _unwritten(opening: _Opening, loaded: Loaded, entry: Entry, error: OSError) -> Opened:
    """Go on in recovery, under a new id: the failed snapshot may turn up, and says that it took over the old one."""
    size = (opening.data_dir / journals.NAME).stat().st_size
    trouble = f"{opening.data_dir / NAME}: what the journal holds cannot be written to it: {error.strerror}; make room"
    loaded.warnings.append(trouble)
    loaded.settings[GENERATION] = _generation_in_recovery(opening, generation_of(loaded.settings))
    loaded.seq = max(loaded.seq, entry.seq)
    journal_id = secrets.token_hex(8)
    recovery = Recovery(
        trouble, None, journal_id, entry.base, entry.changed, opening.files, passing=True, unwritten=3 * size
    )
    return Opened(loaded, opening.mark or Mark(), recovery)


def _generation_in_recovery(opening: _Opening, of_state: int) -> int:
    """One generation for a recovery, over restarts, unless an older journal was put back."""
    here = max(of_state, opening.generation)
    return here + 1 if opening.entry is None or opening.older else here


def _forgotten(opening: _Opening, opened: Opened) -> Opened:
    """What was opened, with the journal, which is in it, emptied."""
    try:
        truncate_journal(opening.data_dir, disk=opening.disk)
    except OSError as error:
        path = opening.data_dir / journals.NAME
        opened.loaded.warnings.append(f"{path}: cannot be emptied, though it was taken over: {error.strerror}")
    return opened


# -- the state cannot be read ------------------------------------------------------------------------------------------


def _recover(opening: _Opening, error: Unreadable | OSError) -> Opened:
    found = salvage(opening.data_dir, opening.told)
    loaded, mark = found.loaded, opening.mark
    if opening.entry is not None and loaded.settings.get(MERGED) == opening.entry.id:
        opening.entry = None
    entry, base = opening.entry, _place(loaded)
    if mark is not None and mark.place > max(base, _entry_place(entry)):
        found.incomplete = found.blind = True
        found.doubtful = set(loaded.jobs)
    _number_jobs(opening, loaded)
    if entry is None:
        _leave_room(opening, loaded, lost=found.incomplete or opening.older)
    else:
        _go_on_from_journal(opening, found, entry, newer=base > entry.base)
    mended = mend(loaded.jobs, found.doubtful, opening.evidence(), opening.wall, blind=found.blind)
    here = max(base[0], opening.generation)
    loaded.settings[GENERATION] = _generation_in_recovery(opening, base[0])
    base = max(base, entry.base) if entry else (here, base[1])
    loaded.seq = max(loaded.seq, entry.seq if entry else 0)
    path = _culprit(opening, error, found)
    backup = _keep_copies(opening, found.bad_files, path)
    what = _said(error, path)
    left_out = [line for line in found.left_out if line != f"left out {what}"]
    loaded.warnings = [f"{what}; going on in recovery", *opening.warnings, *left_out, *mended]
    trouble = f"{what}; {opening.way_out if isinstance(error, Foreign) else _PUT_BACK}"
    journal_id, changed = (entry.id, entry.changed) if entry else (secrets.token_hex(8), Changes())
    passing = isinstance(error, OSError)
    recovery = Recovery(trouble, backup, journal_id, base, changed, opening.files, passing)
    return Opened(loaded, mark or Mark(), recovery)


def _go_on_from_journal(opening: _Opening, found: Salvage, entry: Entry, *, newer: bool) -> None:
    """An older journal says nothing certain of any job."""
    loaded = found.loaded
    _put_on_top(loaded, entry, newer=newer)
    if opening.older:
        found.blind, found.doubtful = True, set(loaded.jobs)
        loaded.next_event_id += EVENTS_STEP
        opening.warnings.append(_older_line(opening, loaded, journals.NAME))
    else:
        found.doubtful -= entry.changed.jobs


def _leave_room(opening: _Opening, loaded: Loaded, *, lost: bool) -> None:
    """Go past the ids, of jobs and of events, that may have been given in what could not be read."""
    if opening.mark is not None:
        loaded.next_job_id = max(loaded.next_job_id, opening.mark.next)
    if opening.set_aside is None and lost:
        loaded.next_job_id += UNKNOWN_IDS
    loaded.next_event_id += EVENTS_STEP


def _culprit(opening: _Opening, error: Unreadable | OSError, found: Salvage) -> Path:
    """The file that `error` is about; a failed read does not say."""
    named = error.path if isinstance(error, Unreadable) else error.filename
    path = Path(named) if named is not None else next(iter(found.bad_files), opening.data_dir / NAME)
    if not found.bad_files:
        found.bad_files[path] = isinstance(error, Newer)
    return path


def _keep_copies(opening: _Opening, bad_files: Mapping[Path, bool], culprit: Path) -> Path | None:
    """Copies of all of them; returns the one of the culprit, or else the first."""
    copies: dict[Path, Path] = {}
    for path, newer in bad_files.items():
        try:
            copies[path] = keep_copy(path, opening.wall, newer=newer, disk=opening.disk)
        except FileNotFoundError:
            continue
        except OSError as error:
            opening.warnings.append(f"{path}: no copy of it could be made: {error.strerror or error}")
    return copies.get(culprit, next(iter(copies.values()), None))
