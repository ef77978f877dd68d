"""The outbox `outbox.sqlite`: deliveries that are still to be made, and the last that were given up.

A transition is on disk before it is told, in the state's own log; this file is behind it by some moments, and says how
far it got, so that after a crash the events in between are taken over once more. It is never ahead. What it forgets
in a power cut (`synchronous = NORMAL`: the file stays whole, its last moments may be missing) is delivered again,
under the same id. Now and then a write is made sure of: what comes before it the state need not keep any longer.

    event     number, name, payload (JSON): what is sent; owner: the user it is about, or ''; there as long as a
              delivery is.
    delivery  target (its key), number, attempts, next_try; given_up_at and why, if it was given up; place, which says
              when its turn is.
    standing  target, record (JSON): how it goes with a target, see `daemon/standing.py`.
    taken     number: of the last event that was taken over; no row: none was.
    fact      name, value: `origin`, a part of the ids of deliveries, so that those of two outboxes differ; `lost`, how
              many events were never told.

Nobody but the daemon opens it, so it is locked for good, which also keeps it from needing memory that is shared
between processes: that does not work on network file systems.
"""

import contextlib
import json
import logging
import os
import secrets
import sqlite3
import string
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from gflow.notify.changes import Changes, Row
from gflow.store.database import connected, format_of
from gflow.store.errors import Unreadable

log = logging.getLogger(__name__)

NAME = "outbox.sqlite"
VERSION = 3
APPLICATION_ID = 0x67666C6F  # "gflo"

KEPT_GIVEN_UP = 500
"""So many deliveries to a target that were given up can still be sent again."""

GONE = "its target is not configured any more"
KEPT_GONE_SECS = 86_400.0
"""What waited for a target that is gone is kept so long, and waits again if the target comes back."""

_ORIGIN_LETTERS = 6

