"""A process that dies at any byte of any write leaves a prefix of its history with everything acknowledged in it.

Random histories (submits, changes of state, groups, settings, compactions, restarts, calls that fail in between) are
written down call by call, and done again elsewhere byte by byte; after every single byte the state is loaded. What a
power cut does on top of that is in tests/faults/test_lossy_disk.py, what rot does in tests/faults/test_bit_rot.py.
"""

import errno
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gflow.store.load import load
from gflow.store.wal import HEADER_BYTES, segment_numbers, segment_path
from support.effort import examples, stride
from support.ledger import facts
from support.lossy_disk import Choose, Fault, LossyDisk
from support.store_writer import STEPS, StoreWriter, submit
from support.traced_disk import Step

ACKNOWLEDGED = "acknowledged"


class Recorded:
    """A history on a disk that writes down all its calls, and when something was acknowledged."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.disk = LossyDisk(root)
        self.writer = StoreWriter(root, self.disk, self._acknowledged)
        self.writer.start()

    def _acknowledged(self, seq: int) -> None:
        self.disk.steps.append(Step(ACKNOWLEDGED, "", size=seq))

    def act(self, choose: Choose) -> None:
        """One step of the daemon, with a call that fails now and then."""
        if choose(3) == 2:
            self.disk.faults[len(self.disk.calls) + 1 + choose(8)] = Fault(choose(17), errno.EIO)
        kind = choose(6)
        if kind == 4:
            self.writer.compact()
        elif kind == 5:
            self.disk.faults.clear()
            self.disk.restart(choose)
            self.writer.start()
        else:
            self.writer.change(*(STEPS[choose(len(STEPS))] for _ in range(1 + choose(2))))

    def check_every_byte(self, elsewhere: Path) -> int:
        """Die after every byte; how many deaths that were."""
        elsewhere.mkdir()
        deaths = acknowledged = 0
        for step in self.disk.steps:
            if step.call == ACKNOWLEDGED:
                acknowledged = step.size
            else:
                for _ in step.states(elsewhere):
                    self.writer.found(elsewhere, acknowledged)
                    deaths += 1
        return deaths


@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=5))
@settings(max_examples=examples(6), suppress_health_check=list(HealthCheck))
def test_a_death_at_any_byte_leaves_a_prefix_with_everything_acknowledged(tmp_path_factory, seeds):
    root = tmp_path_factory.mktemp("crash")
    recorded = Recorded(root / "disk")
    for seed in seeds:
        recorded.act(random.Random(seed).randrange)
    recorded.check_every_byte(root / "elsewhere")


def test_a_death_at_any_byte_of_a_compaction_does_too(tmp_path):
    recorded = Recorded(tmp_path / "disk")
    for _ in range(2):
        assert recorded.writer.change(*STEPS)
        assert recorded.writer.compact()
    assert recorded.writer.change(submit())
    assert recorded.check_every_byte(tmp_path / "elsewhere") > 3000


@pytest.fixture
def written(tmp_path) -> StoreWriter:
    """A log of three batches of several records."""
    writer = StoreWriter(tmp_path, LossyDisk(tmp_path))
    writer.start()
    for _ in range(3):
        assert writer.change(*STEPS)
    return writer


def test_a_tail_that_was_never_finished_gets_one_warning(written, tmp_path):
    path, seq, lengths = last_write(written)
    whole = path.read_bytes()
    for length in lengths:
        path.write_bytes(whole[:length])
        loaded = written.found(tmp_path, seq)
        whole_frames = loaded.log_bytes == length and not loaded.warnings
        assert len(loaded.warnings) == (0 if whole_frames else 1)


@pytest.mark.parametrize("filler", [b"\0", b"\xc1gf\x01", b"\xff"])
def test_a_tail_of_anything_but_records_does_too(written, tmp_path, filler):
    path, seq, lengths = last_write(written)
    whole = path.read_bytes()
    for length in lengths[:: stride(3)]:
        path.write_bytes(whole[:length] + filler * 600)
        assert len(written.found(tmp_path, seq).warnings) == 1


def last_write(written: StoreWriter) -> tuple[Path, int, range]:
    """One more batch that is not acknowledged: its file, the seq acknowledged before it, where it may have ended."""
    path = segment_path(written.directory, segment_numbers(written.directory)[-1])
    seq, before = written.acknowledged, path.stat().st_size
    mark = written.directory / "wal.acknowledged"
    said = mark.read_bytes()
    assert written.change(*STEPS)
    mark.write_bytes(said)
    return path, seq, range(before, path.stat().st_size + 1)


def test_a_segment_cut_at_any_byte_of_its_header_holds_nothing(written, tmp_path):
    before = facts(load(tmp_path))
    path = segment_path(tmp_path, 2)
    for length in range(HEADER_BYTES + 1):
        path.write_bytes(bytes(length))
        loaded = load(tmp_path)
        assert (facts(loaded), loaded.segment, len(loaded.warnings)) == (before, 2, 1 if length else 0)
