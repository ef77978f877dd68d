"""Putting a plan on disk, so that a crash at any point leaves either what was there or the whole import.

In an empty data directory the import is one snapshot: everything else (the backup copy, script texts, the empty log
segment the snapshot goes on with) is there and synced before the snapshot takes its name, and none of it says anything
by itself. A directory in use gets one record in its log instead. Doing it again after a crash uses what is there.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gflow.core.model import JobId
from gflow.store.acknowledged import NAME as ACKNOWLEDGED
from gflow.store.disk import DISK, Disk, open_regular, private_directory
from gflow.store.history import NAME as HISTORY
from gflow.store.ids import LATEST, highest_id_seen
from gflow.store.ids import NAME as IDS
from gflow.store.imports.plan import NotImportable, Plan
from gflow.store.load import Loaded
from gflow.store.log import Log
from gflow.store.records import Transaction, encode
from gflow.store.recovery.backup import keep_copy
from gflow.store.snapshot import FORMAT, NAME, PREVIOUS, Snapshot, SnapshotState, write_snapshot
from gflow.store.spool import Spool
from gflow.store.wal import HEADER_BYTES, Segment, segment_numbers, segment_path

LEGACY_NAME = "state.json"
SETTING = "imported"

_OURS_ALONE = (PREVIOUS, IDS, LATEST, HISTORY, ACKNOWLEDGED)
_NEXT = "next_reservation_id"
"""A setting that may be there twice: the higher counts."""


# -- looking -----------------------------------------------------------------------------------------------------------


def has_state(data_dir: Path) -> bool:
    """Whether this gflow has ever kept a state in the directory, readable or not."""
    if not data_dir.is_dir():
        return False
    if is_ours(data_dir / NAME) or any((data_dir / name).exists() for name in _OURS_ALONE):
        return True
    return any(segment_path(data_dir, n).stat().st_size > HEADER_BYTES for n in segment_numbers(data_dir))


def clear_traces(data_dir: Path, *, disk: Disk = DISK) -> None:
    """Remove the empty log segments that an interrupted import leaves in a directory without a state."""
    if data_dir.is_dir() and not has_state(data_dir):
        clear_segments(data_dir, disk=disk)


def clear_segments(data_dir: Path, *, disk: Disk = DISK) -> None:
    """Remove all segments of the log. The caller has seen that they are empty."""
    for number in segment_numbers(data_dir):
        disk.remove(segment_path(data_dir, number))


def is_ours(path: Path) -> bool:
    """Whether a file is, or was, a snapshot of this gflow: it says so in its first bytes.

    One that cannot be read may be: the recovery serves without touching it.
    """
    try:
        with open_regular(path) as file:
            return FORMAT.encode() in file.read(64)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def find_older(data_dir: Path) -> Path | None:
    """The state file an older gflow has left in a directory that this one has not used yet.

    Whatever has its name counts: what cannot be read is not passed over.
    """
    if has_state(data_dir):
        return None
    return next((path for name in (NAME, LEGACY_NAME) if os.path.lexists(path := data_dir / name)), None)


def already_imported(plan: Plan, settings: Mapping[str, Any]) -> bool:
    """Whether this very file was taken over before."""
    before = settings.get(SETTING)
    return isinstance(before, dict) and before.get("sha256") == plan.sha256


def check_room(data_dir: Path, plan: Plan, loaded: Loaded) -> None:
    """Raise NotImportable if something would be lost: an older state that is there, an id, a setting, a group."""
    occupied = data_dir / NAME
    if occupied.exists() and not has_state(data_dir) and plan.path.resolve().parent != data_dir.resolve():
        raise NotImportable(
            plan.path, f"cannot be imported: {occupied} is of an older gflow, too; import that one first"
        )
    lowest = min((job.id for job in plan.jobs), default=JobId(loaded.next_job_id))
    if lowest < loaded.next_job_id:
        what = f"it has job {lowest}, and ids up to {loaded.next_job_id - 1} have been given here already"
        raise NotImportable(plan.path, f"cannot be imported: {what}; import it into an empty data directory")
    both = [key for key in plan.settings if key in loaded.settings and key != _NEXT]
    both += [f"group {group.id}" for group in plan.groups if group.id in loaded.groups]
    if both:
        what = f"it would replace {', '.join(both)}"
        raise NotImportable(plan.path, f"cannot be imported: {what}; import it into an empty data directory")


# -- writing -----------------------------------------------------------------------------------------------------------


def install(
    data_dir: Path, plan: Plan, *, wall: float, boot_id: str, next_event_id: int = 1, disk: Disk = DISK
) -> Path | None:
    """Make the plan the state of a directory that has none.

    Ids go on above every job that has a log or is in the history: a state that did not know of those would be taken
    for one from an earlier day. Returns the backup copy; None if the file is not in that directory, where it is left
    as it is. Raises OSError.
    """
    backup = _prepare(data_dir, plan, wall, disk)
    if (occupied := data_dir / NAME).exists():
        keep_copy(occupied, wall, newer=True, disk=disk)
    state = SnapshotState(
        jobs=plan.jobs,
        groups=plan.groups,
        settings={**plan.settings, **_mark(plan, wall)},
        events=(),
        next_job_id=max(plan.next_job_id, highest_id_seen(data_dir, None, []) + 1),
        next_event_id=next_event_id,
        boot_id=boot_id,
    )
    # The import counts as transaction 1: without its snapshot the log would have a gap, and not look complete.
    clear_traces(data_dir, disk=disk)
    Segment.create(data_dir, 1, 2, disk=disk).close()
    write_snapshot(data_dir, Snapshot(1, 1, state), disk=disk, keep_previous=False)
    return backup


def join(data_dir: Path, plan: Plan, loaded: Loaded, *, wall: float, disk: Disk = DISK) -> Path | None:
    """Add the plan to the state `loaded` of a directory, after `check_room`; returns as `install`. Raises OSError."""
    backup = _prepare(data_dir, plan, wall, disk)
    transaction = Transaction(
        seq=loaded.seq + 1,
        jobs=plan.jobs,
        groups=plan.groups,
        events=(),
        settings={**plan.settings, **_merged(plan.settings, loaded.settings), **_mark(plan, wall)},
        next_job_id=max(plan.next_job_id, loaded.next_job_id),
        next_event_id=loaded.next_event_id,
    )
    log = Log(data_dir, loaded.segment, loaded.tail, disk=disk)
    try:
        log.append([encode(transaction)], transaction.seq)
    finally:
        log.close()
    return backup


def _merged(new: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    return {_NEXT: max(here[_NEXT], new[_NEXT])} if _NEXT in new and _NEXT in here else {}


def _mark(plan: Plan, wall: float) -> dict[str, Any]:
    return {SETTING: {"sha256": plan.sha256, "path": str(plan.path), "format": plan.format, "at": wall}}


def _prepare(data_dir: Path, plan: Plan, wall: float, disk: Disk) -> Path | None:
    """Everything the state needs beside itself, on disk."""
    private_directory(data_dir, disk=disk)
    spool = Spool(data_dir / "spool", disk=disk)
    for text in plan.scripts.values():
        spool.put("script", text)
    beside = plan.path.resolve().parent == data_dir.resolve()
    return keep_copy(plan.path, wall, newer=True, disk=disk) if beside else None
