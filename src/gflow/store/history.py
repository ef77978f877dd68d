"""The history `history.sqlite`: ended jobs that have left the state. Rows are added, and only pruning removes them.

SQLite, because this part is looked through by owner, state, name and time, must not be read at start, and grows for
years: what a database is for. A job is written here, and that is on disk, before the log says that it left the state;
after a crash in between it is in both places, which is harmless, because an ended job never changes.

    job     id, owner, name, project, state, submitted_at, started_at, finished_at, gpus (asked for), held (given):
            what is searched and summed; since version 2 mean_pct, the mean utilisation of its GPUs, if it was measured;
            record: the job as the log has it (see codec); crc32 of all of those, mean_pct only where there is one,
            because SQLite itself does not notice a flipped bit.
    cell    which of them were cells of a sweep, see `cells`

`user_version` is the version of this format, `application_id` tells the file from those of other programs. A file of
version 1 is brought up to date by the first who may write to it.
"""

import contextlib
import json
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from gflow.core.ended import Ended
from gflow.core.groups import Cell
from gflow.core.model import Job, JobId, State
from gflow.core.selection import EVERYTHING, Selection
from gflow.core.usage import TOP, Run, Usage, spread
from gflow.store import cells
from gflow.store.codec import job_from_map, job_to_map, pack, packing, unpack
from gflow.store.database import connected, format_of
from gflow.store.disk import FILE_MODE
from gflow.store.errors import Unreadable

NAME = "history.sqlite"
VERSION = 2
APPLICATION_ID = 0x67666C77  # "gflw"

KEPT = "history_jobs"
"""The setting of the state that says how many jobs the history has at least: one that was lost or put back from an
earlier day has fewer."""

