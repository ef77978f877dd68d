"""Every format version there ever was is read by the program of today, which then goes on with the file.

For snapshot and log that is tests/store/test_golden.py; this is about all else that the daemon keeps. The files are
never written again. Who raises a version writes files of the new one by support/golden_formats.py, and the tests below
say so until that is done.
"""

import hashlib
import shutil
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gflow.core.model import JobId
from gflow.core.selection import EVERYTHING
from gflow.notify import outbox as outbox_module
from gflow.notify.changes import Changes
from gflow.notify.outbox import START, Outbox
from gflow.store import history as history_module
from gflow.store import snapshot, wal
from gflow.store.history import History
from gflow.store.ids import Ids, Mark, furthest, read_latest, read_mark
from gflow.store.recovery import journal as journal_module
from gflow.store.recovery.journal import Changes as Since
from gflow.store.recovery.journal import Journal, read_journal
from gflow.store.spool import Spool
from support import golden_formats
from support.golden_formats import DATA, cell, ended_jobs, versions

TODAY = {"history": history_module.VERSION, "outbox": outbox_module.VERSION, "journal": journal_module.VERSION}
BOTH = ("a", "b")


@pytest.mark.parametrize(("what", "version"), [*TODAY.items(), ("ids", 1), ("spool", 1)])
def test_there_are_files_of_every_version(what: str, version: int):
    assert list(versions(what)) == list(range(1, version + 1))


@pytest.mark.parametrize("version", [snapshot.VERSION, wal.VERSION])
def test_there_is_a_state_of_every_version(version: int):
    found = {path.name.split("-")[1] for path in DATA.glob("store-v*")}
    assert found >= {f"v{number}" for number in range(1, version + 1)}


def of_every_version(what: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kept", versions(what).values(), ids=lambda path: path.name)


@pytest.fixture
def there(kept: Path, tmp_path: Path) -> Path:
    """A copy of the files, as a daemon would find them."""
    return shutil.copytree(kept, tmp_path / "data")


@of_every_version("history")
def test_a_history_is_read_and_goes_on(there: Path, kept: Path):
    jobs = [*ended_jobs(), *([] if kept.name == "history-v1" else [cell()])]
    with closing(History(there, read_only=True)) as looked_at:
        assert looked_at.page(EVERYTHING, after=None, most=9) == jobs
    later = replace(cell(), id=JobId(10))
    with closing(History(there)) as history:
        history.add([later])
        assert history.page(EVERYTHING, after=None, most=9) == [*jobs, later]
        assert history.in_cells([("ada", later.spec.group_id, "lr=0.1")]) == [later]
        assert history.check() == []
        assert history._query("PRAGMA user_version", []) == [(TODAY["history"],)]


@of_every_version("outbox")
def test_an_outbox_is_read_and_goes_on(there: Path):
    outbox = Outbox(there)
    with closing(outbox):
        assert outbox.taken() == 3
        stock = outbox.stock(BOTH, 0.0)
        assert (stock.waiting, stock.standings) == ({"a": 2, "b": 2}, {"b": "{}"})
        tried, waiting = outbox.waiting("a", START, (), 9)
        assert (tried.number, tried.event, tried.attempts, tried.next_try) == (2, "job_failed", 2, 1_700_000_500.5)
        assert (waiting.number, waiting.payload, waiting.attempts) == (3, b'{"number": 3}', 0)
        (lost,) = outbox.given_up(9)
        assert (lost.target, lost.number, lost.attempts, lost.why) == ("b", 1, 4, "the answer was 500")
        later = Changes(taken=4, facts={"lost": "9"})
        later.add(4, "job_held", b"{}", {"a": 4}, "ana")
        outbox.save(later)
    with closing(Outbox(there)) as again:
        found = again.stock(BOTH, 0.0)
        assert (found.taken, found.waiting, found.lost) == (4, {"a": 3, "b": 2}, 9)
        assert again.origin == outbox.origin


@of_every_version("journal")
def test_a_journal_is_read_and_goes_on(there: Path):
    ledger, _ = golden_formats.recovery()
    entry = read_journal(there)
    assert entry is not None
    assert (entry.id, entry.base, entry.seq, entry.state) == ("golden", (2, 7), 3, ledger.state())
    assert (entry.changed.jobs, entry.changed.settings) == ({1, 2}, {"allowed_gpus"})
    later = ledger.submitted(1)
    Journal(there, entry.id, entry.base, entry.changed).save([later], ledger.state(), ledger.seq)
    again = read_journal(there)
    assert again is not None
    assert (again.changed, again.state) == (Since({1, 2, 3}, set(), {"allowed_gpus"}), ledger.state())


@of_every_version("ids")
def test_ids_are_read_and_go_on(there: Path):
    mark = furthest(read_mark(there), read_latest(there))
    assert mark == Mark(next=296, seq=9, generation=3)
    with closing(Ids(there, mark, 3)) as ids:
        ids.reserve(300, 10)
    assert read_mark(there) == Mark(next=556, seq=10, generation=3)


@of_every_version("spool")
def test_a_spool_is_read_and_goes_on(there: Path):
    spool = Spool(there)
    script = hashlib.sha256(golden_formats.SCRIPT).hexdigest()
    (environment,) = (path.name for path in (there / "env").iterdir())
    assert spool.path("script", script).read_bytes() == golden_formats.SCRIPT
    words = ["sh", "-c", '. "$1"; printf "%s|%s" "$LR" "$TITLE"', "sh", str(spool.path("env", environment))]
    printed = subprocess.run(words, env={}, capture_output=True, text=True, check=True).stdout
    assert printed == "|".join(golden_formats.VARIABLES.values())
    assert spool.pin("env", environment)
    assert spool.put("script", golden_formats.SCRIPT) == script
    assert list((there / "script").iterdir()) == [spool.path("script", script)]
