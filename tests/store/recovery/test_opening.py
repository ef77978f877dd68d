"""Opening a state that is damaged, lost, or older than what else there is to see."""

import errno
import os
import shutil
import struct
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gflow.core.engine import Engine
from gflow.core.events import EventKind
from gflow.core.invariants import check
from gflow.core.model import DependencyMode, Group, JobId, Now, State
from gflow.store.history import History
from gflow.store.ids import GENERATION, LATEST, Ids, Mark, generation_of, read_mark
from gflow.store.ids import NAME as IDS
from gflow.store.load import load
from gflow.store.log import Log
from gflow.store.records import encode
from gflow.store.recovery import opening as module
from gflow.store.recovery.journal import NAME as JOURNAL
from gflow.store.recovery.journal import Journal
from gflow.store.recovery.mend import END_UNKNOWN, MAYBE_CHANGED, STARTED_BEFORE
from gflow.store.recovery.opening import MERGED, UNKNOWN_IDS, has_room, open_state, state_files
from gflow.store.snapshot import NAME, PREVIOUS, Snapshot, write_snapshot
from gflow.store.wal import read_segment, segment_path
from support.faulty_disk import FaultyDisk
from support.ledger import Ledger, facts

WALL = 1_800_000_000.0


class Tale(Ledger):
    """Jobs in it have all that a running job has, as an engine is to take them."""

    def started(self, job_id):
        job = replace(self.jobs[JobId(job_id)], state=State.RUNNING, run_id=f"run-{job_id}", started_at=WALL)
        return self.changed((EventKind.STARTED, job))


