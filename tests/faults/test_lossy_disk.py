"""A power cut loses, tears and reorders what was not synced, over all files at once: nothing acknowledged is among it.

The real log, snapshots and removals run on a disk that says which calls count. The last tests show that each
sync is needed: with any of them left out, some power cut loses what was acknowledged.
"""

import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gflow.store.disk import Disk
from gflow.store.errors import Unreadable
from support.effort import examples
from support.lossy_disk import Choose, Fault, Killed, LossyDisk, PowerCut
from support.store_writer import STEPS, StoreWriter

ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT)

Lies = frozenset[str]
NONE: Lies = frozenset()


class Meanwhile(Disk):
    """The disk as the snapshot's thread sees it: between two of its calls the log may get something.

    Calls named in `lies` do nothing.
    """

    def __init__(self, disk: Disk, step: Callable[[], object], lies: frozenset[str]) -> None:
        self._disk = disk
        self._step = step
        self._lies = lies

    def __getattribute__(self, name: str) -> object:
        if name.startswith("_"):
            return super().__getattribute__(name)
        self._step()
        return (lambda *_: None) if name in self._lies else getattr(self._disk, name)


class History:
    """Lives of a daemon, each of some changes, compactions, faults and an end, as `choose` has it.

    `lies` are names of syncs that are left out, `snapshot_lies` those that only snapshots leave out.
    """

    def __init__(self, root: Path, choose: Choose, *, lies: Lies = NONE, snapshot_lies: Lies = NONE) -> None:
        root.mkdir()
        self.choose = choose
        self.snapshot_lies = snapshot_lies
        self.disk = LossyDisk(root, lies=lies)
        self.writer = StoreWriter(root / "share" / "gflow", self.disk)

    def run(self, lives: int) -> None:
        """Live, and look at what is left each time."""
        for _ in range(lives):
            try:
                self._live()
            except (Killed, OSError):  # a data directory that cannot be made ends a life, too
                pass
            else:
                self._end_well()
            self.disk.restart(self.choose)
        self.writer.start()
        self.writer.insist()

    def _live(self) -> None:
        self._plan()
        self.writer.start()
        for _ in range(self.choose(7)):
            self._act()

    def _end_well(self) -> None:
        """No fault came: it is stopped, and perhaps the power goes right after that."""
        self.disk.faults.clear()
        self.writer.insist()
        if self.choose(2):
            self.writer.stop()
        if self.choose(2):
            self.disk.end(PowerCut)

    def _plan(self) -> None:
        done = len(self.disk.calls)
        for _ in range(self.choose(3)):
            number = ERRORS[self.choose(len(ERRORS))]
            self.disk.faults[done + 1 + self.choose(40)] = Fault(self.choose(17), number)
        if end := (None, PowerCut, Killed)[self.choose(3)]:
            self.disk.faults[done + 1 + self.choose(60)] = Fault(self.choose(17), end=end)

    def _act(self) -> None:
        kind = self.choose(4)
        if kind == 3:
            self.writer.compact(Meanwhile(self.disk, self._sometimes_change, self.snapshot_lies))
        else:
            self.writer.change(*(STEPS[self.choose(len(STEPS))] for _ in range(1 + self.choose(3))))

    def _sometimes_change(self) -> None:
        if self.choose(3) == 2:
            self.writer.change(STEPS[self.choose(len(STEPS))])


@given(st.data())
@settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
def test_a_power_cut_at_any_call_loses_nothing_acknowledged(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("disk") / "root"
    History(root, lambda n: data.draw(st.integers(0, n - 1))).run(3)


@pytest.mark.parametrize("seed", range(10))
def test_nor_do_long_histories_of_kills_cuts_and_errors(tmp_path, seed):
    for n in range(examples(60)):
        chance = random.Random(f"{seed} {n}")
        History(tmp_path / str(n), lambda n, chance=chance: chance.randrange(n)).run(6)


@pytest.mark.parametrize("call", ["sync", "write_again", "sync_directory"])
def test_a_sync_that_is_left_out_is_noticed(tmp_path, call):
    assert_it_is_noticed(tmp_path, lies=frozenset({call}))


@pytest.mark.parametrize("call", ["sync", "sync_directory"])
def test_a_snapshot_that_is_not_synced_is_noticed(tmp_path, call):
    assert_it_is_noticed(tmp_path, snapshot_lies=frozenset({call}))


def assert_it_is_noticed(directory: Path, **lies: Lies) -> None:
    """Within as many histories as the tests above go through. The chance is always the same."""
    for n in range(250):
        try:
            History(directory / str(n), random.Random(n).randrange, **lies).run(6)
        except (AssertionError, Unreadable):
            return
    pytest.fail("no power cut has lost anything")
