import errno
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.events import EventKind
from gflow.core.model import Group, JobId
from gflow.store.errors import Damaged, Foreign
from gflow.store.load import load
from gflow.store.log import Log, remove_segments
from gflow.store.records import encode
from gflow.store.snapshot import KEPT_EVENTS, NAME, PREVIOUS, Snapshot, write_snapshot
from gflow.store.upkeep.check import check
from gflow.store.wal import MAX_SEGMENT, Segment, segment_path
from support import strategies
from support.effort import examples
from support.faulty_disk import FaultyDisk
from support.ledger import Ledger, facts


class Book:
    """A data directory that a ledger's transactions are written to."""

    def __init__(self, directory, ledger=None):
        self.directory = directory
        self.ledger = ledger or Ledger()
        self.disk = FaultyDisk()
        self.log = Log(directory, 0, disk=self.disk)

    def write(self, *transactions):
        self.log.append([encode(t) for t in transactions], transactions[0].seq)

    def snapshot(self, *, remove_before=None):
        segment = self.log.rotate(self.ledger.seq + 1)
        write_snapshot(self.directory, Snapshot(self.ledger.seq, segment, self.ledger.state()))
        if remove_before is not None:
            remove_segments(self.directory, remove_before)
        return segment

    def restart(self):
        self.log.close()
        self.log = Log(self.directory, load(self.directory).segment, disk=self.disk)


@pytest.fixture
def book(tmp_path):
    book = Book(tmp_path)
    yield book
    book.log.close()


def assert_same(loaded, ledger):
    assert facts(loaded) == facts(ledger)


def test_nothing_there_is_an_empty_state(tmp_path):
    for directory in (tmp_path, tmp_path / "missing"):
        loaded = load(directory)
        assert (loaded.jobs, loaded.next_job_id, loaded.seq, loaded.warnings) == ({}, 1, 0, [])


def test_the_log_alone_is_enough(book, tmp_path):
    book.write(book.ledger.submitted(3), book.ledger.started(2))
    book.write(book.ledger.changed(groups=(Group("g", 2),), settings={"gpus": [1], "x": 1}, boot_id="boot"))
    book.write(book.ledger.changed(settings={"x": None}), book.ledger.finished(2))
    loaded = load(tmp_path)
    assert_same(loaded, book.ledger)
    assert (loaded.segment, loaded.first_segment, loaded.log_changes, loaded.warnings) == (1, 1, 7, [])


def test_the_log_goes_on_from_the_snapshot(book, tmp_path):
    book.write(book.ledger.submitted(3))
    second = book.snapshot(remove_before=2)
    book.write(book.ledger.started(1))
    loaded = load(tmp_path)
    assert_same(loaded, book.ledger)
    assert (loaded.segment, loaded.first_segment, loaded.log_changes) == (second, second, 1)


def test_a_snapshot_with_nothing_after_it(book, tmp_path):
    book.write(book.ledger.submitted(3))
    book.snapshot()
    assert_same(load(tmp_path), book.ledger)


def test_several_restarts_go_on_in_new_segments(book, tmp_path):
    for _ in range(4):
        book.write(book.ledger.submitted())
        book.restart()
    loaded = load(tmp_path)
    assert_same(loaded, book.ledger)
    assert loaded.segment == 4


def test_jobs_are_in_order_of_their_ids(book, tmp_path):
    book.write(book.ledger.submitted(3))
    book.snapshot()
    book.write(book.ledger.finished(1), book.ledger.submitted())
    assert list(load(tmp_path).jobs) == [1, 2, 3, 4]


def test_an_id_seen_anywhere_is_never_given_again(book, tmp_path):
    transaction = book.ledger.submitted(5)
    book.ledger.next_job_id = 2
    book.write(transaction, book.ledger.changed())
    assert load(tmp_path).next_job_id == 6
    book.snapshot()
    assert load(tmp_path).next_job_id == 6


def test_only_the_latest_events_are_kept(book, tmp_path):
    book.write(book.ledger.submitted(KEPT_EVENTS + 5))
    loaded = load(tmp_path)
    assert [loaded.events[0][0], loaded.events[-1][0]] == [6, KEPT_EVENTS + 5]
    assert_same(loaded, book.ledger)


