"""The older gflow's state in the place of ours: somebody went back to it, worked with it, and comes forward again.

What is left of ours beside it is no state by itself if it is only the marks of the ids, the history or the journal of
a recovery; the import goes on above the first two, and takes the third along. A snapshot or a log of ours is a state,
and may be the newer one: then nobody but a person can say which of the two counts.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from gflow.core.lifecycle import move
from gflow.core.model import Job, State
from gflow.store.acknowledged import NAME as ACKNOWLEDGED
from gflow.store.errors import Unreadable
from gflow.store.history import NAME as HISTORY
from gflow.store.history import History, HistoryError
from gflow.store.ids import GENERATION, Mark, furthest, generation_of, logged_ids, read_latest, read_mark
from gflow.store.imports.install import has_state, is_ours
from gflow.store.imports.plan import Plan
from gflow.store.recovery.journal import NAME as JOURNAL
from gflow.store.recovery.journal import read_journal
from gflow.store.recovery.mend import STARTED_BEFORE
from gflow.store.snapshot import NAME, PREVIOUS
from gflow.store.wal import HEADER_BYTES, segment_numbers, segment_path


def find_returned(data_dir: Path) -> Path | None:
    """The file in the place of our snapshot, if our state was kept here before and this is none of ours."""
    path = data_dir / NAME
    return path if has_state(data_dir) and path.exists() and not is_ours(path) else None


def in_the_way(data_dir: Path, plan: Plan) -> list[str]:
    """What of ours keeps `plan` from being taken over, each with why if its name does not say it. Raises OSError."""
    found = [name for name in (PREVIOUS, ACKNOWLEDGED) if (data_dir / name).exists()]
    segments = [segment_path(data_dir, number) for number in segment_numbers(data_dir)]
    found += [path.name for path in segments if path.stat().st_size > HEADER_BYTES]
    return [*found, *_in_the_history(data_dir, plan), *_in_the_journal(data_dir, plan)]


def _in_the_history(data_dir: Path, plan: Plan) -> list[str]:
    history = History(data_dir)
    try:
        return _others(HISTORY, plan, history.get([job.id for job in plan.jobs]).values())
    except HistoryError:
        return [f"{HISTORY} (it cannot be read)"]
    finally:
        history.close()


def _in_the_journal(data_dir: Path, plan: Plan) -> list[str]:
    """One that is not ours is the older gflow's, which writes it when its state cannot be read."""
    try:
        entry = read_journal(data_dir)
    except Unreadable:
        newer = (data_dir / JOURNAL).stat().st_mtime > plan.path.stat().st_mtime
        return [f"{JOURNAL} (it is newer than {NAME}, and none of ours)"] if newer else []
    return _others(JOURNAL, plan, entry.state.jobs) if entry is not None else []


def _others(name: str, plan: Plan, ours: Iterable[Job]) -> list[str]:
    """Two gflows that did not know of each other may have given the same id to two jobs."""
    theirs = {job.id: job for job in plan.jobs}
    for job in ours:
        there = theirs.get(job.id)
        if there is not None and there.run_name != job.run_name and there.submitted_at != job.submitted_at:
            return [f"{name} (its job {job.id} is another)"]
    return []


def fitted(data_dir: Path, plan: Plan) -> Plan:
    """`plan`, going on above what is left of ours: no id is given twice, and nothing that has run runs by itself.

    Of a later generation than anything here, so that no mark takes it for a copy from an earlier day. Raises Damaged
    or OSError if a mark cannot be read.
    """
    mark = furthest(read_mark(data_dir), read_latest(data_dir)) or Mark()
    generation = mark.generation
    with contextlib.suppress(Unreadable):
        entry = read_journal(data_dir)
        generation = max(generation, generation_of(entry.state.settings) if entry is not None else 0)
    ran = logged_ids(data_dir)
    return replace(
        plan,
        jobs=tuple(_held(job) if job.id in ran else job for job in plan.jobs),
        next_job_id=max(plan.next_job_id, mark.next),
        settings={**plan.settings, GENERATION: generation + 1},
    )


def _held(job: Job) -> Job:
    return move(job, State.HOLD, detail=STARTED_BEFORE) if job.state is State.QUEUED else job