class Book:
    """A data directory that a ledger's transactions are written to, as the daemon does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = Tale()
        self.log = Log(directory, 0)
        self.ids = Ids(directory, Mark())

    def write(self, *transactions):
        self.ids.reserve(transactions[-1].next_job_id, transactions[0].seq - 1)
        self.log.append([encode(t) for t in transactions], transactions[0].seq)
        self.ids.note(transactions[-1].next_job_id, transactions[-1].seq)

    def snapshot(self):
        segment = self.log.rotate(self.ledger.seq + 1)
        write_snapshot(self.directory, Snapshot(self.ledger.seq, segment, self.ledger.state()))

    def stop(self):
        self.log.close()
        self.ids.settle(self.ledger.next_job_id, self.ledger.seq)

    def life(self):
        """Two snapshots, and a log that goes on after each."""
        self.write(self.ledger.submitted(3))
        self.snapshot()
        self.write(self.ledger.started(1), self.ledger.submitted(2))
        self.snapshot()
        self.write(self.ledger.finished(1))
        self.write(self.ledger.submitted())
        self.write(self.ledger.changed(groups=(Group("g", 2),), settings={"x": 1}, boot_id="boot"))
        self.stop()


@pytest.fixture
def book(tmp_path):
    directory = tmp_path / "d"
    directory.mkdir()
    book = Book(directory)
    yield book
    book.log.close()


def content(directory):
    """All state files, byte for byte."""
    names = sorted(state_files(directory))
    return {name: (directory / name).read_bytes() for name in names if (directory / name).is_file()}


def spoil(path, offset=0, data=b"\xde\xad\xbe\xef"):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def spoil_record(directory, number, index):
    """Overwrite bytes in the middle of a record of the log."""
    path = segment_path(directory, number)
    frame = read_segment(path, number).frames[index]
    spoil(path, frame.offset + 20)


def open_unchanged(directory, wall=WALL):
    """`open_state` in a recovery, in which no state file may change."""
    before = content(directory)
    opened = open_state(directory, wall)
    assert opened.recovery is not None, opened.loaded.warnings
    assert content(directory) == before
    restore(opened)
    return opened


def restore(opened):
    """An engine takes the state, and it keeps every rule."""
    engine = Engine()
    loaded = opened.loaded
    engine.restore(loaded.jobs.values(), loaded.groups.values(), loaded.next_job_id, Now(WALL, 1.0))
    check(engine)


def serve(opened, directory, *transactions_of):
    """A daemon in recovery: each of these makes a transaction of a ledger over what was opened, and is journalled."""
    ledger = Ledger(opened.loaded)
    recovery = opened.recovery
    journal = Journal(directory, recovery.journal_id, recovery.base, recovery.changed)
    ids = Ids(directory, opened.mark, generation_of(ledger.settings))
    journal.save([], ledger.state(), ledger.seq)
    ids.note(ledger.next_job_id, ledger.seq)
    for make in transactions_of:
        before, transaction = ledger.seq, make(ledger)
        ids.reserve(transaction.next_job_id, before)
        journal.save([transaction], ledger.state(), ledger.seq)
        ids.note(transaction.next_job_id, ledger.seq)
    ids.close()
    return ledger


def copies(directory):
    return sorted(path.name for path in directory.iterdir() if ".corrupt." in path.name or ".backup." in path.name)


# -- a state that can be read ------------------------------------------------------------------------------------------


def test_a_sound_state_is_opened_as_it_is(book):
    book.life()
    before = content(book.directory)
    opened = open_state(book.directory, WALL)
    assert facts(opened.loaded) == facts(book.ledger)
    assert (opened.recovery, opened.loaded.warnings) == (None, [])
    assert opened.mark == Mark(book.ledger.next_job_id, book.ledger.seq)
    assert content(book.directory) == before


def test_nothing_there_is_an_empty_state(tmp_path):
    opened = open_state(tmp_path, WALL)
    assert (opened.loaded.next_job_id, opened.mark, opened.recovery, opened.loaded.warnings) == (1, Mark(), None, [])
    assert list(tmp_path.iterdir()) == []


def test_a_killed_daemon_leaves_no_gap_in_the_ids(book):
    book.write(book.ledger.submitted(3))
    opened = open_state(book.directory, WALL)
    assert opened.mark.next > 200
    assert (opened.loaded.next_job_id, opened.loaded.warnings) == (4, [])


# -- ids -------------------------------------------------------------------------------------------------------------


def test_ids_go_on_when_everything_but_their_mark_is_lost(book):
    book.life()
    mark = read_mark(book.directory)
    for path in book.directory.iterdir():
        if path.name != IDS:
            path.unlink()
    opened = open_state(book.directory, WALL)
    assert opened.recovery is None
    assert opened.loaded.next_job_id == mark.next == book.ledger.next_job_id
    assert len(opened.loaded.warnings) == 1
    assert "state.msgpack: it is older than the ids that were given" in opened.loaded.warnings[0]
    again = open_state(book.directory, WALL)
    assert (again.loaded.next_job_id, again.loaded.warnings) == (mark.next, []), "said once, and on disk"


def test_after_a_kill_the_ids_set_aside_are_left_out(book):
    book.write(book.ledger.submitted(3))
    mark = read_mark(book.directory)
    for path in book.directory.iterdir():
        if path.name != IDS:
            path.unlink()
    assert open_state(book.directory, WALL).loaded.next_job_id == mark.next > 200


def test_a_state_put_back_from_an_earlier_day_gives_no_id_again(book, tmp_path):
    book.write(book.ledger.submitted(3))
    book.stop()
    old = tmp_path / "old"
    shutil.copytree(book.directory, old)
    book.log = Log(book.directory, 1)
    book.write(book.ledger.submitted(10))
    book.stop()
    (old / IDS).unlink()
    shutil.copy(book.directory / IDS, old)
    opened = open_state(old, WALL)
    assert opened.recovery is None
    assert sorted(opened.loaded.jobs) == [1, 2, 3]
    assert opened.loaded.next_job_id == 14
    assert load(old).next_job_id == 14


def copied(directory, elsewhere):
    """A backup of the state files, made while a daemon goes on."""
    elsewhere.mkdir()
    for name in content(directory):
        shutil.copy(directory / name, elsewhere)


def put_back(elsewhere, directory):
    for name in content(directory):
        (directory / name).unlink()
    for path in elsewhere.iterdir():
        shutil.copy(path, directory)


@pytest.mark.parametrize("clean_stop", [False, True], ids=["made while it runs", "made after a clean stop"])
def test_a_copy_made_a_moment_before_the_end_is_older(book, tmp_path, clean_stop):
    """Ids were set aside before the copy was made, or as of the very transaction it ends with."""
    book.write(book.ledger.submitted(3))
    if clean_stop:
        book.stop()
        book.log = Log(book.directory, 1)
    copied(book.directory, tmp_path / "copy")
    book.write(book.ledger.submitted())
    put_back(tmp_path / "copy", book.directory)
    (book.directory / "logs").mkdir()
    (book.directory / "logs" / "2.log").touch()
    opened = open_state(book.directory, WALL)
    assert opened.recovery is None
    assert {job.id: job.state for job in opened.loaded.jobs.values()} == {
        1: State.QUEUED,
        2: State.HOLD,
        3: State.QUEUED,
    }
    assert opened.loaded.next_job_id > 4
    older = [line for line in opened.loaded.warnings if "it is older than the ids" in line]
    assert len(older) == 1
    again = open_state(book.directory, WALL)
    assert (facts(again.loaded), again.loaded.warnings) == (facts(opened.loaded), []), "said once"


def test_a_crash_before_the_mark_leaves_a_state_that_is_not_older(book):
    book.write(book.ledger.submitted(3))
    latest = (book.directory / LATEST).read_bytes()
    book.write(book.ledger.submitted(2))
    (book.directory / LATEST).write_bytes(latest)
    opened = open_state(book.directory, WALL)
    assert (facts(opened.loaded), opened.loaded.warnings) == (facts(book.ledger), [])


def test_where_the_reservation_is_lost_the_latest_counts(book, tmp_path):
    book.write(book.ledger.submitted(3))
    copied(book.directory, tmp_path / "copy")
    book.write(book.ledger.submitted(2))
    (book.directory / IDS).unlink()
    opened = open_state(book.directory, WALL)
    assert (opened.loaded.next_job_id, opened.loaded.warnings) == (6, [])
    put_back(tmp_path / "copy", book.directory)
    assert open_state(book.directory, WALL).loaded.next_job_id == 6


@pytest.mark.parametrize("text", [b"gflowids", b"\xff" * 36])
def test_a_latest_that_is_unreadable_is_a_warning(book, text):
    book.life()
    (book.directory / LATEST).write_bytes(text)
    opened = open_state(book.directory, WALL)
    assert facts(opened.loaded) == facts(book.ledger)
    assert len(opened.loaded.warnings) == 1
    assert "ids.latest: damaged at byte 0" in opened.loaded.warnings[0]


def test_jobs_of_an_old_state_that_have_run_since_do_not_run_again(book):
    book.write(book.ledger.submitted(4))
    book.write(book.ledger.started(3), book.ledger.started(4))
    Ids(book.directory, Mark()).settle(100, 1000)
    (book.directory / "logs").mkdir()
    (book.directory / "runs" / "4.run-4").mkdir(parents=True)
    for job_id in (1, 3, 4):
        (book.directory / "logs" / f"{job_id}.log").touch()
    with closing(History(book.directory)) as history:
        history.add([replace(book.ledger.jobs[JobId(2)], state=State.FAILED, finished_at=WALL)])
    opened = open_state(book.directory, WALL)
    jobs = opened.loaded.jobs
    assert [jobs[JobId(n)].state for n in (1, 2, 3, 4)] == [State.HOLD, State.FAILED, State.FAILED, State.RUNNING]
    assert (jobs[JobId(1)].detail, jobs[JobId(3)].detail) == (STARTED_BEFORE, END_UNKNOWN)
    assert any("Job 1: held: it was started before" in warning for warning in opened.loaded.warnings)
    restore(opened)


def test_logs_tell_of_ids_where_the_mark_is_missing_or_damaged(book):
    book.life()
    (book.directory / "logs").mkdir()
    (book.directory / "logs" / "40.log").touch()
    (book.directory / IDS).unlink()
    assert open_state(book.directory, WALL).loaded.next_job_id == 41
    (book.directory / "logs" / "50.log").touch()
    (book.directory / IDS).write_bytes(b"\0\0")
    opened = open_state(book.directory, WALL)
    assert opened.loaded.next_job_id == 51
    assert "ids: damaged at byte 0" in opened.loaded.warnings[0]


def test_a_mark_that_is_unreadable_is_a_warning(book):
    book.life()
    (book.directory / IDS).unlink()
    (book.directory / IDS).mkdir()
    opened = open_state(book.directory, WALL)
    assert facts(opened.loaded) == facts(book.ledger)
    assert "ids: Is a directory" in opened.loaded.warnings[0]


def test_a_log_of_an_id_that_was_never_given_is_not_ours(book):
    book.life()
    book.ids.reserve(book.ledger.next_job_id + 1, book.ledger.seq)
    (book.directory / "logs").mkdir()
    (book.directory / "logs" / "999999.log").touch()
    assert open_state(book.directory, WALL).loaded.next_job_id == book.ledger.next_job_id


def test_a_full_disk_keeps_no_old_state_from_being_used(book):
    book.life()
    Ids(book.directory, Mark()).settle(100, 1000)
    disk = FaultyDisk()
    disk.failing = {"create": errno.ENOSPC}
    opened = open_state(book.directory, WALL, disk=disk)
    assert (opened.recovery, opened.loaded.next_job_id) == (None, 100)
    assert "cannot be written anew: No space left" in opened.loaded.warnings[-1]
    assert read_mark(book.directory) == Mark(100, 1000)


# -- salvage -----------------------------------------------------------------------------------------------------------


def test_a_damaged_snapshot_loses_nothing_while_the_one_before_and_the_log_are_there(book):
    book.life()
    spoil(book.directory / NAME, 100)
    opened = open_unchanged(book.directory)
    loaded = opened.loaded
    assert facts(loaded)[:3] == facts(book.ledger)[:3]
    assert loaded.events == book.ledger.events
    assert (loaded.next_job_id, loaded.boot_id) == (book.ledger.next_job_id, "boot")
    assert loaded.settings == {"x": 1, GENERATION: 1}
    assert loaded.next_event_id >= book.ledger.next_event_id
    assert opened.recovery.base == (0, book.ledger.seq)
    assert opened.recovery.trouble.startswith(f"{book.directory / NAME}: damaged at byte 0: its checksum is wrong")
    assert "\n" not in opened.recovery.trouble
    assert {job.state for job in loaded.jobs.values()} == {State.FINISHED, State.QUEUED}, "nothing is in doubt"


def test_with_both_snapshots_damaged_the_log_tells_what_it_can(book):
    book.life()
    spoil(book.directory / NAME, 100)
    spoil(book.directory / PREVIOUS, 100)
    opened = open_unchanged(book.directory)
    assert sorted(opened.loaded.jobs) == [1, 2, 3, 4, 5, 6], "all segments since the beginning are there"
    assert opened.recovery.backup.name == f"{NAME}.corrupt.{int(WALL)}"
    assert copies(book.directory) == [f"{NAME}.corrupt.{int(WALL)}", f"{PREVIOUS}.corrupt.{int(WALL)}"]


def test_a_damaged_stretch_in_the_log_is_left_out_and_what_follows_is_not(book):
    for _ in range(9):
        book.write(book.ledger.submitted())
    book.write(book.ledger.started(2))
    book.stop()
    spoil_record(book.directory, 1, 4)
    opened = open_unchanged(book.directory)
    assert sorted(opened.loaded.jobs) == [1, 2, 3, 4, 6, 7, 8, 9]
    assert opened.loaded.jobs[JobId(2)].state is State.RUNNING
    assert opened.loaded.next_job_id == 10
    warnings = "\n".join(opened.loaded.warnings)
    assert "wal-00000001.log: damaged from byte" in warnings
    assert "left out change 5, which could not be read" in warnings
    assert copies(book.directory) == [f"wal-00000001.log.corrupt.{int(WALL)}"]


def test_jobs_that_may_have_started_in_a_damaged_stretch_do_not_start_again(book):
    book.write(book.ledger.submitted(4))
    book.write(book.ledger.started(1))
    book.write(book.ledger.started(2), book.ledger.finished(2))
    book.write(book.ledger.submitted())
    book.stop()
    spoil_record(book.directory, 1, 1)
    (book.directory / "logs").mkdir()
    for job_id in (1, 2):
        (book.directory / "logs" / f"{job_id}.log").touch()
    jobs = open_unchanged(book.directory).loaded.jobs
    states = {job_id: job.state for job_id, job in jobs.items()}
    assert states == {1: State.HOLD, 2: State.FINISHED, 3: State.QUEUED, 4: State.QUEUED, 5: State.QUEUED}
    assert jobs[JobId(1)].detail == STARTED_BEFORE


def test_a_damaged_header_loses_no_record(book):
    book.life()
    spoil(segment_path(book.directory, 3), 10)
    opened = open_unchanged(book.directory)
    assert facts(opened.loaded)[:3] == facts(book.ledger)[:3]


def test_a_whole_segment_that_cannot_be_read_holds_what_waits(book, monkeypatch):
    book.life()
    path = segment_path(book.directory, 3)
    path.unlink()
    path.mkdir()
    opened = open_unchanged(book.directory)
    assert opened.recovery.trouble.startswith(f"{path}: Is a directory")
    assert opened.recovery.passing
    jobs = opened.loaded.jobs
    assert [jobs[JobId(n)].state for n in (1, 2, 5)] == [State.RUNNING, State.HOLD, State.HOLD]
    assert jobs[JobId(2)].detail == MAYBE_CHANGED
    assert opened.loaded.next_job_id == 7, "as the mark says"
    assert opened.recovery.backup is None
    assert any("no copy of it could be made" in warning for warning in opened.loaded.warnings)


def test_a_log_that_lost_its_end_is_not_taken_for_whole(book):
    book.life()
    path = segment_path(book.directory, 3)
    last = read_segment(path, 3).frames[-1]
    os.truncate(path, last.offset)
    opened = open_unchanged(book.directory)
    assert opened.loaded.settings == {GENERATION: 1}
    assert opened.loaded.next_job_id == book.ledger.next_job_id
    assert any("could not be read" in warning for warning in opened.loaded.warnings)


def test_a_missing_segment_is_a_gap(book):
    book.life()
    segment_path(book.directory, 3).unlink()
    opened = open_unchanged(book.directory)
    assert "the log that follows the snapshot is missing" in opened.recovery.trouble
    assert sorted(opened.loaded.jobs) == [1, 2, 3, 4, 5]
    assert opened.loaded.jobs[JobId(2)].state is State.HOLD


def test_no_mark_and_something_lost_leaves_room_for_the_ids_nobody_knows_of(book):
    book.life()
    spoil(book.directory / NAME, 100)
    segment_path(book.directory, 3).unlink()
    (book.directory / IDS).unlink()
    assert open_unchanged(book.directory).loaded.next_job_id == 7 + UNKNOWN_IDS, "the latest may be some moments behind"
    (book.directory / LATEST).unlink()
    assert open_unchanged(book.directory).loaded.next_job_id == 6 + UNKNOWN_IDS


def test_a_state_of_nothing_but_rubbish_is_an_empty_one(book):
    book.life()
    for name in content(book.directory):
        (book.directory / name).write_bytes(os.urandom(5000))
    opened = open_unchanged(book.directory)
    assert opened.loaded.jobs == {}
    assert opened.loaded.next_job_id == book.ledger.next_job_id


def test_a_newer_format_is_left_alone_and_backed_up(book):
    book.life()
    path = book.directory / NAME
    data = path.read_bytes().replace(b"\xa7version\x01", b"\xa7version\x09", 1)
    path.write_bytes(with_checksum(data))
    opened = open_unchanged(book.directory)
    assert "has format version 9; this gflow reads up to 1: use a newer gflow" in opened.recovery.trouble
    assert opened.recovery.backup.name == f"{NAME}.backup.{int(WALL)}"
    assert not opened.recovery.passing


def with_checksum(data):
    return data[:-4] + struct.pack(">I", zlib.crc32(data[:-5]))


def test_what_cannot_be_listed_at_all_is_an_empty_state(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("gflow.store.load.segment_numbers", broken)
    monkeypatch.setattr("gflow.store.recovery.salvage.segment_numbers", broken)
    opened = open_state(tmp_path, WALL)
    assert "Input/output error" in opened.recovery.trouble
    assert opened.loaded.jobs == {}


# -- jobs that hang together -------------------------------------------------------------------------------------------


def test_a_job_whose_dependency_could_not_be_read_is_held_and_says_so(book):
    book.write(book.ledger.submitted())
    book.write(book.ledger.submitted())
    book.write(book.ledger.submitted(depends_on=(JobId(1), JobId(2)), dependency_mode=DependencyMode.ALL))
    book.write(book.ledger.submitted(depends_on=(JobId(2),)))
    book.stop()
    spoil_record(book.directory, 1, 1)
    jobs = open_unchanged(book.directory).loaded.jobs
    assert [jobs[JobId(n)].state for n in (3, 4)] == [State.HOLD, State.HOLD]
    assert (jobs[JobId(3)].spec.depends_on, jobs[JobId(4)].spec.depends_on) == ((1,), ())
    assert jobs[JobId(3)].detail == "held: it waits for job 2, which could not be read; release it to run it without"


def test_any_of_several_does_not_fall_because_one_could_not_be_read(book):
    book.write(book.ledger.submitted())
    book.write(book.ledger.submitted())
    failed = replace(book.ledger.jobs[JobId(1)], state=State.FAILED, finished_at=WALL)
    book.write(book.ledger.submitted(depends_on=(JobId(1), JobId(2)), dependency_mode=DependencyMode.ANY))
    book.write(book.ledger.changed((EventKind.FAILED, failed)))
    book.stop()
    spoil_record(book.directory, 1, 1)
    job = open_unchanged(book.directory).loaded.jobs[JobId(3)]
    assert (job.state, job.spec.depends_on) == (State.HOLD, ())


def test_a_dependency_that_is_in_the_history_counts(book):
    book.write(book.ledger.submitted())
    ended = replace(book.ledger.jobs[JobId(1)], state=State.FINISHED, finished_at=WALL)
    with closing(History(book.directory)) as history:
        history.add([ended])
    book.write(book.ledger.submitted(depends_on=(JobId(1),)))
    book.write(book.ledger.submitted())
    book.stop()
    spoil_record(book.directory, 1, 0)
    jobs = open_unchanged(book.directory).loaded.jobs
    assert (jobs[JobId(1)], jobs[JobId(2)].state) == (ended, State.QUEUED)


def test_an_attempt_that_could_not_be_read_is_forgotten(book):
    book.write(book.ledger.submitted())
    failed = replace(book.ledger.jobs[JobId(1)], state=State.FAILED, finished_at=WALL, retried_as=JobId(2))
    book.write(book.ledger.submitted(retried_from=JobId(1), restart_count=1))
    book.write(book.ledger.changed((EventKind.FAILED, failed)))
    book.stop()
    spoil_record(book.directory, 1, 1)
    assert open_unchanged(book.directory).loaded.jobs[JobId(1)].retried_as is None


# -- copies ------------------------------------------------------------------------------------------------------------


def test_there_is_one_copy_of_each_content_however_often_one_looks(book):
    book.life()
    spoil(book.directory / NAME, 100)
    first = open_unchanged(book.directory, WALL).recovery.backup
    assert first.read_bytes() == (book.directory / NAME).read_bytes()
    assert first.stat().st_mode & 0o777 == 0o600
    assert open_unchanged(book.directory, WALL + 10).recovery.backup == first
    assert open_unchanged(book.directory, WALL + 20).recovery.backup == first
    spoil(book.directory / NAME, 200)
    second = open_unchanged(book.directory, WALL).recovery.backup
    assert copies(book.directory) == sorted([first.name, second.name])


def test_a_copy_that_cannot_be_made_ends_nothing(book):
    book.life()
    spoil(book.directory / NAME, 100)
    disk = FaultyDisk()
    disk.failing = {"create": errno.ENOSPC}
    opened = open_state(book.directory, WALL, disk=disk)
    assert opened.recovery.backup is None
    assert len(opened.loaded.jobs) == 6
    assert any("no copy of it could be made: No space left" in warning for warning in opened.loaded.warnings)


# -- the journal -------------------------------------------------------------------------------------------------------


def broken_book(book):
    """A life, then a damaged snapshot; returns the good bytes of it."""
    book.life()
    good = (book.directory / NAME).read_bytes()
    spoil(book.directory / NAME, 100)
    return good


def test_a_second_start_in_recovery_goes_on_from_the_journal(book):
    broken_book(book)
    first = open_unchanged(book.directory)
    ledger = serve(first, book.directory, lambda at: at.submitted(2), lambda at: at.finished(2))
    second = open_unchanged(book.directory)
    assert facts(second.loaded) == facts(ledger)
    assert second.recovery.journal_id == first.recovery.journal_id
    assert second.recovery.base == first.recovery.base
    assert second.recovery.changed.jobs == {2, 7, 8}
    third = serve(second, book.directory, lambda at: at.submitted())
    assert facts(open_unchanged(book.directory).loaded) == facts(third)


@pytest.mark.parametrize("readable", [False, True], ids=["in recovery", "with a state that can be read again"])
def test_an_older_copy_of_the_journal_runs_nothing_again(book, readable):
    """Job 2 was started, and 8 submitted, after the copy was made."""
    good = broken_book(book)
    opened = open_unchanged(book.directory)
    early = serve(opened, book.directory, lambda at: at.submitted())
    copy = (book.directory / JOURNAL).read_bytes()
    serve(open_unchanged(book.directory), book.directory, lambda at: at.finished(2), lambda at: at.submitted())
    (book.directory / JOURNAL).write_bytes(copy)
    (book.directory / "logs").mkdir()
    (book.directory / "logs" / "2.log").touch()
    if readable:
        (book.directory / NAME).write_bytes(good)
    found = open_state(book.directory, WALL) if readable else open_unchanged(book.directory)
    assert found.loaded.jobs.keys() == early.jobs.keys()
    assert found.loaded.jobs[JobId(2)].state is State.HOLD
    assert found.loaded.next_job_id > 8
    assert len([line for line in found.loaded.warnings if "it is older than the ids" in line]) == 1
    if readable:
        assert (found.recovery, open_state(book.directory, WALL).loaded.warnings) == (None, [])
        return
    later = serve(found, book.directory, lambda at: at.submitted())
    again = open_unchanged(book.directory)
    assert facts(again.loaded) == facts(later), "from here on it is the journal"
    assert not any("it is older than the ids" in line for line in again.loaded.warnings)


def test_when_the_state_can_be_read_again_both_times_are_one(book):
    good = broken_book(book)
    opened = open_unchanged(book.directory)
    ledger = serve(opened, book.directory, lambda at: at.submitted(2), lambda at: at.finished(2))
    (book.directory / NAME).write_bytes(good)
    merged = open_state(book.directory, WALL)
    assert merged.recovery is None
    assert merged.loaded.jobs == ledger.jobs
    assert merged.loaded.next_job_id == ledger.next_job_id
    assert merged.loaded.settings == {"x": 1, MERGED: opened.recovery.journal_id, GENERATION: 2}
    assert list(merged.loaded.events) == list(ledger.events)
    assert (book.directory / JOURNAL).read_bytes() == b""
    assert facts(load(book.directory)) == facts(merged.loaded), "on disk before anybody is served"
    restore(merged)
    again = open_state(book.directory, WALL)
    assert (facts(again.loaded), again.loaded.warnings) == (facts(merged.loaded), [])
    assert merged.mark == again.mark == Mark(merged.loaded.next_job_id, merged.loaded.seq, 2)


def test_the_merged_state_outlives_damage_to_either_snapshot(book):
    good = broken_book(book)
    serve(open_unchanged(book.directory), book.directory, lambda at: at.submitted(2))
    (book.directory / NAME).write_bytes(good)
    merged = open_state(book.directory, WALL)
    spoil(book.directory / NAME, 100)
    assert open_unchanged(book.directory).loaded.jobs == merged.loaded.jobs


def test_what_could_not_be_read_comes_back_and_what_changed_meanwhile_stays(book):
    """Job 1 had finished in the stretch that was damaged; job 2 finished during the recovery."""
    for _ in range(3):
        book.write(book.ledger.submitted())
    book.write(book.ledger.started(1), book.ledger.started(2))
    book.write(book.ledger.finished(1))
    book.write(book.ledger.submitted())
    book.write(book.ledger.changed(settings={"a": 1}))
    book.stop()
    path = segment_path(book.directory, 1)
    good = path.read_bytes()
    for index in (5, 6):
        spoil_record_of(path, good, index)
    opened = open_unchanged(book.directory)
    assert (opened.loaded.jobs[JobId(1)].state, JobId(4) in opened.loaded.jobs) == (State.RUNNING, False)
    serve(opened, book.directory, lambda at: at.finished(2), lambda at: at.submitted())
    path.write_bytes(good)
    jobs = open_state(book.directory, WALL).loaded.jobs
    assert [job.state for job in jobs.values()] == [State.FINISHED, State.FINISHED, *[State.QUEUED] * 3]


def spoil_record_of(path, good, index):
    scratch = path.with_name("scratch")
    scratch.write_bytes(good)
    frame = read_segment(scratch, 1).frames[index]
    scratch.unlink()
    spoil(path, frame.offset + 20)


def test_a_job_held_for_a_doubt_is_free_again_once_the_doubt_is_gone(book):
    book.life()
    path = segment_path(book.directory, 3)
    good = path.read_bytes()
    path.unlink()
    opened = open_unchanged(book.directory)
    assert opened.loaded.jobs[JobId(2)].state is State.HOLD
    serve(opened, book.directory, lambda at: at.submitted())
    assert open_unchanged(book.directory).loaded.jobs[JobId(2)].state is State.HOLD
    path.write_bytes(good)
    merged = open_state(book.directory, WALL)
    assert merged.loaded.jobs[JobId(2)].state is State.QUEUED
    assert sorted(merged.loaded.jobs) == [1, 2, 3, 4, 5, 6, 7]


def test_an_older_state_that_is_put_back_does_not_undo_what_was_known(book):
    book.write(book.ledger.submitted(3))
    book.snapshot()
    old = {name: (book.directory / name).read_bytes() for name in content(book.directory)}
    book.write(book.ledger.started(1), book.ledger.finished(1))
    book.snapshot()
    book.write(book.ledger.submitted())
    book.stop()
    spoil(book.directory / NAME, 100)
    serve(open_unchanged(book.directory), book.directory, lambda at: at.submitted())
    for name in content(book.directory):
        (book.directory / name).unlink()
    for name, data in old.items():
        (book.directory / name).write_bytes(data)
    merged = open_state(book.directory, WALL)
    assert merged.recovery is None, merged.loaded.warnings
    assert sorted(merged.loaded.jobs) == [1, 2, 3, 4, 5]
    assert merged.loaded.jobs[JobId(1)].state is State.FINISHED


def test_with_the_state_moved_away_the_journal_is_the_state(book):
    broken_book(book)
    ledger = serve(open_unchanged(book.directory), book.directory, lambda at: at.submitted(2))
    for name in content(book.directory):
        (book.directory / name).unlink()
    merged = open_state(book.directory, WALL)
    assert merged.recovery is None
    assert merged.loaded.jobs == ledger.jobs
    assert merged.loaded.boot_id == "boot"
    assert facts(load(book.directory)) == facts(merged.loaded)


@pytest.mark.parametrize("deaths", range(1, 25))
def test_a_crash_at_any_step_of_the_merge_is_harmless(book, deaths):
    good = broken_book(book)
    ledger = serve(
        open_unchanged(book.directory), book.directory, lambda at: at.submitted(2), lambda at: at.finished(2)
    )
    (book.directory / NAME).write_bytes(good)
    disk = DyingDisk(deaths)
    try:
        open_state(book.directory, WALL, disk=disk)
    except Died:
        merged = open_state(book.directory, WALL)
        assert merged.recovery is None
        assert merged.loaded.jobs == ledger.jobs
        assert merged.loaded.next_job_id == ledger.next_job_id
    assert (book.directory / JOURNAL).read_bytes() == b""
    assert load(book.directory).jobs == ledger.jobs


class Died(BaseException):
    """Nothing of ours goes on after this."""


class DyingDisk(FaultyDisk):
    """The machine stops at the n-th call, and none comes after it."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def _called(self, name):
        super()._called(name)
        if len(self.calls) >= self.at:
            raise Died


