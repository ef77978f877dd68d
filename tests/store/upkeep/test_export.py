"""Everything is in the export, each once and of one moment, whatever goes on beside it."""

import json
import os
import shutil
from contextlib import closing
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.model import Group, JobId, State
from gflow.store.codec import event_from_map, group_from_map, job_from_map
from gflow.store.errors import Damaged
from gflow.store.history import History, HistoryError
from gflow.store.load import load
from gflow.store.log import Log
from gflow.store.records import encode
from gflow.store.recovery.journal import Changes, Journal
from gflow.store.recovery.opening import MERGED
from gflow.store.snapshot import NAME, Snapshot, write_snapshot
from gflow.store.upkeep import export as module
from gflow.store.upkeep.export import CannotExport, export
from gflow.store.wal import segment_path
from support import strategies
from support.effort import examples
from support.ledger import Ledger, make_job

WALL = 1_800_000_000.25


class Directory:
    """A data directory that a ledger is written to, and its history."""

    def __init__(self, path):
        self.path = path
        self.ledger = Ledger()
        self.log = Log(path, 0)
        self.history = History(path)

    def write(self, *transactions):
        self.log.append([encode(transaction) for transaction in transactions], transactions[0].seq)

    def end(self, job_id):
        self.write(self.ledger.finished(job_id))

    def retire(self, *job_ids):
        """As the historian does it."""
        self.history.add([self.ledger.jobs[JobId(job_id)] for job_id in job_ids])
        self.history.close()
        self.write(self.ledger.retired(*job_ids))

    def snapshot(self):
        segment = self.log.rotate(self.ledger.seq + 1)
        write_snapshot(self.path, Snapshot(self.ledger.seq, segment, self.ledger.state()))

    def export(self):
        return [json.loads(line) for line in export(self.path, WALL)]


@pytest.fixture
def directory(tmp_path):
    made = Directory(tmp_path)
    yield made
    made.log.close()
    made.history.close()


def of(kind, lines):
    return [line[kind] for line in lines if kind in line]


def ids(lines):
    return [job["id"] for job in of("job", lines)]


def test_nothing_is_a_head_and_an_end(directory):
    head, end = directory.export()
    assert head == {
        "format": "gflow-export",
        "version": 1,
        "at": WALL,
        "seq": 0,
        "next_job_id": 1,
        "next_event_id": 1,
        "boot_id": "",
        "recovery": False,
    }
    assert end == {"end": {"groups": 0, "settings": 0, "jobs": 0, "events": 0}}
    assert os.listdir(directory.path) == []


def test_state_and_history_are_one_list_by_id(directory):
    directory.write(directory.ledger.submitted(6))
    for job_id in (2, 3, 5):
        directory.end(job_id)
    directory.retire(2, 5)
    lines = directory.export()
    assert ids(lines) == [1, 2, 3, 4, 5, 6]
    jobs = {job.id: job for job in map(job_from_map, of("job", lines))}
    assert {job_id: jobs[job_id] for job_id in directory.ledger.jobs} == directory.ledger.jobs
    assert jobs[2].state is State.FINISHED
    assert lines[-1] == {"end": {"groups": 0, "settings": 0, "jobs": 6, "events": 9}}
    assert (lines[0]["next_job_id"], lines[0]["seq"]) == (7, directory.ledger.seq)


def test_a_job_in_both_places_is_as_the_state_has_it(directory):
    directory.write(directory.ledger.submitted(2))
    directory.end(1)
    directory.history.add([replace(directory.ledger.jobs[JobId(1)], detail="as the history has it")])
    lines = directory.export()
    assert ids(lines) == [1, 2]
    assert "detail" not in of("job", lines)[0]


def test_groups_settings_and_events_are_in_it(directory):
    directory.write(directory.ledger.submitted(1, group_id="g"))
    directory.write(directory.ledger.changed(groups=(Group("g", 2),), settings={"gpus": [0, 3], "day": {"a": None}}))
    directory.snapshot()
    lines = directory.export()
    assert [group_from_map(group) for group in of("group", lines)] == [Group("g", 2)]
    assert of("setting", lines) == [{"key": "gpus", "value": [0, 3]}, {"key": "day", "value": {"a": None}}]
    ((number, event),) = directory.ledger.events
    (found,) = of("event", lines)
    assert (found["id"], event_from_map(found)) == (number, event)


@settings(max_examples=examples(60))
@given(jobs=st.lists(strategies.jobs, max_size=4, unique_by=lambda job: job.id))
def test_a_job_is_told_whole_and_in_plain_ascii(tmp_path, jobs):
    ledger = Ledger()
    ledger.jobs = {job.id: job for job in jobs}
    write_snapshot(tmp_path, Snapshot(0, 1, ledger.state()))
    if not segment_path(tmp_path, 1).exists():
        with closing(Log(tmp_path, 0)) as log:
            log.rotate(1)
    lines = list(export(tmp_path, WALL))
    assert all(line.isascii() and line.endswith("\n") and line.count("\n") == 1 for line in lines)
    told = [job_from_map(job) for job in of("job", map(json.loads, lines))]
    assert told == sorted(jobs, key=lambda job: job.id)


