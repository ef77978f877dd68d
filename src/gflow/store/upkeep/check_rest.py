"""Looking at what lies beside the state: history, id mark, journal, spool, logs, copies."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Set
from contextlib import closing, suppress
from pathlib import Path

from gflow.core.lifecycle import ACTIVE
from gflow.core.model import Job, JobId
from gflow.store import history as histories
from gflow.store.acknowledged import NAME as ACKNOWLEDGED
from gflow.store.acknowledged import acknowledged
from gflow.store.disk import read_regular
from gflow.store.errors import Newer, Unreadable
from gflow.store.history import History, HistoryError
from gflow.store.ids import LATEST, Mark, generation_of, logged_ids, read_latest, read_mark
from gflow.store.ids import NAME as IDS
from gflow.store.load import Loaded
from gflow.store.recovery.journal import NAME as JOURNAL
from gflow.store.recovery.journal import read_journal
from gflow.store.recovery.opening import MERGED
from gflow.store.spool import KINDS
from gflow.store.upkeep.finding import Finding, Verdict, amount

SHOWN = 10
"""Names in a note, before it says how many more there are."""

_COPY = re.compile(r".+\.(corrupt|backup)\.\d+")
_HISTORY_ADVICE = "put back a good copy; all jobs whose records are whole are listed meanwhile"

Needed = dict[tuple[str, str], list[JobId]]


def look_at_history(data_dir: Path, expected: int) -> tuple[Finding, list[JobId] | None]:
    """The history, and the jobs in it; None if it cannot say. It is to have `expected` jobs at least."""
    finding = Finding(histories.NAME)
    if not (data_dir / histories.NAME).exists() and not expected:
        finding.absent, finding.says = True, "none yet"
        return finding, []
    with closing(History(data_dir, read_only=True)) as history:
        try:
            for problem in history.check():
                finding.add(Verdict.DAMAGED, problem.removeprefix(f"{history.path}: "), _HISTORY_ADVICE)
            kept = history.ended_before(float("inf"))
        except HistoryError as error:
            _tell_of_failure(finding, data_dir, str(error).removeprefix(f"{history.path}: "))
            return finding, None
    finding.says = amount(len(kept), "job")
    if len(kept) < expected:
        what = f"there were at least {expected}: it was lost, or put back from an earlier day"
        finding.add(Verdict.MISSING, what, "put back a good copy; without one those jobs are unknown")
    return finding, kept


def _tell_of_failure(finding: Finding, data_dir: Path, why: str) -> None:
    unfinished = data_dir / f"{histories.NAME}-journal"
    if unfinished.exists() and "readonly" in why:
        finding.says = "not looked into"
        what = f"a change to it was cut short ({unfinished.name}), so it cannot be read without writing"
        finding.add(Verdict.TORN, what, "start gflowd, or run 'gctl state export': either takes the change back")
    else:
        finding.add(Verdict.DAMAGED, why, _HISTORY_ADVICE)


def look_at_mark(data_dir: Path) -> tuple[Finding, Mark | None]:
    """The mark of the ids. Look before the state is read: a daemon moves it on first."""
    finding = Finding(IDS)
    mark = None
    try:
        mark = read_mark(data_dir)
    except (Unreadable, OSError) as error:
        what = error.why if isinstance(error, Unreadable) else error.strerror or str(error)
        advice = "nothing: gflowd makes it anew, above every id that state, history and logs know of"
        finding.add(Verdict.DAMAGED, what, advice)
    else:
        finding.absent = mark is None
        finding.says = "none yet"
    if mark is not None:
        finding.says = f"ids below {mark.next} were given or set aside as of transaction {mark.seq}"
    return finding, mark


def look_at_latest(data_dir: Path) -> tuple[Finding, Mark | None]:
    """Where ids and transactions stood after the last batch. Look before the state is read, too."""
    finding = Finding(LATEST)
    latest = None
    try:
        latest = read_latest(data_dir)
    except (Unreadable, OSError) as error:
        what = error.why if isinstance(error, Unreadable) else error.strerror or str(error)
        finding.add(Verdict.DAMAGED, what, "nothing, or remove it: gflowd writes it anew with the next change")
    else:
        finding.absent, finding.says = latest is None, "none yet"
    if latest is not None:
        finding.says = f"the next job was {latest.next} as of transaction {latest.seq}"
    return finding, latest


def compare_mark(finding: Finding, mark: Mark | None, reached: tuple[int, int], next_id: int) -> None:
    """What has not got as far as a mark is not the latest there was; then the next job is `next_id`."""
    if mark is not None and mark.place > reached:
        what = f"the state ends at transaction {reached[1]}: it was lost in part, or put back from an earlier day"
        finding.add(Verdict.OLDER, what, f"nothing, if it was put back: gflowd goes on with job {next_id}")


def reached_by(data_dir: Path, loaded: Loaded | None) -> tuple[int, int] | None:
    """The place, as of a mark, of the state or of the journal on top of it; None if neither can be read."""
    places = [] if loaded is None else [(generation_of(loaded.settings), loaded.seq)]
    with suppress(Unreadable, OSError):
        entry = read_journal(data_dir)
        if entry is not None and not (loaded is not None and loaded.settings.get(MERGED) == entry.id):
            places.append((generation_of(entry.state.settings), entry.seq))
    return max(places, default=None)


def look_at_acknowledged(data_dir: Path, promised: int) -> Finding:
    """The note of how far the log was on disk."""
    finding = Finding(ACKNOWLEDGED)
    if promised or acknowledged(data_dir):
        finding.says = f"everything up to transaction {promised} was on disk"
        return finding
    try:
        content = _content(data_dir / ACKNOWLEDGED)
    except OSError as error:
        what = f"it cannot be read: {error.strerror}"
        finding.add(Verdict.UNREADABLE, what, "remove it, or make it readable: gflowd writes it anew")
        return finding
    if content:
        what = "it is not what was written; without it a damaged end of the log looks like an unfinished write"
        finding.add(Verdict.DAMAGED, what, "nothing, or remove it: gflowd writes it anew")
    else:
        finding.absent, finding.says = True, "none yet"
    return finding


def _content(path: Path) -> bytes:
    """What is in a small file, but for zeros: where the power went, they stand for what had not been written yet."""
    try:
        return read_regular(path).strip(b"\0")
    except FileNotFoundError:
        return b""


def look_at_journal(data_dir: Path, loaded: Loaded | None) -> Finding:
    """The journal of a recovery. `loaded` is the state, None if it cannot be read."""
    finding = Finding(JOURNAL)
    try:
        entry = read_journal(data_dir)
    except (Unreadable, OSError) as error:
        verdict = Verdict.NEWER if isinstance(error, Newer) else Verdict.DAMAGED
        what = error.why if isinstance(error, Unreadable) else error.strerror or str(error)
        finding.add(verdict, what, "keep a copy of it; gflowd leaves it out at its next start, and says so")
        return finding
    if entry is None:
        finding.absent, finding.says = True, "nothing in it"
        return finding
    finding.says = f"{amount(len(entry.state.jobs), 'job')} as of transaction {entry.seq}"
    if loaded is not None and loaded.settings.get(MERGED) == entry.id:
        finding.notes.append("the state has taken it over already")
    elif loaded is None:
        what = "gflowd is in recovery: what changes is kept here until the state can be read again"
        finding.add(Verdict.PENDING, what, "mend the state, as said above")
    else:
        what = "it was kept during a recovery; the state can be read again, and has not taken it over yet"
        finding.add(Verdict.PENDING, what, "start gflowd, or give it a moment")
    return finding


def look_at_spool(data_dir: Path, jobs: Callable[[], Iterable[Job]]) -> Finding:
    """The captured environments and scripts, against the jobs that need them.

    `jobs` reads the state; it is asked again before anything is called missing, as a job may end meanwhile.
    """
    finding = Finding("spool/")
    known = list(jobs())
    needed = _needed(known)
    wrong = {place: found for place in needed if (found := _wrong(data_dir, *place))}
    if wrong:
        needed = _needed(jobs())
    for (kind, digest), (verdict, why) in wrong.items():
        if (kind, digest) in needed:
            what = f"{kind}/{digest} {why}; needed by {_list('job', needed[kind, digest])}"
            finding.add(verdict, what, "put back a copy, or cancel the job and submit it anew")
    there = {(kind, name) for kind in KINDS for name in _names(data_dir / "spool" / kind)}
    finding.says = f"{amount(len(there), 'file')}, {len(there & needed.keys())} of them needed"
    finding.absent = not there and not needed
    scripts = {("script", job.spec.script_digest) for job in known}  # also of ended jobs, to do them again
    if spare := len(there - needed.keys() - scripts):
        finding.notes.append(f"{amount(spare, 'file')} that no job needs; gflowd removes such")
    return finding


def _needed(jobs: Iterable[Job]) -> Needed:
    needed: Needed = {}
    for job in jobs:
        if job.state in ACTIVE:
            for kind, digest in (("env", job.spec.environment), ("script", job.spec.script_digest)):
                if digest is not None:
                    needed.setdefault((kind, digest), []).append(job.id)
    return needed


def _wrong(data_dir: Path, kind: str, digest: str) -> tuple[Verdict, str] | None:
    """What is wrong with a file of the spool; its name is the digest of what must be in it."""
    try:
        content = read_regular(data_dir / "spool" / kind / digest)
    except FileNotFoundError:
        return Verdict.MISSING, "is missing"
    except OSError as error:
        return Verdict.UNREADABLE, f"cannot be read: {error.strerror}"
    if hashlib.sha256(content).hexdigest() == digest:
        return None
    return Verdict.DAMAGED, "is not what was stored"


def look_at_logs(data_dir: Path, known: Set[int] | None) -> Finding:
    """The output of jobs. `known`: all jobs there are records of; None if that cannot be said."""
    finding = Finding("logs/")
    there = logged_ids(data_dir)
    finding.says, finding.absent = amount(len(there), "log"), not there
    if known is None:
        finding.notes.append("not compared with the jobs, as not all of those can be read")
    elif strangers := sorted(there - known):
        finding.notes.append(f"of jobs that nobody knows any more: {_list('log', strangers)}")
    return finding


def look_at_copies(data_dir: Path) -> list[Finding]:
    """Copies of files that could not be read once, as one finding."""
    copies = sorted(name for name in _names(data_dir) if _COPY.fullmatch(name))
    if not copies:
        return []
    size = sum((data_dir / name).stat().st_size for name in copies)
    note = "kept when files could not be read; remove them once nobody needs them"
    return [Finding("copies", f"{amount(size, 'byte')}: {', '.join(copies)}", notes=[note])]


def look_at_modes(data_dir: Path) -> list[str]:
    """Files and directories that others may look into."""
    paths = [data_dir, *(data_dir / name for name in _names(data_dir))]
    return [f"{path} is open to others: chmod go= {path}" for path in paths if _is_open(path)]


def _is_open(path: Path) -> bool:
    try:
        return bool(path.lstat().st_mode & 0o077) and not path.is_symlink()
    except FileNotFoundError:
        return False


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _list(thing: str, ids: list[int] | list[JobId]) -> str:
    """`job 7`, `jobs 7, 9`, and not more than a line of them."""
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return f"{thing if len(ids) == 1 else thing + 's'} {', '.join(map(str, ids[:SHOWN]))}{more}"
