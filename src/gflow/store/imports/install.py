"""Putting a plan on disk, so that a crash at any point leaves either what was there or the whole import.

In an empty data directory the import is one snapshot: everything else (the backup copy, script texts, the empty log
segment the snapshot goes on with) is there and synced before the snapshot takes its name, and none of it says anything
by itself. A directory in use gets one record in its log instead. Doing it again after a crash uses what is there.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gflow.core.model import JobId
from gflow.store.disk import DISK, Disk, private_directory, write_new
from gflow.store.imports.plan import NotImportable, Plan
from gflow.store.load import Loaded
from gflow.store.log import Log
from gflow.store.records import Transaction, encode
from gflow.store.snapshot import FORMAT, NAME, PREVIOUS, Snapshot, SnapshotState, write_snapshot
from gflow.store.spool import Spool
from gflow.store.wal import HEADER_BYTES, Segment, segment_numbers, segment_path

LEGACY_NAME = "state.json"
SETTING = "imported"

_OURS_ALONE = (PREVIOUS, "ids", "history.sqlite")
_BACKUP = re.compile(r".*\.backup\.\d+")


# -- looking -----------------------------------------------------------------------------------------------------------


def has_state(data_dir: Path) -> bool:
    """Whether this gflow has ever kept a state in the directory, readable or not."""
    if not data_dir.is_dir():
        return False
    if is_ours(data_dir / NAME) or any((data_dir / name).exists() for name in _OURS_ALONE):
        return True
    # an import that was interrupted leaves a segment without records
    return any(segment_path(data_dir, n).stat().st_size > HEADER_BYTES for n in segment_numbers(data_dir))


def is_ours(path: Path) -> bool:
    """Whether a file is, or was, a snapshot of this gflow: it says so in its first bytes."""
    try:
        with path.open("rb") as file:
            return FORMAT.encode() in file.read(64)
    except FileNotFoundError:
        return False


def find_older(data_dir: Path) -> Path | None:
    """The state file an older gflow has left in a directory that this one has not used yet."""
    if has_state(data_dir):
        return None
    return next((path for name in (NAME, LEGACY_NAME) if (path := data_dir / name).is_file()), None)


def already_imported(plan: Plan, settings: Mapping[str, Any]) -> bool:
    """Whether this very file was taken over before."""
    before = settings.get(SETTING)
    return isinstance(before, dict) and before.get("sha256") == plan.sha256


# -- writing -----------------------------------------------------------------------------------------------------------


def install(data_dir: Path, plan: Plan, *, wall: float, boot_id: str, disk: Disk = DISK) -> Path:
    """Make the plan the state of a directory that has none; returns the backup copy. Raises NotImportable, OSError."""
    occupied = data_dir / NAME
    if occupied.exists() and occupied.read_bytes() != plan.data:
        raise NotImportable(
            plan.path, f"cannot be imported: {occupied} is of an older gflow, too; import that one first"
        )
    backup = _prepare(data_dir, plan, wall, disk)
    state = SnapshotState(
        jobs=plan.jobs,
        groups=plan.groups,
        settings=_settings(plan, wall),
        events=(),
        next_job_id=plan.next_job_id,
        next_event_id=1,
        boot_id=boot_id,
    )
    segment = max(segment_numbers(data_dir), default=0) + 1
    Segment.create(data_dir, segment, 2, disk=disk).close()
    # The import counts as transaction 1: without its snapshot the log would have a gap, and not look complete.
    write_snapshot(data_dir, Snapshot(1, segment, state), disk=disk, keep_previous=False)
    return backup


def join(data_dir: Path, plan: Plan, loaded: Loaded, *, wall: float, disk: Disk = DISK) -> Path:
    """Add the plan to the state `loaded` of a directory; returns the backup copy. Raises NotImportable, OSError."""
    check_room(plan, loaded)
    backup = _prepare(data_dir, plan, wall, disk)
    settings = _settings(plan, wall)
    for key in ("notifications", "next_reservation_id"):
        settings |= _merged(key, loaded.settings.get(key), settings.get(key))
    transaction = Transaction(
        seq=loaded.seq + 1,
        jobs=plan.jobs,
        groups=plan.groups,
        events=(),
        settings=settings,
        next_job_id=max(plan.next_job_id, loaded.next_job_id),
        next_event_id=loaded.next_event_id,
    )
    log = Log(data_dir, loaded.segment, disk=disk)
    try:
        log.append([encode(transaction)], transaction.seq)
    finally:
        log.close()
    return backup


def check_room(plan: Plan, loaded: Loaded) -> None:
    """Raise NotImportable if something would be lost: an id given twice, or one setting in the place of another."""
    lowest = min((job.id for job in plan.jobs), default=JobId(loaded.next_job_id))
    if lowest < loaded.next_job_id:
        what = f"it has job {lowest}, and ids up to {loaded.next_job_id - 1} have been given here already"
        raise NotImportable(plan.path, f"cannot be imported: {what}; import it into an empty data directory")
    both = [
        key for key in plan.settings if key in loaded.settings and key not in ("notifications", "next_reservation_id")
    ]
    both += [f"group {group.id}" for group in plan.groups if group.id in loaded.groups]
    if both:
        raise NotImportable(
            plan.path, f"cannot be imported: {', '.join(both)} would be replaced; use an empty directory"
        )


def _merged(key: str, here: Any, new: Any) -> dict[str, Any]:
    if not here or not new:
        return {}
    return {key: {**here, **new} if isinstance(new, dict) else max(here, new)}


def _settings(plan: Plan, wall: float) -> dict[str, Any]:
    about = {"sha256": plan.sha256, "path": str(plan.path), "format": plan.format, "at": wall}
    return {**plan.settings, SETTING: about}


def _prepare(data_dir: Path, plan: Plan, wall: float, disk: Disk) -> Path:
    """Everything the state needs beside itself, on disk."""
    private_directory(data_dir)
    spool = Spool(data_dir / "spool", disk=disk)
    for text in plan.scripts.values():
        spool.put("script", text)
    return _backup(data_dir, plan, wall, disk)


def _backup(data_dir: Path, plan: Plan, wall: float, disk: Disk) -> Path:
    """A copy of the file as it is, one for each content."""
    for path in sorted(data_dir.iterdir()):
        if _BACKUP.fullmatch(path.name) and path.is_file() and path.read_bytes() == plan.data:
            return path
    number = int(wall)
    while (target := data_dir / f"{plan.path.name}.backup.{number}").exists():
        number += 1
    write_new(disk, target, [plan.data])
    disk.sync_directory(data_dir)
    return target