@pytest.mark.parametrize(("told", "first"), [(0, 1), (3, 4), (5, 6), (900, 6)])
def test_events_that_were_not_told_are_all_kept_also_by_the_next_snapshot(book, tmp_path, told, first):
    book.write(book.ledger.submitted(KEPT_EVENTS), book.ledger.submitted(5))
    loaded = load(tmp_path, told)
    assert [loaded.events[0][0], len(loaded.events)] == [first, KEPT_EVENTS + 6 - first]
    write_snapshot(tmp_path, Snapshot(loaded.seq, loaded.segment, loaded.state()))
    assert load(tmp_path, told).events == loaded.events


def test_equal_jobs_in_events_and_state_are_one_object(book, tmp_path):
    book.write(book.ledger.submitted())
    for _ in range(2):
        loaded = load(tmp_path)
        assert loaded.events[-1][1].job is loaded.jobs[JobId(1)]
        book.snapshot()


def test_a_torn_tail_gets_one_warning_that_names_it(book, tmp_path):
    book.write(book.ledger.submitted())
    with segment_path(tmp_path, 1).open("ab") as file:
        file.write(b"\xc1gf\x01" + bytes(3))
    loaded = load(tmp_path)
    assert_same(loaded, book.ledger)
    assert len(loaded.warnings) == 1
    assert "wal-00000001.log: left out 7 bytes at the end" in loaded.warnings[0]


def test_the_warning_is_gone_once_the_log_goes_on(book, tmp_path):
    book.write(book.ledger.submitted())
    with segment_path(tmp_path, 1).open("ab") as file:
        file.write(bytes(100))
    book.restart()
    book.write(book.ledger.submitted())
    loaded = load(tmp_path)
    assert_same(loaded, book.ledger)
    assert loaded.warnings == []


def test_reading_changes_nothing(book, tmp_path):
    book.write(book.ledger.submitted())
    book.snapshot()
    book.write(book.ledger.submitted())
    with segment_path(tmp_path, 2).open("ab") as file:
        file.write(b"torn")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    load(tmp_path)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


def test_a_lost_tail_of_an_older_segment_is_damage(book, tmp_path):
    book.write(book.ledger.submitted())
    book.write(book.ledger.submitted())
    size = segment_path(tmp_path, 1).stat().st_size
    book.restart()
    book.write(book.ledger.submitted())
    with segment_path(tmp_path, 1).open("r+b") as file:
        file.truncate(size - 1)
    with pytest.raises(Damaged, match=r"wal-00000002\.log: .*transaction 2 is missing before it"):
        load(tmp_path)


def test_a_missing_segment_is_damage(book, tmp_path):
    for _ in range(3):
        book.write(book.ledger.submitted(), book.ledger.submitted())
        book.restart()
    segment_path(tmp_path, 2).unlink()
    with pytest.raises(Damaged, match="transactions 3 to 4 are missing"):
        load(tmp_path)
    segment_path(tmp_path, 1).unlink()
    with pytest.raises(Damaged, match="transactions 1 to 4 are missing"):
        load(tmp_path)


def test_a_gap_inside_a_segment_is_damage(book, tmp_path):
    first, _, third = (book.ledger.submitted() for _ in range(3))
    book.write(first, third)
    with pytest.raises(Damaged, match="transaction 2 is missing here"):
        load(tmp_path)


def test_the_segment_a_snapshot_names_must_be_there(book, tmp_path):
    book.write(book.ledger.submitted())
    segment_path(tmp_path, book.snapshot()).unlink()
    with pytest.raises(Damaged, match=r"wal-00000002\.log.*missing"):
        load(tmp_path)


def test_a_record_that_makes_no_sense_is_damage(book, tmp_path):
    book.log.append([b"\xc0"], 1)
    with pytest.raises(Damaged, match="makes no sense"):
        load(tmp_path)


