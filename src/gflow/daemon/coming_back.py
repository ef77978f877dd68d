"""Coming forward again from the older gflow, whose state lies where ours was.

The caller holds the lock on the data directory.
"""

import contextlib
import logging
from pathlib import Path

from gflow import clock
from gflow.daemon.importing import look, refuse_if_served, tell
from gflow.notify.outbox import Outbox, OutboxError
from gflow.store.errors import Unreadable
from gflow.store.imports.install import clear_segments, install
from gflow.store.imports.plan import NotImportable, Plan
from gflow.store.imports.returning import find_returned, fitted, in_the_way
from gflow.store.recovery.opening import EVENTS_STEP

log = logging.getLogger(__name__)


def come_back(data_dir: Path) -> str | None:
    """Take over an older gflow's `state.msgpack` from where ours was, if nothing of ours is lost by that.

    Returns what a person has to do first, one line, None if there is nothing. Raises NotImportable while the older
    daemon runs, or OSError.
    """
    path = find_returned(data_dir)
    if path is None:
        return None
    try:
        plan = look(path)
    except NotImportable:
        return None  # of neither gflow; the recovery says so
    refuse_if_served(path, data_dir)
    blocking = in_the_way(data_dir, plan)
    try:
        fitting = fitted(data_dir, plan)
    except Unreadable as error:
        blocking.append(f"{error.path.name} ({error.why})")
    if blocking:
        way_out = _way_out(data_dir, plan, blocking)
        log.error("%s: %s", path, way_out)
        return way_out
    _take_over(data_dir, fitting)
    return None


def _way_out(data_dir: Path, plan: Plan, blocking: list[str]) -> str:
    what = (
        f"it is of the older gflow ({len(plan.jobs)} jobs) and not taken over, as files of this one's state are there"
    )
    return f"{what}; if it counts, stop gflowd, move these out of {data_dir} and start it: {', '.join(blocking)}"


def _take_over(data_dir: Path, plan: Plan) -> None:
    after = _last_event_told(data_dir) + EVENTS_STEP
    clear_segments(data_dir)
    backup = install(data_dir, plan, wall=clock.read().wall, boot_id=clock.boot_id(), next_event_id=after)
    tell(plan, backup)


def _last_event_told(data_dir: Path) -> int:
    """Events go on after it, or the outbox would take the next ones for told."""
    outbox = Outbox(data_dir)
    with contextlib.closing(outbox), contextlib.suppress(OutboxError):
        return outbox.taken() or 0
    return 0
