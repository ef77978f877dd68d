"""SQLite files of ours: each is opened by name and never made by chance, and known by its `application_id`.

`user_version` is the version of a file's format, and only its owner knows how an earlier one becomes today's.
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from gflow.store.errors import Foreign, Newer

_ABOUT = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")


def connected(
    path: Path, mode: str, busy_secs: float, prepare: Callable[[sqlite3.Connection], None]
) -> sqlite3.Connection:
    """A connection, for any thread, once `prepare` has done its part; `mode` is SQLite's: ro, rw, or rwc."""
    target = f"file:{quote(os.fsencode(path))}?mode={mode}"
    connection = sqlite3.connect(target, uri=True, timeout=busy_secs, check_same_thread=False)
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def format_of(connection: sqlite3.Connection, path: Path, application_id: int, newest: int) -> int | None:
    """The version of the format of what is open, None if nothing has been written yet. Raises Foreign, Newer."""
    application, version, tables = (connection.execute(query).fetchone()[0] for query in _ABOUT)
    if (application, version, tables) == (0, 0, 0):
        return None
    if application != application_id:
        raise Foreign(path, "it was not written by this program")
    if version > newest:
        raise Newer(path, version, newest)
    return int(version)
