"""Looking at every file of a data directory, without changing any: what is wrong, at which byte, and what to do.

Reading the state stops at the first thing that is wrong. This goes on, to name everything that can be found, and in the
end reads the state the way a daemon does: what that refuses is never called well here.
"""

from collections.abc import Sequence
from pathlib import Path

from gflow.core.model import Job
from gflow.store.acknowledged import acknowledged
from gflow.store.errors import Unreadable
from gflow.store.history import KEPT
from gflow.store.ids import Mark, furthest
from gflow.store.load import Loaded, load
from gflow.store.upkeep.beside import load_beside, settled
from gflow.store.upkeep.check_rest import (
    compare_mark,
    look_at_acknowledged,
    look_at_copies,
    look_at_history,
    look_at_journal,
    look_at_latest,
    look_at_logs,
    look_at_mark,
    look_at_modes,
    look_at_spool,
    reached_by,
)
from gflow.store.upkeep.check_state import Gap, look_at_files
from gflow.store.upkeep.finding import Finding, Verdict, amount

_IN_RECOVERY = (
    "mend or put back the files named; meanwhile gflowd serves what can be read, and takes the state up by itself as "
    "soon as it is whole"
)


def check(data_dir: Path, *, running: bool) -> list[Finding]:
    """What there is to say of each file in `data_dir`; `running` if a daemon is at work there. Raises OSError."""
    return settled(
        data_dir, lambda: _look(data_dir, running=running), lambda findings: all(finding.well for finding in findings)
    )


def _look(data_dir: Path, *, running: bool) -> list[Finding]:
    marks = look_at_mark(data_dir), look_at_latest(data_dir)
    promised = acknowledged(data_dir)
    files = look_at_files(data_dir, promised, running=running)
    state, loaded = _look_at_whole(data_dir, files.gaps)
    _compare_marks(marks, reached_by(data_dir, loaded))
    history, past = look_at_history(data_dir, 0 if loaded is None else loaded.settings.get(KEPT, 0))
    known = None if loaded is None or past is None else {*loaded.jobs, *past}
    state.notes += look_at_modes(data_dir)
    return [
        *files.findings,
        look_at_acknowledged(data_dir, promised),
        state,
        *(finding for finding, _ in marks),
        history,
        look_at_journal(data_dir, loaded),
        *([look_at_spool(data_dir, lambda: _jobs(data_dir))] if loaded is not None else []),
        look_at_logs(data_dir, known),
        *look_at_copies(data_dir),
    ]


def _compare_marks(marks: Sequence[tuple[Finding, Mark | None]], reached: tuple[int, int] | None) -> None:
    together = furthest(*(mark for _, mark in marks))
    if together is not None and reached is not None:
        for finding, mark in marks:
            compare_mark(finding, mark, reached, together.next)


def _look_at_whole(data_dir: Path, gaps: list[Gap]) -> tuple[Finding, Loaded | None]:
    """Snapshot and log as one."""
    finding = Finding("state")
    loaded: Loaded | None = None
    try:
        loaded = load(data_dir)
    except (Unreadable, OSError) as error:
        finding.add(Verdict.UNREADABLE, f"gflowd cannot read it as a whole: {error}", _IN_RECOVERY)
    else:
        finding.says = (
            f"{amount(len(loaded.jobs), 'job')} as of transaction {loaded.seq}; the next job is {loaded.next_job_id}"
        )
        finding.notes += [warning for warning in loaded.warnings if "left out" not in warning]
    for gap in gaps:
        finding.add(Verdict.MISSING, f"{gap} (at byte {gap.offset} of {gap.path.name})", _IN_RECOVERY)
    return finding, loaded


def _jobs(data_dir: Path) -> list[Job]:
    return list(load_beside(data_dir).jobs.values())