def test_a_journal_that_was_taken_over_never_counts_again(book):
    good = broken_book(book)
    opened = open_unchanged(book.directory)
    serve(opened, book.directory, lambda at: at.finished(2))
    stale = (book.directory / JOURNAL).read_bytes()
    (book.directory / NAME).write_bytes(good)
    merged = open_state(book.directory, WALL)
    later = Ledger(merged.loaded)
    log = Log(book.directory, merged.loaded.segment)
    log.append([encode(later.finished(3))], later.seq)
    log.close()
    (book.directory / JOURNAL).write_bytes(stale)
    again = open_state(book.directory, WALL)
    assert again.loaded.jobs == later.jobs
    assert (book.directory / JOURNAL).read_bytes() == b""
    (book.directory / JOURNAL).write_bytes(stale)
    spoil(book.directory / NAME, 100)
    third = open_unchanged(book.directory)
    assert third.loaded.jobs == later.jobs
    assert third.recovery.journal_id != opened.recovery.journal_id


def test_a_damaged_journal_is_kept_aside_and_the_rest_goes_on(book):
    book.life()
    (book.directory / JOURNAL).write_bytes(b'{"ts":1}\n')
    opened = open_state(book.directory, WALL)
    assert (opened.recovery, facts(opened.loaded)) == (None, facts(book.ledger))
    assert len(opened.loaded.warnings) == 1
    assert f"kept as {JOURNAL}.corrupt.{int(WALL)}" in opened.loaded.warnings[0]
    assert (book.directory / f"{JOURNAL}.corrupt.{int(WALL)}").read_bytes() == b'{"ts":1}\n'
    assert open_state(book.directory, WALL).loaded.warnings == []


