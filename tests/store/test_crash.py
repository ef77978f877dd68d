"""Whatever happens to the files, what is loaded is right, or it is said that it may not be."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gflow.core.model import Group
from gflow.store.errors import Unreadable
from gflow.store.load import load
from gflow.store.log import Log
from gflow.store.records import encode
from gflow.store.snapshot import Snapshot, write_snapshot
from gflow.store.wal import HEADER_BYTES, read_segment, segment_path
from support.ledger import Ledger, facts


class Written:
    """A data directory with two snapshots, old segments and a log, and what is known about it.

    - states: the facts after each transaction, by seq.
    - ends: size of the last segment after each batch, with the seq that was acknowledged then.
    """

    def __init__(self, directory):
        self.directory = directory
        self.ledger = Ledger()
        self.states = {0: facts(self.ledger)}
        self.ends = []
        self.log = Log(directory, 0)
        self.batch(1, settings={"allowed": [0, 1]}, boot_id="boot-1")
        self.batch(3)
        self.snapshot()
        self.batch(2, groups=(Group("group", 2),))
        self.snapshot()
        self.ends = [(HEADER_BYTES, self.ledger.seq)]
        for size in (2, 1, 3):
            self.batch(size)
        self.log.close()
        self.files = {path.name: path.read_bytes() for path in directory.iterdir()}
        self.last = max(name for name in self.files if name.startswith("wal-"))

    def batch(self, size, **changes):
        records = [self.note(self.ledger.changed(**changes))]
        records += [self.note(self.ledger.submitted()) for _ in range(size - 1)]
        if self.ledger.seq > 2:
            records.append(self.note(self.ledger.started(1)))
        self.log.append(records, self.ledger.seq + 1 - len(records))
        path = segment_path(self.directory, self.log._last)
        self.ends.append((path.stat().st_size, self.ledger.seq))

    def note(self, transaction):
        self.states[self.ledger.seq] = facts(self.ledger)
        return encode(transaction)

    def snapshot(self):
        segment = self.log.rotate(self.ledger.seq + 1)
        write_snapshot(self.directory, Snapshot(self.ledger.seq, segment, self.ledger.state()))

    def put(self, name, content):
        (self.directory / name).write_bytes(content)

    def restore(self):
        for name, content in self.files.items():
            self.put(name, content)

    def assert_right_or_reported(self, *, at_least=None):
        """The whole state; or a refusal; or a warning and an earlier state.

        `at_least` is the seq that must be there then: all but the last batch, unless said otherwise.
        """
        try:
            loaded = load(self.directory)
        except Unreadable:
            return
        assert facts(loaded) == self.states[loaded.seq]
        if loaded.seq != self.ledger.seq:
            assert loaded.warnings
            assert loaded.seq >= (self.ends[-2][1] if at_least is None else at_least)


@pytest.fixture
def written(tmp_path):
    return Written(tmp_path)


def test_a_crash_at_any_byte_leaves_a_prefix_with_everything_acknowledged(written):
    whole = written.files[written.last]
    record_ends = {HEADER_BYTES} | {frame.end for frame in read_segment(written.directory / written.last, 3).frames}
    for length in range(len(whole) + 1):
        written.put(written.last, whole[:length])
        loaded = load(written.directory)
        acknowledged = max((seq for end, seq in written.ends if end <= length), default=written.ends[0][1])
        assert loaded.seq >= acknowledged
        assert facts(loaded) == written.states[loaded.seq]
        whole_frames = length in record_ends
        assert len(loaded.warnings) == (0 if whole_frames or not length else 1)


def test_a_crash_with_a_zero_filled_tail_does_too(written):
    whole = written.files[written.last]
    for length in range(HEADER_BYTES, len(whole) + 1):
        written.put(written.last, whole[:length].ljust(len(whole) + 64, b"\0"))
        loaded = load(written.directory)
        acknowledged = max(seq for end, seq in written.ends if end <= length)
        assert loaded.seq >= acknowledged
        assert facts(loaded) == written.states[loaded.seq]
        assert len(loaded.warnings) == 1


def test_a_flipped_bit_in_any_byte_of_any_file_never_gives_a_wrong_state(written):
    for name, whole in written.files.items():
        for offset in range(len(whole)):
            changed = bytearray(whole)
            changed[offset] ^= 1 << (offset * 5 + 3) % 8
            written.put(name, changed)
            written.assert_right_or_reported()
        written.put(name, whole)


@pytest.mark.parametrize("block", [16, 64, 512])
def test_a_zeroed_block_anywhere_never_gives_a_wrong_state(written, block):
    for name, whole in written.files.items():
        for offset in range(0, len(whole), 16):
            end = min(offset + block, len(whole))
            written.put(name, whole[:offset] + bytes(end - offset) + whole[end:])
            # With no good frame after them, zeros are what a crash leaves: what was before is kept, the rest reported.
            before = max((seq for size, seq in written.ends if size <= offset), default=0)
            written.assert_right_or_reported(at_least=before if name == written.last else None)
        written.put(name, whole)


def test_a_cut_anywhere_in_any_file_never_gives_a_wrong_state(written):
    for name, whole in written.files.items():
        for length in range(0, len(whole), 3):
            written.put(name, whole[:length])
            if name != written.last:
                written.assert_right_or_reported()
        written.put(name, whole)


@given(st.data())
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_garbage_in_any_place_never_gives_a_wrong_state(written, data):
    name = data.draw(st.sampled_from(sorted(written.files)))
    whole = written.files[name]
    offset = data.draw(st.integers(0, len(whole)))
    removed = data.draw(st.integers(0, 40))
    written.put(name, whole[:offset] + data.draw(st.binary(max_size=40)) + whole[offset + removed :])
    try:
        if name != written.last:
            written.assert_right_or_reported()
        else:
            assert_a_prefix_or_reported(written)
    finally:
        written.restore()


def assert_a_prefix_or_reported(written):
    """Bytes cut out of the end of the last segment look like a write that never happened."""
    try:
        loaded = load(written.directory)
    except Unreadable:
        return
    assert facts(loaded) == written.states[loaded.seq]
    assert loaded.seq >= written.ends[0][1]
