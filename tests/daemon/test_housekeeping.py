"""What no job needs any more goes, what one needs stays."""

import errno
import os
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gflow.core.model import Exit
from gflow.daemon import housekeeping as module
from gflow.daemon.housekeeping import Housekeeping
from gflow.store.spool import Spool
from support.desk import Desk, eventually
from support.faulty_disk import FaultyDisk
from support.jobs import START


@pytest.fixture
def disk():
    return FaultyDisk()


@pytest.fixture
def spool(tmp_path, disk):
    return Spool(tmp_path, disk=disk)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECS", 0.0)


@asynccontextmanager
async def serving(desk, spool):
    async with trio.open_nursery() as nursery:
        await nursery.start(Housekeeping(desk.runtime, spool).run)
        yield
        nursery.cancel_scope.cancel()


def keep(spool, kind, data):
    """What an earlier submission left."""
    digest = spool.put(kind, data)
    spool.unpin(kind, digest)
    return digest


async def test_leftovers_go_at_the_start_and_what_jobs_need_stays(spool):
    desk = Desk()
    environment, script = keep(spool, "env", b"A=1"), keep(spool, "script", b"true")
    old = keep(spool, "env", b"OLD=1"), keep(spool, "script", b"old")
    desk.submit(environment=environment, command=None, script_digest=script)
    async with serving(desk, spool):
        await eventually(lambda: not spool.path("env", old[0]).exists(), "removal")
        await eventually(lambda: not spool.path("script", old[1]).exists(), "removal")
    assert spool.path("env", environment).exists()
    assert spool.path("script", script).exists()


async def test_files_go_once_the_last_job_that_needs_them_has_ended(spool):
    desk = Desk()
    environment = keep(spool, "env", b"A=1")
    for _ in range(2):
        desk.start(environment=environment)
    async with serving(desk, spool):
        desk.runtime.commit(desk.engine.ended(1, Exit(0, START.wall), START))
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert spool.path("env", environment).exists()
        desk.runtime.commit(desk.engine.ended(2, Exit(0, START.wall), START))
        await eventually(lambda: not spool.path("env", environment).exists(), "removal")


async def test_what_a_submission_has_just_stored_stays(spool):
    digest = spool.put("env", b"A=1")
    desk = Desk()
    async with serving(desk, spool):
        desk.submit()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert spool.path("env", digest).exists()


async def test_a_disk_that_fails_is_told_of_and_survived(spool, disk, caplog):
    desk = Desk()
    keep(spool, "env", b"A=1")
    disk.failing = {"remove": errno.EROFS}
    async with serving(desk, spool):
        await eventually(lambda: os.strerror(errno.EROFS) in caplog.text, "a warning")
        disk.failing = {}
        second = keep(spool, "env", b"B=1")
        desk.submit()
        await eventually(lambda: not spool.path("env", second).exists(), "removal")