def test_a_journal_that_cannot_be_opened_is_a_warning(book):
    broken_book(book)
    (book.directory / JOURNAL).mkdir()
    opened = open_unchanged(book.directory)
    assert len(opened.loaded.jobs) == 6
    assert any(f"{JOURNAL}: Is a directory" in warning for warning in opened.loaded.warnings)


def test_a_merge_that_finds_no_room_stays_in_recovery(book):
    good = broken_book(book)
    ledger = serve(open_unchanged(book.directory), book.directory, lambda at: at.submitted(2))
    (book.directory / NAME).write_bytes(good)
    before = content(book.directory)
    disk = FaultyDisk()
    disk.room = 100
    opened = open_state(book.directory, WALL, disk=disk)
    assert opened.recovery.unwritten > 1000
    assert "cannot be written to it: No space left on device; make room" in opened.recovery.trouble
    assert opened.loaded.jobs == ledger.jobs
    assert content(book.directory).items() >= before.items()
    assert not has_room(book.directory, opened.recovery.unwritten, disk=disk)
    disk.room = None
    assert has_room(book.directory, opened.recovery.unwritten, disk=disk)
    later = serve(opened, book.directory, lambda at: at.submitted())
    assert open_state(book.directory, WALL, disk=disk).loaded.jobs == later.jobs
    assert load(book.directory).jobs == later.jobs


