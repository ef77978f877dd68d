from contextlib import asynccontextmanager

import pytest
import trio

from gflow.daemon import state_watch as module
from gflow.daemon.state_watch import StateWatch
from gflow.store.load import load
from gflow.store.log import Log
from gflow.store.records import encode
from gflow.store.recovery.opening import open_state, state_files
from gflow.store.snapshot import NAME, Snapshot, write_snapshot
from support.desk import eventually
from support.ledger import Ledger


@pytest.fixture
def damaged(tmp_path, monkeypatch):
    """A data directory whose snapshot is damaged, and the good bytes of it."""
    monkeypatch.setattr(module, "PAUSE_SECS", 0.02)
    ledger, log = Ledger(), Log(tmp_path, 0)
    log.append([encode(ledger.submitted(3))], 1)
    write_snapshot(tmp_path, Snapshot(1, log.rotate(2), ledger.state()))
    log.close()
    good = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(good[:-1])
    return tmp_path, good


class Bell:
    """What the watch did: how often it looked, how often it read, and whether it said that the state is readable."""

    def __init__(self):
        self.rung = False
        self.may_leave = True
        self.loads = self.looks = 0
        self.before_look = lambda: None

    async def after_looks(self, count):
        """Return once it has looked so many times more."""
        until = self.looks + count
        await eventually(lambda: self.looks >= until, f"{count} looks")


@asynccontextmanager
async def watching(directory, recovery, monkeypatch):
    bell = Bell()

    def counted(data_dir):
        bell.loads += 1
        return load(data_dir)

    def ring():
        bell.rung = True

    def look(data_dir):
        bell.looks += 1
        bell.before_look()
        return state_files(data_dir)

    monkeypatch.setattr(module, "load", counted)
    monkeypatch.setattr(module, "state_files", look)
    async with trio.open_nursery() as nursery:
        await nursery.start(StateWatch(directory, recovery, ring, lambda: bell.may_leave).run)
        yield bell
        nursery.cancel_scope.cancel()


async def test_files_that_do_not_change_are_not_read_again(damaged, monkeypatch):
    directory, good = damaged
    async with watching(directory, open_state(directory, 1e9).recovery, monkeypatch) as bell:
        await bell.after_looks(30)
        assert (bell.loads, bell.rung) == (0, False)
        (directory / NAME).write_bytes(good)
        await eventually(lambda: bell.rung, "the news")
        assert bell.loads == 1


async def test_files_mended_before_the_first_look_are_noticed(damaged, monkeypatch):
    directory, good = damaged
    recovery = open_state(directory, 1e9).recovery
    (directory / NAME).write_bytes(good)
    async with watching(directory, recovery, monkeypatch) as bell:
        await eventually(lambda: bell.rung, "the news")


async def test_another_bad_file_is_read_once(damaged, monkeypatch):
    directory, good = damaged
    async with watching(directory, open_state(directory, 1e9).recovery, monkeypatch) as bell:
        (directory / NAME).write_bytes(good[:-2])
        await eventually(lambda: bell.loads == 1, "a look")
        await bell.after_looks(30)
        assert (bell.loads, bell.rung) == (1, False)


async def test_files_that_are_still_being_written_are_left_alone(damaged, monkeypatch):
    directory, good = damaged
    async with watching(directory, open_state(directory, 1e9).recovery, monkeypatch) as bell:
        bell.before_look = lambda: (directory / NAME).write_bytes(good)
        await bell.after_looks(20)
        assert bell.loads == 0
        bell.before_look = lambda: None
        await eventually(lambda: bell.rung, "the news")


async def test_a_daemon_that_cannot_write_does_not_leave(damaged, monkeypatch):
    directory, good = damaged
    async with watching(directory, open_state(directory, 1e9).recovery, monkeypatch) as bell:
        bell.may_leave = False
        (directory / NAME).write_bytes(good)
        await bell.after_looks(20)
        assert not bell.rung
        bell.may_leave = True
        await eventually(lambda: bell.rung, "the news")


async def test_what_the_disk_refused_is_read_again_now_and_then(damaged, monkeypatch):
    directory, _ = damaged
    (directory / NAME).unlink()
    (directory / NAME).mkdir()
    recovery = open_state(directory, 1e9).recovery
    assert recovery.passing
    async with watching(directory, recovery, monkeypatch) as bell:
        await eventually(lambda: bell.loads >= 2, "two tries")
        assert not bell.rung
