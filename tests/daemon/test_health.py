from pathlib import Path

import pytest

from gflow.daemon.health import health
from gflow.store.recovery.journal import Changes
from gflow.store.recovery.opening import Recovery

DATA = Path("/data")
BACKUP = Path("/data/state.msgpack.corrupt.1")
KEYS = {"status", "pid", "detail", "state_backup", "journal", "journal_error"}


def recovery(backup=BACKUP):
    return Recovery("/data/state.msgpack: damaged at byte 0: x; do y", backup, "id", (0, 1), Changes(), {})


def test_all_is_well():
    assert health(7, DATA, None, None) == ({"status": "ok", "pid": 7}, True)


def test_recovery_is_well_enough():
    body, well = health(7, DATA, recovery(), None)
    assert well
    assert body == {
        "status": "recovery",
        "mode": "journal",
        "pid": 7,
        "detail": "/data/state.msgpack: damaged at byte 0: x; do y",
        "state_backup": str(BACKUP),
        "journal": "/data/state.journal.jsonl",
        "journal_error": None,
    }


def test_without_a_backup_there_is_none():
    assert health(7, DATA, recovery(None), None)[0]["state_backup"] is None


def test_a_log_that_cannot_be_written():
    body, well = health(7, DATA, None, "No space left on device")
    assert not well
    assert body == {
        "status": "read_only",
        "pid": 7,
        "detail": "the state cannot be written: No space left on device; nothing is accepted until it can",
        "state_backup": None,
        "journal": None,
        "journal_error": None,
    }


def test_a_journal_that_cannot_be_written():
    body, well = health(7, DATA, recovery(), "Is a directory")
    assert not well
    assert set(body) == KEYS
    assert (body["status"], body["journal_error"]) == ("read_only", "Is a directory")
    assert body["detail"].startswith("the journal /data/state.journal.jsonl cannot be written: Is a directory; and ")


@pytest.mark.parametrize("failure", [None, "x"])
@pytest.mark.parametrize("found", [None, recovery()])
def test_the_detail_is_one_line(found, failure):
    assert "\n" not in health(7, DATA, found, failure)[0].get("detail", "")