_ADD_FACTS = "CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
_ADD_TURNS = f"""
ALTER TABLE event ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
CREATE INDEX delivery_turn ON delivery (target, place, number) WHERE given_up_at IS NULL;
PRAGMA user_version = {VERSION};
"""
_CREATE = f"""
CREATE TABLE event (number INTEGER PRIMARY KEY, name TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE delivery (
    target TEXT NOT NULL, number INTEGER NOT NULL, attempts INTEGER NOT NULL, next_try REAL NOT NULL,
    given_up_at REAL, why TEXT, PRIMARY KEY (target, number)
) WITHOUT ROWID;
CREATE INDEX delivery_number ON delivery (number);
CREATE INDEX delivery_given_up ON delivery (given_up_at) WHERE given_up_at IS NOT NULL;
CREATE TABLE standing (target TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE taken (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
{_ADD_FACTS}
{_ADD_TURNS}
"""
_UNUSED = "DELETE FROM event WHERE number = ? AND NOT EXISTS (SELECT 1 FROM delivery WHERE number = event.number)"
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY_SECS = 2.0
_FILE_MODE = 0o600
_COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside the file belongs to it."""


class OutboxError(Exception):
    """The outbox cannot be read or written now; the message is one line that names the file."""


class OutboxDamaged(OutboxError):
    """What is in the file is no outbox, or not a whole one."""


Turn = tuple[int, int]
"""Place and number of a delivery."""

START: Turn = (-1, 0)
"""Before all of them."""


class Stored(NamedTuple):
    """A delivery that waits in the outbox; fields as in `Row` and `Fresh`."""

    number: int
    event: str
    payload: bytes
    attempts: int
    next_try: float
    place: int = 0
    owner: str = ""

    @property
    def turn(self) -> Turn:
        """What is in order when deliveries are in that in which they are made."""
        return self.place, self.number


class GivenUp(NamedTuple):
    """A delivery that was given up; `at` is when, in seconds since the epoch."""

    target: str
    number: int
    event: str
    attempts: int
    at: float
    why: str


@dataclass(frozen=True, slots=True)
class Stock:
    """What an outbox holds: the last event taken over, deliveries waiting by target, standings by target.

    - shares: by target and owner, how many wait and the place of the last of them.
    - set_aside: so many deliveries waited for targets that are gone now. lost: so many events were never told.
    """

    taken: int | None
    waiting: dict[str, int]
    standings: dict[str, str]
    set_aside: int = 0
    lost: int = 0
    shares: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)


class Outbox:
    """The outbox in `data_dir`. Any thread may call, one at a time gets its turn. Everything may raise OutboxError.

    `origin` is what tells this outbox from all others. Until it has been opened that is what a new one would get.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / NAME
        self.origin = new_origin()
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    def taken(self) -> int | None:
        """The last event that was taken over; None if there was none, or there is no outbox."""
        if not self.path.exists():
            return None
        with self._database() as database:
            taken = database.execute("SELECT number FROM taken").fetchone()
        return taken[0] if taken else None

    def stock(self, targets: Collection[str], wall: float) -> Stock:
        """What is there for these targets; what waits for others is given up. The file is made if it is missing.

        `wall` is now, in seconds since the epoch.
        """
        with self._database() as database, database:
            set_aside = _set_others_aside(database, targets, wall)
            taken = database.execute("SELECT number FROM taken").fetchone()
            shares = _shares(database)
            standings = database.execute("SELECT target, record FROM standing").fetchall()
            (lost,) = database.execute("SELECT max(CAST(value AS INTEGER)) FROM fact WHERE name = 'lost'").fetchone()
        waiting = {target: sum(count for count, _ in of_target.values()) for target, of_target in shares.items()}
        return Stock(taken[0] if taken else None, waiting, dict(standings), set_aside, lost or 0, shares)

    def save(self, changes: Changes, sure: bool = False) -> None:
        """Write all of it or nothing; `sure`: a power cut does not take it back, nor anything before it."""
        with self._database() as database, database:
            database.execute(f"PRAGMA synchronous = {'FULL' if sure else 'NORMAL'}")
            _save(database, changes)

    def waiting(self, target: str, after: Turn, besides: Iterable[int], most: int) -> list[Stored]:
        """The first `most` deliveries to a target that wait, by turn, after this one and not among `besides`."""
        statement = (
            "SELECT number, name, payload, attempts, next_try, place, owner FROM delivery JOIN event USING (number)"
            " WHERE target = ? AND (place, number) > (?, ?) AND given_up_at IS NULL"
            " AND number NOT IN (SELECT value FROM json_each(?)) ORDER BY place, number LIMIT ?"
        )
        with self._database() as database:
            rows = database.execute(statement, [target, *after, json.dumps(list(besides)), most]).fetchall()
        return [Stored(*row) for row in rows]

    def oldest_of(self, target: str, owner: str, besides: Iterable[int], most: int) -> list[int]:
        """The numbers of the first `most` deliveries to a target that wait, of one user and not among `besides`."""
        statement = (
            "SELECT number FROM delivery JOIN event USING (number)"
            " WHERE target = ? AND owner = ? AND given_up_at IS NULL"
            " AND number NOT IN (SELECT value FROM json_each(?)) ORDER BY place, number LIMIT ?"
        )
        with self._database() as database:
            found = database.execute(statement, [target, owner, json.dumps(list(besides)), most]).fetchall()
        return [number for (number,) in found]

    def given_up(self, most: int) -> list[GivenUp]:
        """The last `most` that were given up, the latest first."""
        statement = (
            "SELECT target, number, name, attempts, given_up_at, why FROM delivery JOIN event USING (number)"
            " WHERE given_up_at IS NOT NULL ORDER BY given_up_at DESC, number DESC LIMIT ?"
        )
        with self._database() as database:
            return [GivenUp(*row) for row in database.execute(statement, [most]).fetchall()]

    def take_back(self, target: str, number: int) -> bool | None:
        """Let a delivery that was given up wait again, as if it had never been tried, and as the next.

        Returns whether it had been given up; None if there is no such delivery.
        """
        with self._database() as database, database:
            statement = "SELECT given_up_at IS NOT NULL FROM delivery WHERE target = ? AND number = ?"
            row = database.execute(statement, [target, number]).fetchone()
            database.execute(
                "UPDATE delivery SET attempts = 0, next_try = 0, given_up_at = NULL, why = NULL, place = 0"
                " WHERE target = ? AND number = ? AND given_up_at IS NOT NULL",
                [target, number],
            )
        return None if row is None else bool(row[0])

    def forget_taken(self) -> None:
        """Nothing is told for a while: what happens meanwhile is not to be made up for."""
        with self._database() as database, database:
            database.execute("DELETE FROM taken")

    def set_aside(self, wall: float) -> Path:
        """Put a damaged file out of the way, so that the next call makes a new one; where it is now."""
        self.close()
        aside = self.path.with_name(f"{NAME}.corrupt.{int(wall)}")
        with self._lock, self._explained():
            for companion in ("", *_COMPANIONS):
                with contextlib.suppress(FileNotFoundError):
                    self.path.with_name(NAME + companion).replace(aside.with_name(aside.name + companion))
        return aside

    def close(self) -> None:
        """Give the file back; the next call opens it again."""
        with self._lock, self._explained():
            self._drop()

    # -- the database ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._explained():
            try:
                yield self._open()
            except BaseException:
                self._drop()  # a connection that has met an error of the disk may go on meeting it
                raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Unreadable as error:
            raise OutboxDamaged(str(error)) from error
        except sqlite3.Error as error:
            damaged = (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE
            raise (OutboxDamaged if damaged else OutboxError)(f"{self.path}: {error}") from error
        except OSError as error:
            raise OutboxError(f"{self.path}: {error.strerror or error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._make_file()
            self._connection = connected(self.path, "rw", _BUSY_SECS, self._prepare)
        return self._connection

    def _make_file(self) -> None:
        try:
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE))
        except FileExistsError:
            if self.path.is_file() and not self.path.stat().st_size:
                log.error("%s is empty: the deliveries that were in it are lost, and a new one begins", self.path)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        version = format_of(connection, self.path, APPLICATION_ID, VERSION)
        if version is None:
            connection.executescript(f"BEGIN; {_CREATE} COMMIT;")
        elif version < 2:
            connection.executescript(f"BEGIN; {_ADD_FACTS} {_ADD_TURNS} COMMIT;")
        elif version < 3:
            connection.executescript(f"BEGIN; {_ADD_TURNS} COMMIT;")
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise OutboxDamaged(f"{self.path}: {str(problem).splitlines()[0]}")
        with connection:
            connection.execute("INSERT OR IGNORE INTO fact VALUES ('origin', ?)", [self.origin])
            self.origin = str(connection.execute("SELECT value FROM fact WHERE name = 'origin'").fetchone()[0])


