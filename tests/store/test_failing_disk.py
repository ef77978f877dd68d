"""Any call fails, once or for a while, before or after it has done its work: nothing acknowledged is lost, and the log
and the snapshots go on once the disk works again, in the same process."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.store.snapshot import NAME, PREVIOUS
from support.effort import stride
from support.faulty_disk import FaultyDisk
from support.ledger import facts
from support.lossy_disk import Fault, LossyDisk, PowerCut
from support.store_writer import STEPS, StoreWriter, advance, hold, submit

ERRORS = ("EIO", "ENOSPC", "EROFS", "EDQUOT", "EFBIG")
PARTS = {"before anything happens": 0, "half way": 9, "with its work done": 16}
REGULAR = {NAME, PREVIOUS, "wal.acknowledged"}


def live(writer: StoreWriter) -> Iterator[None]:
    """A life with everything in it. What fails is tried again; `compact` may fail, the log then keeps everything."""
    writer.start()
    yield
    for _ in range(2):
        writer.change(submit(2), hold)
        writer.insist()
        yield
        writer.change(*STEPS)
        writer.insist()
        yield
        writer.compact()
        yield
        writer.change(advance)
        writer.insist()
        yield


def calls_of_a_life(directory: Path) -> int:
    disk = LossyDisk(directory)
    for _ in live(StoreWriter(directory, disk)):
        pass
    return len(disk.calls)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
@pytest.mark.parametrize("error", ERRORS)
def test_any_call_may_fail_once(tmp_path, error, part):
    # of the errors that mean the same to a caller, each is met at every third call
    step, since = (1, 1) if error in ("EIO", "ENOSPC") else (3, 1 + ERRORS.index(error) % 3)
    assert_harmless(tmp_path, 1, Fault(part, getattr(errno, error)), since=since, step=step)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
@pytest.mark.parametrize("length", [2, 3, 7])
def test_calls_may_fail_for_a_while(tmp_path, length, part):
    assert_harmless(tmp_path, length, Fault(part), since=length, step=2)


def assert_harmless(directory: Path, length: int, fault: Fault, *, since: int = 1, step: int = 1) -> None:
    (directory / "well").mkdir()
    calls = calls_of_a_life(directory / "well")
    assert calls > 40
    for first in range(since, calls + 1, stride(step)):
        root = directory / str(first)
        root.mkdir()
        disk = LossyDisk(root)
        writer = StoreWriter(root, disk)
        disk.faults = dict.fromkeys(range(first, first + length), fault)
        for _ in live(writer):
            assert_all_is_there(writer)
        disk.faults.clear()
        assert writer.change(submit())
        assert writer.compact()
        assert writer.compact()
        assert_all_is_there(writer)
        assert {path.name for path in root.iterdir() if not path.name.startswith("wal-")} == REGULAR
        assert_a_power_cut_takes_nothing(writer, disk)


def assert_all_is_there(writer: StoreWriter) -> None:
    loaded = writer.found(writer.directory, writer.acknowledged)
    assert facts(loaded) == facts(writer.ledger)


def assert_a_power_cut_takes_nothing(writer: StoreWriter, disk: LossyDisk) -> None:
    """Everything is acknowledged now, so a cut that leaves the least must leave all."""
    disk.end(PowerCut)
    disk.restart(lambda n: 0)
    assert_all_is_there(writer)


@pytest.mark.parametrize("call", ["create", "write", "sync", "sync_directory"])
def test_a_disk_that_fails_for_long_leaves_no_heap_of_files(tmp_path, call):
    disk = FaultyDisk()
    writer = StoreWriter(tmp_path, disk)
    writer.start()
    assert writer.change(*STEPS)
    assert writer.compact()
    before = {path.name for path in tmp_path.iterdir()}
    disk.failing = {call: errno.ENOSPC}
    for _ in range(20):
        assert not writer.compact()
        writer.change(submit())
    assert len({path.name for path in tmp_path.iterdir()} - before) <= 3
    disk.failing = {}
    writer.insist()
    assert_all_is_there(writer)
