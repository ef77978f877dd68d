import errno
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.store.acknowledged import NAME, Mark, acknowledged
from gflow.store.errors import Damaged
from gflow.store.load import load
from gflow.store.log import Log
from gflow.store.records import encode
from gflow.store.wal import segment_path
from support.faulty_disk import FaultyDisk
from support.ledger import Ledger


@pytest.fixture
def disk():
    return FaultyDisk()


def noted(directory, *seqs, disk=None):
    mark = Mark(directory, disk or FaultyDisk())
    for seq in seqs:
        mark.note(seq)
    mark.close()


def test_what_was_noted_last_counts(tmp_path):
    assert acknowledged(tmp_path) == 0
    noted(tmp_path, 1, 2**63, 7)
    assert acknowledged(tmp_path) == 7
    noted(tmp_path, 8)
    assert acknowledged(tmp_path) == 8
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_a_note_costs_one_call_and_no_sync(tmp_path, disk):
    mark = Mark(tmp_path, disk)
    mark.note(1)
    disk.calls.clear()
    mark.note(2)
    assert disk.calls == ["overwrite"]
    mark.close()
    assert disk.calls == ["overwrite", "sync"]


@pytest.mark.parametrize("call", ["open_in_place", "overwrite", "sync"])
def test_a_note_that_fails_leaves_the_one_before(tmp_path, disk, call):
    noted(tmp_path, 4)
    disk.failing = {call: errno.EIO}
    noted(tmp_path, 5, disk=disk)
    assert acknowledged(tmp_path) == (5 if call == "sync" else 4)


@given(st.binary(max_size=40))
def test_what_is_no_mark_says_nothing(tmp_path_factory, content):
    directory = tmp_path_factory.mktemp("mark")
    (directory / NAME).write_bytes(content)
    assert acknowledged(directory) == 0


def test_it_is_noted_only_once_the_batch_is_on_disk(tmp_path, disk):
    ledger, log = Ledger(), Log(tmp_path, 0, disk=disk)
    log.append([encode(ledger.submitted()), encode(ledger.submitted())], 1)
    disk.failing = {"sync": errno.EIO}
    third = [encode(ledger.submitted())]
    with pytest.raises(OSError, match="Input/output"):
        log.append(third, 3)
    assert acknowledged(tmp_path) == 2
    disk.failing = {}
    log.append(third, 3)
    assert acknowledged(tmp_path) == 3
    log.close()


def test_a_log_that_ends_before_it_is_damaged(tmp_path):
    ledger, log = Ledger(), Log(tmp_path, 0)
    log.append([encode(ledger.submitted())], 1)
    path = segment_path(tmp_path, 1)
    first = path.read_bytes()
    log.append([encode(ledger.submitted()), encode(ledger.submitted())], 2)
    log.close()
    path.write_bytes(first + b"\xc1gf")
    with pytest.raises(Damaged, match="transactions 2 to 3 are missing at the end, though on disk once") as caught:
        load(tmp_path)
    assert (caught.value.path, caught.value.offset) == (path, len(first))
    path.unlink()
    with pytest.raises(Damaged, match="transactions 1 to 3 are missing"):
        load(tmp_path)
    (tmp_path / NAME).unlink()
    assert load(tmp_path).seq == 0
