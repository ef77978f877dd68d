"""Ended jobs leave for the history: first they are there, on disk, and only then gone from here."""

from contextlib import asynccontextmanager

import pytest
import trio

from gflow.core.model import Exit, Now
from gflow.daemon import historian as module
from gflow.daemon.historian import FRESH_SECS, Historian
from gflow.store.history import KEPT, NAME, History
from support.desk import Desk, eventually
from support.jobs import spec


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECS", 0.0)


@pytest.fixture
def history(tmp_path):
    opened = History(tmp_path)
    yield opened
    opened.close()


@asynccontextmanager
async def serving(desk, history, *, keep_jobs=0, keep_secs=1e9):
    async with trio.open_nursery() as nursery:
        await nursery.start(
            Historian(desk.runtime, history, keep_jobs=keep_jobs, keep_secs=keep_secs, turn=trio.Lock()).run
        )
        yield
        nursery.cancel_scope.cancel()


def ended(desk, ago=2 * FRESH_SECS):
    """A job that ended so many seconds ago."""
    job_id = desk.start()
    desk.runtime.commit(desk.engine.ended(job_id, Exit(0, desk.now.wall), desk.now))
    desk.now = Now(desk.now.wall + ago, desk.now.boot + ago)
    return job_id


async def test_all_that_is_too_much_moves(history):
    desk = Desk()
    for _ in range(5):
        ended(desk)
    async with serving(desk, history, keep_jobs=2):
        await eventually(lambda: len(desk.engine.jobs) == 2, "the move")
    assert sorted(desk.engine.jobs) == [4, 5]
    assert [job.id for job in history.get([1, 2, 3, 4, 5]).values()] == [1, 2, 3]
    assert [transaction.retired for transaction in desk.log.written if transaction.retired] == [(1, 2, 3)]
    assert desk.runtime.settings[KEPT] == 3, "so a history that has lost some is noticed"


async def test_all_that_is_too_old_moves(history):
    desk = Desk()
    ended(desk)
    async with serving(desk, history, keep_jobs=100, keep_secs=FRESH_SECS):
        await eventually(lambda: not desk.engine.jobs, "the move")
    assert history.count() == 1


async def test_what_has_just_ended_stays(history):
    desk = Desk()
    ended(desk)
    ended(desk, ago=0.5 * FRESH_SECS)
    async with serving(desk, history):
        await eventually(lambda: 1 not in desk.engine.jobs, "the move")
    assert list(desk.engine.jobs) == [2]


async def test_a_job_that_ends_later_moves_too(history):
    desk = Desk()
    async with serving(desk, history):
        ended(desk)
        desk.submit()
        await eventually(lambda: 1 not in desk.engine.jobs, "the move")
    assert history.count() == 1


async def test_more_than_move_together(history, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 3)
    desk = Desk()
    for _ in range(10):
        ended(desk)
    async with serving(desk, history):
        await eventually(lambda: not desk.engine.jobs, "the move")
    assert history.count() == 10


async def test_while_the_history_cannot_be_written_they_stay(history, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "LOOK_AGAIN_SECS", 0.001)
    desk = Desk()
    ended(desk)
    (tmp_path / NAME).mkdir()
    async with serving(desk, history):
        await eventually(lambda: caplog.records, "a word about it")
        for _ in range(20):
            await trio.sleep(0.002)
        assert 1 in desk.engine.jobs
        (tmp_path / NAME).rmdir()
        await eventually(lambda: not desk.engine.jobs, "the move")
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"], "each said once"


async def test_killed_between_the_two_steps(history):
    """The history has the job and the log does not say that it left: it is in both, and moves again."""
    desk = Desk()
    ended(desk)
    history.add([desk.engine.jobs[1]])
    async with serving(desk, history):
        await eventually(lambda: not desk.engine.jobs, "the move")
    assert history.count() == 1


async def test_nobody_leaves_who_is_needed_meanwhile(history, monkeypatch):
    desk = Desk()
    ended(desk)
    add = history.add

    def slow_add(jobs):
        add(jobs)
        trio.from_thread.run_sync(desk.submit_all, [spec(depends_on=(1,))])

    monkeypatch.setattr(history, "add", slow_add)
    async with serving(desk, history):
        await eventually(lambda: 2 in desk.engine.jobs, "the dependent")
        for _ in range(10):
            await trio.sleep(0.002)
    assert 1 in desk.engine.jobs