def test_a_job_left_the_state_in_a_recovery(book):
    good = broken_book(book)
    opened = open_unchanged(book.directory)
    ledger = Ledger(opened.loaded)
    gone = ledger.jobs.pop(JobId(1))
    recovery = opened.recovery
    journal = Journal(book.directory, recovery.journal_id, recovery.base, recovery.changed)
    journal.save([replace(ledger.changed(), retired=(gone.id,))], ledger.state(), ledger.seq)
    (book.directory / NAME).write_bytes(good)
    assert JobId(1) not in open_state(book.directory, WALL).loaded.jobs


def test_settings_and_groups_changed_in_a_recovery_stay_so(book):
    book.ledger.next_event_id = 1
    book.write(book.ledger.submitted(2, group_id="g"))
    book.write(book.ledger.changed(groups=(Group("g", 1),), settings={"kept": 1, "gone": 2, "new": 3}))
    book.snapshot()
    book.write(book.ledger.changed(settings={"kept": 5}))
    book.stop()
    good = (book.directory / NAME).read_bytes()
    spoil(book.directory / NAME, 100)
    change = {"gone": None, "new": 4}
    serve(
        open_unchanged(book.directory), book.directory, lambda at: at.changed(groups=(Group("g", 7),), settings=change)
    )
    (book.directory / NAME).write_bytes(good)
    loaded = open_state(book.directory, WALL).loaded
    assert {key: loaded.settings.get(key) for key in ("kept", "gone", "new")} == {"kept": 5, "gone": None, "new": 4}
    assert loaded.groups == {"g": Group("g", 7)}