def test_the_history_is_never_in_memory_as_a_whole(directory):
    directory.write(directory.ledger.submitted(25))
    for job_id in range(1, 26):
        directory.end(job_id)
    directory.retire(*range(1, 21))
    pages = []
    page = History.page

    def watched(*args, **kwargs):
        pages.append(kwargs["most"])
        return page(*args, **kwargs)

    with patch.object(module, "PAGE", 6), patch.object(History, "page", watched):
        assert ids(directory.export()) == list(range(1, 26))
    assert pages == [6] * 5


def test_what_comes_to_the_history_meanwhile_is_not_in_it_twice(directory):
    directory.write(directory.ledger.submitted(3))
    directory.end(2)
    lines = export(directory.path, WALL)
    head = json.loads(next(lines))
    directory.retire(2)
    directory.write(directory.ledger.submitted(1))
    directory.end(4)
    directory.retire(4)
    assert ids([head, *map(json.loads, lines)]) == [1, 2, 3]


def test_without_the_end_if_jobs_are_pruned_meanwhile(directory):
    directory.write(directory.ledger.submitted(9))
    for job_id in range(1, 10):
        directory.end(job_id)
    directory.retire(*range(1, 9))
    with patch.object(module, "PAGE", 3):
        lines = export(directory.path, WALL)
        got = [next(lines) for _ in range(3)]
        directory.history.remove([JobId(7)])
        with pytest.raises(CannotExport, match="export once more"):
            got += lines
    assert "end" not in "".join(got)


def test_a_history_that_changes_while_the_state_is_read_is_read_again(directory):
    directory.write(directory.ledger.submitted(2))
    directory.end(1)
    reads = []

    def read_and_prune(path):
        reads.append(path)
        loaded = load(path)
        if len(reads) < 3:
            directory.history.add([make_job(90 + len(reads), state=State.FINISHED)])
        return loaded

    with patch.object(module, "load_beside", read_and_prune):
        assert ids(directory.export()) == [1, 2, 91, 92]
    assert len(reads) == 3


def test_a_history_that_never_rests_is_told_of(directory):
    directory.history.add([make_job(1, state=State.FINISHED)])

    def read_and_change(path):
        directory.history.add([make_job(directory.history.highest_id() + 1, state=State.FINISHED)])
        return load(path)

    with patch.object(module, "load_beside", read_and_change), pytest.raises(CannotExport, match="try again"):
        directory.export()


def test_a_state_older_than_its_history_gives_no_id_twice(directory):
    directory.write(directory.ledger.submitted(2))
    directory.history.add([make_job(40, state=State.FINISHED)])
    lines = directory.export()
    assert ids(lines) == [1, 2, 40]
    assert lines[0]["next_job_id"] == 41


def test_what_is_damaged_is_not_passed_over(directory):
    directory.write(directory.ledger.submitted(3))
    directory.end(1)
    directory.retire(1)
    with closing(directory.history) as history, history._transaction() as database:
        database.execute("UPDATE job SET owner = 'eve'")
    with pytest.raises(HistoryError, match="job 1 has changed"):
        directory.export()
    directory.history.remove([JobId(1)])
    directory.snapshot()
    path = directory.path / NAME
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Damaged):
        directory.export()


def journal(directory, journal_id="r1"):
    """The journal of a recovery with two jobs more."""
    ledger = Ledger(load(directory.path)) if not (directory.path / NAME).exists() else directory.ledger
    transaction = ledger.submitted(2)
    Journal(directory.path, journal_id, (0, 0), Changes()).save([transaction], ledger.state(), ledger.seq)


def test_in_a_recovery_it_is_what_the_journal_holds(directory):
    directory.write(directory.ledger.submitted(2))
    directory.snapshot()
    (directory.path / NAME).write_bytes(b"")
    journal(directory)
    lines = directory.export()
    assert (ids(lines), lines[0]["recovery"], lines[0]["next_job_id"]) == ([1, 2, 3, 4], True, 5)


def test_when_a_recovery_is_about_to_end_there_is_no_one_state(directory):
    directory.write(directory.ledger.submitted(2))
    journal(directory)
    with pytest.raises(CannotExport, match="again in a moment"):
        directory.export()
    directory.write(directory.ledger.changed(settings={MERGED: "r1"}))
    assert ids(directory.export()) == [1, 2]


def test_beside_a_daemon_that_compacts_all_the_time(directory, tmp_path):
    """Every file is replaced between two reads, time and again."""
    directory.write(directory.ledger.submitted(3))
    directory.snapshot()
    times = []

    def read_while_compacting(path):
        times.append(path)
        if len(times) < 4:
            shutil.copy(path / NAME, path / "copy")
            (path / "copy").replace(path / NAME)
            raise Damaged(path / NAME, 0, "the log that follows the snapshot is missing")
        return load(path)

    with patch("gflow.store.upkeep.beside.load", read_while_compacting):
        assert ids(directory.export()) == [1, 2, 3]
    assert len(times) == 4
