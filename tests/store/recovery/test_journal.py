import errno
import json
import stat
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.model import Group, JobId
from gflow.store.errors import Damaged, Newer
from gflow.store.recovery.journal import NAME, Changes, Journal, read_journal, truncate_journal
from support import strategies
from support.effort import examples
from support.faulty_disk import FaultyDisk
from support.ledger import Ledger


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.submitted(3)
    ledger.started(2)
    ledger.changed(groups=(Group("g", 2),), settings={"x": [1, {"y": None}]}, boot_id="boot")
    return ledger


def save(directory, ledger, *transactions, disk=None, changed=None):
    journal = Journal(directory, "abc", (2, 7), changed or Changes(), **({"disk": disk} if disk else {}))
    journal.save(transactions, ledger.state(), ledger.seq)
    return journal


def test_nothing_there_is_nothing_to_take_over(tmp_path):
    assert read_journal(tmp_path) is None
    (tmp_path / NAME).touch()
    assert read_journal(tmp_path) is None


def test_what_was_saved_is_read(tmp_path, ledger):
    save(tmp_path, ledger)
    entry = read_journal(tmp_path)
    assert (entry.id, entry.base, entry.seq) == ("abc", (2, 7), ledger.seq)
    assert entry.state == ledger.state()
    assert entry.changed == Changes()


def test_it_is_one_line_of_json_in_the_shape_of_the_format(tmp_path, ledger):
    save(tmp_path, ledger)
    data = (tmp_path / NAME).read_bytes()
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    said = json.loads(data)
    assert (said["kind"], said["version"], said["id"], type(said["ts"])) == ("snapshot", 1, "abc", int)
    assert said["crc32"] == zlib.crc32(data.rpartition(b',"crc32":')[0])
    assert set(said["scheduler"]) == {
        *("seq", "next_job_id", "next_event_id", "boot_id", "settings", "groups", "jobs", "events")
    }
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_what_has_changed_since_is_remembered_over_saves(tmp_path, ledger):
    journal = save(tmp_path, ledger, changed=Changes({JobId(9)}))
    first = ledger.finished(1)
    journal.save([first], ledger.state(), ledger.seq)
    second = ledger.changed(groups=(Group("h", 1),), settings={"x": None})
    gone = replace(ledger.changed(), retired=(JobId(3),))
    journal.save([second, gone], ledger.state(), ledger.seq)
    assert read_journal(tmp_path).changed == Changes({JobId(1), JobId(3), JobId(9)}, {"h"}, {"x"})


def test_each_save_replaces_the_one_before(tmp_path, ledger):
    journal = save(tmp_path, ledger)
    for _ in range(3):
        journal.save([ledger.submitted(50)], ledger.state(), ledger.seq)
        assert read_journal(tmp_path).state == ledger.state()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_job_that_changed_is_written_as_it_is_now(tmp_path, ledger):
    journal = save(tmp_path, ledger)
    journal.save([ledger.finished(2)], ledger.state(), ledger.seq)
    assert read_journal(tmp_path).state.jobs[1] == ledger.jobs[JobId(2)]


def test_it_is_on_disk_name_and_all_when_the_save_returns(tmp_path, ledger):
    disk = FaultyDisk()
    save(tmp_path, ledger, disk=disk)
    assert disk.calls[-3:] == ["sync", "replace", "sync_directory"]


@pytest.mark.parametrize("call", ["create", "write", "sync", "replace"])
def test_a_save_that_fails_leaves_the_one_before(tmp_path, ledger, call):
    disk = FaultyDisk()
    journal = save(tmp_path, ledger, disk=disk)
    before = ledger.state()
    disk.failing = {call: errno.EIO}
    transaction = ledger.finished(1)
    with pytest.raises(OSError, match="Input/output error"):
        journal.save([transaction], ledger.state(), ledger.seq)
    assert read_journal(tmp_path).state == before
    disk.failing = {}
    journal.save([transaction], ledger.state(), ledger.seq)
    assert read_journal(tmp_path).state == ledger.state()


def test_a_directory_in_its_place_is_an_error_and_leaves_no_litter(tmp_path, ledger):
    (tmp_path / NAME).mkdir()
    with pytest.raises(IsADirectoryError):
        save(tmp_path, ledger)
    with pytest.raises(IsADirectoryError):
        read_journal(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_no_changed_or_lost_byte_goes_unnoticed(tmp_path, ledger):
    save(tmp_path, ledger)
    good = (tmp_path / NAME).read_bytes()
    for place in range(len(good)):
        (tmp_path / NAME).write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        with pytest.raises(Damaged):
            read_journal(tmp_path)
    for length in range(1, len(good)):
        (tmp_path / NAME).write_bytes(good[:length])
        with pytest.raises(Damaged):
            read_journal(tmp_path)


def sealed(said):
    body = json.dumps(said).encode()[:-1]
    return body + b',"crc32":%d}\n' % zlib.crc32(body)


def test_a_later_version_is_said_to_be_newer(tmp_path):
    (tmp_path / NAME).write_bytes(sealed({"version": 2, "scheduler": "who knows"}))
    with pytest.raises(Newer, match="has format version 2"):
        read_journal(tmp_path)


@pytest.mark.parametrize("said", [{}, {"version": 1}, {"version": "x"}, {"version": 1, "scheduler": [], "changed": 3}])
def test_json_that_is_no_journal_is_damaged(tmp_path, said):
    (tmp_path / NAME).write_bytes(sealed(said))
    with pytest.raises(Damaged, match="does not hold a state"):
        read_journal(tmp_path)


def test_truncating_leaves_an_empty_file(tmp_path, ledger):
    truncate_journal(tmp_path)
    assert list(tmp_path.iterdir()) == []
    save(tmp_path, ledger)
    truncate_journal(tmp_path)
    assert (tmp_path / NAME).read_bytes() == b""
    assert read_journal(tmp_path) is None


@settings(max_examples=examples(40))
@given(jobs=st.lists(strategies.jobs, max_size=5, unique_by=lambda job: job.id))
def test_whatever_a_job_is_comes_back(tmp_path, jobs):
    ledger = Ledger()
    ledger.jobs = {job.id: job for job in jobs}
    save(tmp_path, ledger)
    assert read_journal(tmp_path).state.jobs == tuple(jobs)