def test_a_reboot_between_the_two_times_leaves_no_boot_to_trust(book):
    good = broken_book(book)
    serve(open_unchanged(book.directory), book.directory, lambda at: at.changed(boot_id="later"))
    (book.directory / NAME).write_bytes(good)
    assert open_state(book.directory, WALL).loaded.boot_id == ""


def test_a_dependency_that_failed_in_the_recovery_dooms_the_job_that_was_not_read(book):
    book.write(book.ledger.submitted(2))
    book.write(book.ledger.submitted(depends_on=(JobId(1),)))
    book.write(book.ledger.submitted())
    book.stop()
    path = segment_path(book.directory, 1)
    good = path.read_bytes()
    spoil_record(book.directory, 1, 1)
    opened = open_unchanged(book.directory)
    failed = replace(opened.loaded.jobs[JobId(1)], state=State.FAILED, finished_at=WALL)
    serve(opened, book.directory, lambda at: at.changed((EventKind.FAILED, failed)))
    path.write_bytes(good)
    merged = open_state(book.directory, WALL)
    assert merged.loaded.jobs[JobId(3)].state is State.CANCELLED
    restore(merged)


def test_the_signature_of_the_files_tells_every_change(book):
    book.life()
    seen = state_files(book.directory)
    assert set(seen) == {NAME, PREVIOUS, "wal.acknowledged", *(f"wal-0000000{n}.log" for n in (1, 2, 3))}
    (book.directory / NAME).chmod(0o000)
    assert state_files(book.directory) != seen
    assert module._STATE_FILES.fullmatch(f"{NAME}.corrupt.1") is None
