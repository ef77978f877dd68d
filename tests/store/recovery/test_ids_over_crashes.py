"""However a daemon ends, its own state never looks older than the ids that were given, and no id is given again."""

import random

import pytest

from gflow.store.ids import Ids, generation_of
from gflow.store.log import Log
from gflow.store.records import encode
from gflow.store.recovery.opening import open_state
from support.effort import stride
from support.ledger import Ledger
from support.lossy_disk import Fault, Killed, LossyDisk, PowerCut

WALL = 1_800_000_000.0
BATCHES = 4


def live(disk, given):
    """One life of a daemon, as `Persistence` has it: some batches, then a proper stop. `given`: ids acknowledged."""
    data_dir = disk.root / "d"
    if not data_dir.exists():
        disk.make_directory(data_dir)
        disk.sync_directory(disk.root)
    opened = open_state(data_dir, WALL, disk=disk)
    assert opened.recovery is None
    assert not [line for line in opened.loaded.warnings if "it is older than" in line]
    assert opened.loaded.next_job_id > max(given, default=0)
    ledger = Ledger(opened.loaded)
    log = Log(data_dir, opened.loaded.segment, opened.loaded.tail, disk=disk)
    ids = Ids(data_dir, opened.mark, generation_of(opened.loaded.settings), disk=disk)
    for size in range(1, BATCHES):
        first = ledger.seq + 1
        transactions = [ledger.submitted(100) for _ in range(size)]
        ids.reserve(ledger.next_job_id, first - 1)
        log.append([encode(transaction) for transaction in transactions], first)
        ids.note(ledger.next_job_id, ledger.seq)
        given.append(ledger.next_job_id - 1)
    log.secure()
    ids.settle(ledger.next_job_id, ledger.seq)
    ids.close()
    log.close()


def veteran(root):
    """A disk with a life on it, and the ids that were given."""
    root.mkdir()
    disk, given = LossyDisk(root), []
    live(disk, given)
    return disk, given


@pytest.mark.parametrize("how", [Killed, PowerCut])
def test_no_end_makes_a_state_look_older(tmp_path, how):
    disk, given = veteran(tmp_path / "whole")
    before = len(disk.calls)
    live(disk, given)
    total = len(disk.calls)
    assert total - before > 20
    for number in range(before + 1, total + 1, stride(2)):
        for part in (0, 16):
            disk, given = veteran(tmp_path / f"{number}-{part}")
            disk.faults = {number: Fault(part, end=how)}
            with pytest.raises(how):
                live(disk, given)
            disk.restart(random.Random(number * 17 + part).randrange)
            live(disk, given)