_COLUMNS = "id, owner, name, project, state, submitted_at, started_at, finished_at, gpus, held, mean_pct, record, crc32"
_NAMES = _COLUMNS.split(", ")
_MEAN_PCT, _STARTED_AT = _NAMES.index("mean_pct"), _NAMES.index("started_at")
_OWNER, _NAME, _STATE = (_NAMES.index(name) for name in ("owner", "name", "state"))
_BRIEF = len(Ended._fields)  # in this order
_CREATE = f"""
CREATE TABLE job (
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, project TEXT, state TEXT NOT NULL,
    submitted_at REAL NOT NULL, started_at REAL, finished_at REAL NOT NULL,
    gpus INTEGER NOT NULL, held INTEGER NOT NULL, mean_pct REAL, record BLOB NOT NULL, crc32 INTEGER NOT NULL
);
CREATE INDEX job_owner ON job (owner);
CREATE INDEX job_name ON job (name);
CREATE INDEX job_finished_at ON job (finished_at);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""
_RAN = "(finished_at - started_at)"
_END_DAY = "date(finished_at, 'unixepoch', 'localtime')"
_WITHIN = f"(date(started_at, 'unixepoch', 'localtime') = {_END_DAY})"
"""Whether a job ran on one day only."""

_SUMS = (
    "SELECT {key}, state, count(*), count(started_at), total(started_at - submitted_at), total({ran}),"
    " total({ran} * held), sum(gpus > 0), sum(gpus), max(gpus), count(mean_pct),"
    " total({ran} * held * (mean_pct IS NOT NULL)), total({ran} * held * mean_pct / 100)"
)
"""In the order of `Usage`, after what it is of."""

KEYS = {"user": "owner", "project": "coalesce(project, '')"}
"""What sums can be of, and where that is."""

_FROM_1 = "ALTER TABLE job ADD COLUMN mean_pct REAL; PRAGMA user_version = 2;"
_LIKE_2 = "PRAGMA temp_store = MEMORY; CREATE TEMP VIEW job AS SELECT *, NULL AS mean_pct FROM main.job;"
"""What makes a file of version 1 one of version 2, and what makes it look like one."""

_IDS_AT_ONCE = 500
_BUSY_SECS = 10.0

_Row = tuple[Any, ...]


class HistoryError(Exception):
    """The history cannot be read or written; the message is one line that names the file."""


class Page(NamedTuple):
    """Some of the jobs meant.

    - last: where to go on, None if that was all. unreadable: jobs whose record has rotted.
    """

    jobs: list[Job]
    last: JobId | None
    unreadable: list[JobId]


class History:
    """The history in `data_dir`. Makes no file before there is something to keep. Any thread may call.

    With `read_only` nothing is ever written, not even what SQLite itself would put right after a crash: then reading
    raises, too. Everything here may raise HistoryError.
    """

    def __init__(self, data_dir: Path, *, read_only: bool = False) -> None:
        self.path = data_dir / NAME
        self._read_only = read_only
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    def add(self, jobs: Sequence[Job]) -> None:
        """Keep ended jobs; return when they are on disk.

        Of one that is kept already the record is replaced: it may have come back since, and have been done again.
        """
        if not self.path.exists():
            with self._explained():
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        places = ", ".join("?" * len(_COLUMNS.split(",")))
        with self._transaction() as database:
            database.executemany(f"INSERT OR REPLACE INTO job ({_COLUMNS}) VALUES ({places})", map(_row, jobs))
            cells.keep(database, jobs)

    def get(self, ids: Sequence[JobId]) -> dict[JobId, Job]:
        """Those of these jobs that are kept."""
        found: dict[JobId, Job] = {}
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = [int(job_id) for job_id in ids[start : start + _IDS_AT_ONCE]]
            rows = self._read("WHERE id IN (SELECT value FROM json_each(?))", [json.dumps(some)])
            found |= {job.id: job for job in map(self._job, rows)}
        return found

    def in_cells(self, wanted: Iterable[Cell]) -> list[Job]:
        """The latest job of each of these cells of groups that has one here."""
        if not self._is_there():
            return []
        with self._explained(), self._lock:
            database = self._open()
            ids = cells.latest(database, wanted)
        return list(self.get(ids).values())

    def page(self, selection: Selection, *, after: JobId | None, most: int, newest_first: bool = False) -> list[Job]:
        """Up to `most` of the jobs meant, by id, going on after the one with id `after`. All must be readable."""
        return [self._job(row) for row in self._rows(selection, after, most, newest_first=newest_first)]

    def readable(self, selection: Selection, *, after: JobId | None, most: int, newest_first: bool = False) -> Page:
        """The same, but one record that cannot be read does not stand in the way of all others."""
        rows = self._rows(selection, after, most, newest_first=newest_first)
        page = Page([], JobId(rows[-1][0]) if len(rows) == most else None, [])
        for row in rows:
            try:
                page.jobs.append(self._job(row))
            except HistoryError:
                page.unreadable.append(JobId(row[0]))
        return page

    def briefly(
        self, selection: Selection, *, after: JobId | None, most: int, newest_first: bool = False
    ) -> tuple[list[Job | Ended], JobId | None, list[JobId]]:
        """As `readable`, with no more of each job than lists need, where that is enough; many times as fast."""
        rows = self._rows(selection, after, most, newest_first=newest_first)
        found: list[Job | Ended] = []
        unreadable: list[JobId] = []
        pack_next = packing()  # one packer for all: making it costs more than packing a row
        for row in rows:
            try:
                whole = _may_be_brief(row) and _crc(row[:-1], pack_next) == row[-1]
                found.append(Ended._make(row[:_BRIEF]) if whole else self._job(row))
            except HistoryError:
                unreadable.append(JobId(row[0]))
        return found, JobId(rows[-1][0]) if len(rows) == most else None, unreadable

    def _rows(self, selection: Selection, after: JobId | None, most: int, *, newest_first: bool) -> list[_Row]:
        where, values = _conditions(selection)
        if after is not None:
            where.append("id < ?" if newest_first else "id > ?")
            values.append(int(after))
        order = "DESC" if newest_first else "ASC"
        return self._read(f"{_where(where)} ORDER BY id {order} LIMIT ?", [*values, int(most)])

    def count(self, selection: Selection = EVERYTHING, *, besides: Iterable[JobId] = ()) -> int:
        """How many of the jobs meant are kept, not counting those in `besides`."""
        where, values = _conditions(selection, besides)
        return int(self._query(f"SELECT count(*) FROM job {_where(where)}", values, [(0,)])[0][0])

    def usage(self, selection: Selection, *, besides: Iterable[JobId] = ()) -> Usage:
        """The sums over the jobs meant, without those in `besides`."""
        where, values = _conditions(selection, besides)
        found = self._sums("''", _RAN, where, values).get("", Usage())
        return found + Usage(longest=self._longest(where, values))

    def usage_by(self, selection: Selection, key: str, *, besides: Iterable[JobId] = ()) -> dict[str, Usage]:
        """The same for each user or project (`key`), without the longest runs; "" is for jobs without a project."""
        return self._sums(KEYS[key], _RAN, *_conditions(selection, besides))

    def usage_by_day(self, selection: Selection, since: float, *, besides: Iterable[JobId] = ()) -> dict[str, Usage]:
        """The same for each local day from `since` on, the beginning of one: see `core.usage.usage_by_day`."""
        where, values = _conditions(selection, besides)
        where, values = [*where, "finished_at >= ?"], [*values, since]
        found = self._sums(_END_DAY, f"({_RAN} * {_WITHIN})", where, values)
        longer = _where([*where, f"NOT {_WITHIN}"])  # not so of those that never ran
        for run in self._query(f"SELECT started_at, finished_at, held, mean_pct FROM job {longer}", values):
            spread(found, run[0], run[1], since, run[2], run[3])
        return found

    def _sums(self, key: str, ran: str, where: list[str], values: list[Any]) -> dict[str, Usage]:
        found: dict[str, Usage] = {}
        sums = _SUMS.format(key=key, ran=ran)
        for name, state, number, *rest in self._query(f"{sums} FROM job {_where(where)} GROUP BY 1, 2", values):
            found[name] = found.get(name, Usage()) + Usage(Counter({State(state): number}), *rest)
        return found

    def _longest(self, where: list[str], values: list[Any]) -> list[Run]:
        rows = self._query(
            f"SELECT finished_at - started_at AS ran, id, name, gpus FROM job"
            f" {_where([*where, 'started_at IS NOT NULL'])} ORDER BY ran DESC, id LIMIT {TOP}",
            values,
        )
        return [Run(ran, JobId(job_id), name, gpus) for ran, job_id, name, gpus in rows]

    def shortfall(self, expected: int) -> str | None:
        """A line that says so if fewer jobs are kept than the state says, or none can be read."""
        try:
            kept = self.count()
        except HistoryError as error:
            return str(error)
        if kept >= expected:
            return None
        return f"{self.path}: has {kept} of at least {expected} jobs: it was lost, or put back from an earlier day"

    def highest_id(self) -> int:
        """The highest id kept, 0 if there is none."""
        return int(self._query("SELECT coalesce(max(id), 0) FROM job", [], [(0,)])[0][0])

    def ended_before(self, moment: float) -> list[JobId]:
        """The jobs that ended before `moment` (seconds since the epoch), by id."""
        return [JobId(row[0]) for row in self._query("SELECT id FROM job WHERE finished_at < ? ORDER BY id", [moment])]

    def remove(self, ids: Sequence[JobId]) -> int:
        """Remove these jobs, some at a time, so that others get their turn; returns how many of them were kept."""
        removed = 0
        for start in range(0, len(ids) if self._is_there() else 0, _IDS_AT_ONCE):
            some = json.dumps([int(job_id) for job_id in ids[start : start + _IDS_AT_ONCE]])
            with self._transaction() as database:
                statement = "DELETE FROM job WHERE id IN (SELECT value FROM json_each(?))"
                removed += database.execute(statement, [some]).rowcount
                cells.forget(database, some)
        return removed

    def edition(self) -> int:
        """A number that changes, while this history stays open, whenever somebody else changes what is kept."""
        return int(self._query("PRAGMA data_version", [], [(0,)])[0][0])

    def check(self) -> list[str]:
        """What is wrong with the file, one line each: its structure, and every record against its checksum."""
        problems = [str(line) for (line,) in self._query("PRAGMA integrity_check", []) if line != "ok"]
        last = -(1 << 63)  # an id that has rotted may be anything
        while rows := self._read("WHERE id >= ? ORDER BY id LIMIT ?", [last, _IDS_AT_ONCE]):
            whole = []
            for row in rows:
                try:
                    whole.append(self._job(row))
                except HistoryError as error:
                    problems.append(str(error))
            problems += self._lost_cells(whole)
            last = rows[-1][0] + 1
        return problems

    def _lost_cells(self, jobs: Iterable[Job]) -> list[str]:
        with self._explained(), self._lock:
            database = self._open()
            lost = cells.missing(database, jobs)
        return [f"{self.path}: job {job_id} is not found by its key any more" for job_id in lost]

    def close(self) -> None:
        """Give the file back; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # -- the database ----------------------------------------------------------------------------------------------

    def _read(self, rest: str, values: list[Any]) -> list[_Row]:
        return self._query(f"SELECT {_COLUMNS} FROM job {rest}", values)

    def _query(self, statement: str, values: list[Any], nothing: list[_Row] | None = None) -> list[_Row]:
        """All rows; `nothing`, or none, where there is no history yet."""
        if not self._is_there():
            return nothing or []
        with self._explained(), self._lock:
            return self._open().execute(statement, values).fetchall()

    def _is_there(self) -> bool:
        """Whether there is a history. A file without content is one that nobody has got to write to."""
        try:
            return self.path.stat().st_size > 0 or not self._read_only
        except FileNotFoundError:
            return False
        except OSError as error:
            raise HistoryError(f"{self.path}: {error.strerror}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._explained(), self._lock, self._open() as database:
            yield database

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Unreadable as error:
            raise HistoryError(str(error)) from error
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # the last for what damage makes of names
            raise HistoryError(f"{self.path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            mode = "ro" if self._read_only else "rwc"
            self._connection = connected(self.path, mode, _BUSY_SECS, self._prepare)
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = EXTRA")  # also the removal of the roll-back journal is on disk
        version = format_of(connection, self.path, APPLICATION_ID, VERSION)
        if version is None:
            connection.executescript(f"BEGIN; {_CREATE} COMMIT;")
        elif version == 1:
            connection.executescript(_LIKE_2 if self._read_only else f"BEGIN; {_FROM_1} COMMIT;")

    def _job(self, row: _Row) -> Job:
        """The job of a row. Raises HistoryError if it is not what was written."""
        try:
            if _crc(row[:-1]) == row[-1]:
                return job_from_map(unpack(row[-2]))
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        raise HistoryError(f"{self.path}: the record of job {row[0]} has changed since it was written")


def _may_be_brief(row: _Row) -> bool:
    """Whether the columns tell all that a list shows of a job: there is more to one that did not run."""
    return row[_STARTED_AT] is not None and row[_STATE] != State.CANCELLED and "\\" not in row[_NAME] + row[_OWNER]


def _row(job: Job) -> _Row:
    spec = job.spec
    row = (
        int(job.id),
        _text(spec.owner),
        _text(job.run_name),
        None if spec.project is None else _text(spec.project),
        job.state.value,
        float(job.submitted_at),
        None if job.started_at is None else float(job.started_at),
        float(job.submitted_at if job.finished_at is None else job.finished_at),
        spec.gpus,
        len(job.gpu_ids or ()),
        _mean_pct(job),
        pack(job_to_map(job)),
    )
    return (*row, _crc(row))


def _mean_pct(job: Job) -> float | None:
    """How busy its GPUs were while it ran, where that counts and is known."""
    return None if job.started_at is None or job.gpu_use is None else job.gpu_use.mean_pct


def _crc(values: _Row, pack_values: Callable[[object], bytes] = pack) -> int:
    if values[_MEAN_PCT] is None:  # so it was before there was such a column
        values = values[:_MEAN_PCT] + values[_MEAN_PCT + 1 :]
    return zlib.crc32(pack_values(values))


def _text(text: str) -> str:
    """`text` as SQLite can hold it: undecodable bytes of a name are written out."""
    return text.encode(errors="backslashreplace").decode()


def _conditions(selection: Selection, besides: Iterable[JobId] = ()) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    values: list[Any] = []
    for column, wanted in (("state", selection.states), ("owner", selection.owners), ("name", selection.names)):
        if wanted is not None:
            where.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values += [_text(str(value)) for value in wanted]
    if selection.project is not None:
        where.append("project = ?")
        values.append(_text(selection.project))
    if selection.since is not None:
        where.append("submitted_at >= ?")
        values.append(selection.since)
    if others := [int(job_id) for job_id in besides]:
        where.append("id NOT IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(others))
    return where, values


def _where(conditions: list[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""