def test_an_unreadable_snapshot_is_not_passed_over(book, tmp_path):
    book.write(book.ledger.submitted())
    book.snapshot()
    (tmp_path / NAME).write_bytes(b"\x81\xa7version\x04" + bytes(40))
    with pytest.raises(Foreign):
        load(tmp_path)


def test_between_the_two_renames_the_previous_snapshot_and_the_log_are_everything(book, tmp_path):
    book.write(book.ledger.submitted())
    book.snapshot()
    book.write(book.ledger.submitted())
    book.snapshot(remove_before=2)
    book.write(book.ledger.submitted())
    (tmp_path / NAME).unlink()
    loaded = load(tmp_path)
    assert_same(loaded, book.ledger)
    assert len(loaded.warnings) == 1
    assert PREVIOUS in loaded.warnings[0]


def test_what_a_failed_sync_left_behind_is_void(book, tmp_path):
    """The batch was never acknowledged, was taken back, and turns up again after a power cut."""
    book.write(book.ledger.submitted())
    before = Ledger(load(tmp_path))
    lost = before.submitted(command="never acknowledged")
    path = segment_path(tmp_path, 1)
    book.disk.failing = {"sync": errno.EIO, "truncate": errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        book.log.append([encode(lost)], lost.seq)
    assert b"never acknowledged" in path.read_bytes()
    book.disk.failing = {}
    book.restart()
    book.write(book.ledger.submitted(command="acknowledged"))
    loaded = load(tmp_path)
    assert_same(loaded, book.ledger)
    assert loaded.jobs[JobId(2)].spec.command == "acknowledged"


def test_a_segment_that_was_never_made_voids_nothing_when_it_comes_back(book, tmp_path):
    """Its directory could not be synced, so it was given up and removed; after a power cut it is there all the same."""
    book.write(book.ledger.submitted())
    book.disk.failing = {"sync_directory": errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        book.log.rotate(2)
    book.disk.failing = {}
    book.write(book.ledger.submitted(command="acknowledged"))
    Segment.create(tmp_path, 2, 2).close()
    assert_same(load(tmp_path), book.ledger)


def test_a_batch_that_was_written_twice_counts_once(book, tmp_path):
    book.write(book.ledger.submitted())
    again = book.ledger.submitted()
    book.disk.failing = {"sync": errno.EIO, "truncate": errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        book.write(again)
    book.disk.failing = {}
    book.write(again)
    assert_same(load(tmp_path), book.ledger)


def test_an_unfinished_new_segment_does_no_harm(book, tmp_path):
    book.write(book.ledger.submitted())
    segment_path(tmp_path, 2).write_bytes(b"gflow")
    loaded = load(tmp_path)
    assert_same(loaded, book.ledger)
    assert loaded.segment == 2, "its number is not used again"
    book.restart()
    book.write(book.ledger.submitted())
    assert_same(load(tmp_path), book.ledger)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.lists(strategies.jobs, max_size=2, unique_by=lambda job: job.id)),
        st.tuples(st.sampled_from(["snapshot", "restart"]), st.none()),
    ),
    max_size=12,
)


@given(steps)
@settings(max_examples=examples(40))
def test_any_history_with_snapshots_and_restarts_comes_back_exactly(tmp_path, steps):
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    book = Book(tmp_path)
    for step, jobs in steps:
        if step == "change":
            book.ledger.next_job_id = max([book.ledger.next_job_id, *(job.id + 1 for job in jobs)])
            book.write(book.ledger.changed(*((EventKind.UPDATED, job) for job in jobs)))
        elif step == "snapshot":
            book.snapshot()
        else:
            book.restart()
        assert_same(load(tmp_path), book.ledger)
    book.log.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 9])
def test_a_segment_that_none_can_follow_is_damage(book, content):
    book.write(book.ledger.submitted(1))
    last = segment_path(book.directory, MAX_SEGMENT)
    last.write_bytes(content)
    with pytest.raises(Damaged, match="leaves none") as caught:
        load(book.directory)
    assert caught.value.path == last
    assert any(
        "leaves none" in problem.what for found in check(book.directory, running=False) for problem in found.problems
    )
    last.unlink()
    assert_same(load(book.directory), book.ledger)