def new_origin() -> str:
    """Letters that no other outbox has."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(_ORIGIN_LETTERS))


def _save(database: sqlite3.Connection, changes: Changes) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?)",
        [(number, fresh.name, fresh.payload, fresh.owner) for number, fresh in changes.events.items()],
    )
    gone = [place for place, row in changes.rows.items() if row is None]
    database.executemany("DELETE FROM delivery WHERE target = ? AND number = ?", gone)
    there = [_values(place, row) for place, row in changes.rows.items() if row is not None]
    database.executemany("INSERT OR REPLACE INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?)", there)
    database.executemany(_UNUSED, [(number,) for _, number in gone])
    if any(values[4] is not None for values in there):
        _keep_the_last(database)
    database.executemany("INSERT OR REPLACE INTO standing VALUES (?, ?)", list(changes.standings.items()))
    database.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", list(changes.facts.items()))
    if changes.taken is not None:
        database.execute("INSERT OR REPLACE INTO taken VALUES (1, ?)", [changes.taken])


def _shares(database: sqlite3.Connection) -> dict[str, dict[str, tuple[int, int]]]:
    shares: dict[str, dict[str, tuple[int, int]]] = {}
    statement = (
        "SELECT target, owner, count(*), max(place) FROM delivery JOIN event USING (number)"
        " WHERE given_up_at IS NULL GROUP BY target, owner"
    )
    for target, owner, count, last in database.execute(statement):
        shares.setdefault(target, {})[owner] = (count, last)
    return shares


def _values(place: tuple[str, int], row: Row) -> tuple[Any, ...]:
    return (*place, row.attempts, row.next_try, row.given_up_at, row.why, row.place)


def _keep_the_last(database: sqlite3.Connection) -> None:
    old = database.execute(
        "SELECT target, number FROM (SELECT target, number, row_number() OVER"
        " (PARTITION BY target ORDER BY given_up_at DESC, number DESC) AS place"
        " FROM delivery WHERE given_up_at IS NOT NULL AND why <> ?) WHERE place > ?",
        [GONE, KEPT_GIVEN_UP],
    ).fetchall()
    database.executemany("DELETE FROM delivery WHERE target = ? AND number = ?", old)
    database.executemany(_UNUSED, [(number,) for _, number in old])


# -- targets come and go -----------------------------------------------------------------------------------------------

_OTHERS = "target NOT IN (SELECT value FROM json_each(:known))"


def _set_others_aside(database: sqlite3.Connection, targets: Collection[str], wall: float) -> int:
    """What waits for targets that are gone is given up; what waited for those that are back waits again.

    Returns how many deliveries were set aside just now.
    """
    given = {"known": json.dumps(list(targets)), "gone": GONE, "now": wall, "old": wall - KEPT_GONE_SECS}
    _hand_over(database, targets)
    database.execute(f"UPDATE delivery SET given_up_at = NULL, why = NULL WHERE why = :gone AND NOT {_OTHERS}", given)
    set_aside = database.execute(
        f"UPDATE delivery SET given_up_at = :now, why = :gone WHERE {_OTHERS} AND given_up_at IS NULL", given
    ).rowcount
    if database.execute(f"DELETE FROM delivery WHERE {_OTHERS} AND given_up_at < :old", given).rowcount:
        database.execute("DELETE FROM event WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE number = event.number)")
    database.execute(f"DELETE FROM standing WHERE {_OTHERS}", given)
    return set_aside


def _hand_over(database: sqlite3.Connection, targets: Collection[str]) -> None:
    """Of two targets with one address the one that is left gets what waited for the other: it may be its own."""
    for (gone,) in database.execute("SELECT DISTINCT target FROM delivery WHERE target LIKE '%-%'").fetchall():
        heir = gone.rpartition("-")[0]
        if gone not in targets and heir in targets:
            database.execute(
                "UPDATE OR IGNORE delivery SET target = ? WHERE target = ? AND given_up_at IS NULL", [heir, gone]
            )
