"""Cells of sweeps in the history: found by group and key, the latest first, and with the jobs they are gone."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from gflow.core.model import JobId, State
from gflow.store.history import NAME, History, HistoryError
from support.ledger import make_job


def ended(job_id, group_id="g", key="a", state=State.FINISHED, owner="ada"):
    job = make_job(job_id, state=state, group_id=group_id, key=key, owner=owner)
    return replace(job, finished_at=job.submitted_at + 1)


@pytest.fixture
def history(tmp_path):
    opened = History(tmp_path)
    yield opened
    opened.close()


def found(history, *cells):
    return sorted(job.id for job in history.in_cells(cells))


def test_before_there_is_anything_nothing_is_found(history, tmp_path):
    assert history.in_cells([("ada", "g", "a")]) == []
    assert list(tmp_path.iterdir()) == []


def test_the_latest_of_each_cell_is_found(history):
    first, second = ended(1, state=State.FAILED), ended(7)
    history.add(
        [first, ended(2, key="b"), ended(3, group_id="h"), ended(4, key=None), ended(5, group_id=None, key=None)]
    )
    history.add([second, ended(8, owner="ben")])
    assert found(history, ("ada", "g", "a"), ("ada", "g", "b"), ("ada", "g", "none")) == [2, 7]
    assert history.in_cells([("ada", "g", "a")]) == [second]


@pytest.mark.parametrize("text", ["", "é日", "a'b", 'a"b', "\udcff", "a\0b", "lr=0.1,seed=2"])
def test_any_text_is_a_key(history, text):
    history.add([ended(1, group_id=text, key=text)])
    assert found(history, ("ada", text, text)) == [1]
    assert history.check() == []


def test_what_is_removed_is_no_cell_any_more(history):
    history.add([ended(1), ended(2, key="b")])
    history.remove([JobId(1)])
    assert found(history, ("ada", "g", "a"), ("ada", "g", "b")) == [2]


def without_table(tmp_path, *jobs):
    with closing(History(tmp_path)) as history:
        history.add(jobs)
    if not any(job.spec.key for job in jobs):
        return
    with closing(sqlite3.connect(tmp_path / NAME)) as database, database:
        database.execute("DROP TABLE cell")


def test_a_history_of_before_has_none_until_it_is_written_to(tmp_path):
    without_table(tmp_path, ended(1, key=None))
    with closing(History(tmp_path, read_only=True)) as looked_at:
        assert looked_at.in_cells([("ada", "g", "a")]) == []
        assert looked_at.check() == []
    with closing(History(tmp_path)) as history:
        history.add([ended(2)])
        assert found(history, ("ada", "g", "a")) == [2]
        assert history.count() == 2


def test_a_cell_that_was_lost_is_noticed(tmp_path):
    without_table(tmp_path, ended(1), ended(2, key=None))
    with closing(History(tmp_path)) as history:
        assert [problem.partition(": ")[2] for problem in history.check()] == ["job 1 is not found by its key any more"]


def test_a_record_that_has_rotted_is_not_taken_for_a_cell_that_is_missing(history, tmp_path):
    history.add([ended(1)])
    with closing(sqlite3.connect(tmp_path / NAME)) as database, database:
        database.execute("UPDATE job SET state = 'Failed'")
    with pytest.raises(HistoryError, match="the record of job 1 has changed"):
        history.in_cells([("ada", "g", "a")])
