"""Which ended jobs were cells of a sweep: a table beside the history's, so that a cell done long ago is not done again.

    cell    owner, group_id, key, id: a job with a key, by the cell it was

The table is made with the first such job: a history without it has none, and looking never writes.
"""

import sqlite3
from collections.abc import Iterable, Iterator

from gflow.core.groups import Cell, cell_of
from gflow.core.model import Job, JobId

_CREATE = (
    "CREATE TABLE IF NOT EXISTS cell (owner TEXT, group_id TEXT, key TEXT, id INTEGER,"
    " PRIMARY KEY (owner, group_id, key, id)) WITHOUT ROWID"
)


def keep(database: sqlite3.Connection, jobs: Iterable[Job]) -> None:
    """Take note of those of these jobs that are cells."""
    rows = list(_rows(jobs))
    if rows:
        database.execute(_CREATE)
        database.executemany("INSERT OR IGNORE INTO cell VALUES (?, ?, ?, ?)", rows)


def latest(database: sqlite3.Connection, cells: Iterable[Cell]) -> list[JobId]:
    """The latest job of each of these cells that has one."""
    if not _is_there(database):
        return []
    query = "SELECT max(id) FROM cell WHERE owner = ? AND group_id = ? AND key = ?"
    found = (database.execute(query, [*map(_text, cell)]).fetchone()[0] for cell in cells)
    return [JobId(job_id) for job_id in found if job_id is not None]


def forget(database: sqlite3.Connection, ids: str) -> None:
    """These jobs, a JSON list, are removed."""
    if _is_there(database):
        database.execute("DELETE FROM cell WHERE id IN (SELECT value FROM json_each(?))", [ids])


def missing(database: sqlite3.Connection, jobs: Iterable[Job]) -> list[JobId]:
    """Those of these jobs that are cells, and are not known as such."""
    query = "SELECT count(*) FROM cell WHERE owner = ? AND group_id = ? AND key = ? AND id = ?"
    there = _is_there(database)
    return [JobId(row[-1]) for row in _rows(jobs) if not (there and database.execute(query, row).fetchone()[0])]


def _is_there(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'cell'").fetchone()[0])


def _rows(jobs: Iterable[Job]) -> Iterator[tuple[str, str, str, int]]:
    found = ((cell_of(job.spec), int(job.id)) for job in jobs)
    return ((_text(cell[0]), _text(cell[1]), _text(cell[2]), job_id) for cell, job_id in found if cell is not None)


def _text(text: str) -> str:
    """`text` as SQLite can hold it."""
    return text.encode(errors="backslashreplace").decode()
