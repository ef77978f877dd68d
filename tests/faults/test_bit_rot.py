"""Whatever rots, the state that is loaded is the right one, or it is said that it is not.

Bits flip, blocks turn to zeros or to blocks of other files, ends are cut off, files are exchanged or gone. As long as
`wal.acknowledged` is readable, nothing but the whole state passes, also where the damage looks like a write that was
never finished. If that file is hit, too, such a tail is left out with a warning, and nothing else.
"""

import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gflow.store.acknowledged import NAME as MARK
from gflow.store.disk import DISK
from gflow.store.errors import Damaged, Foreign, Newer
from gflow.store.load import load
from gflow.store.snapshot import NAME, PREVIOUS
from gflow.store.wal import HEADER_BYTES, read_segment, segment_numbers, segment_path
from support.effort import EFFORT, examples, stride
from support.ledger import facts
from support.store_writer import STEPS, StoreWriter, hold, submit

Files = dict[str, bytes]


class Kept:
    """A data directory: two snapshots, the log from the older one on in several segments, the last with some batches.

    - files: as they are when all is well. whole: what is in them. last: the name of the newest segment.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.writer = StoreWriter(directory, DISK)
        self.writer.start()
        for _ in range(3):
            self._write(STEPS, STEPS[:2])
            assert self.writer.compact()
        for _ in range(2):
            self._write(STEPS[:3], [hold])
            self.writer.stop()
            self.writer.start()
        self._write([submit()], STEPS, [submit(2), hold])
        self.writer.stop()
        self._changed: dict[str, bytes | None] = {}
        self.files = {path.name: path.read_bytes() for path in directory.iterdir()}
        self.whole = facts(self.writer.ledger)
        self.last = segment_path(directory, segment_numbers(directory)[-1]).name
        assert {NAME, PREVIOUS, MARK, self.last} < self.files.keys()
        assert len(self.files) == 3 + 4, "four segments: of the older snapshot, of the newer one, of two more starts"

    def _write(self, *batches) -> None:
        for batch in batches:
            assert self.writer.change(*batch)

    @property
    def state_files(self) -> list[str]:
        return sorted(self.files.keys() - {MARK})

    def put(self, **changed: bytes | None) -> None:
        """Have these files as given (None: gone), and all others as they were."""
        for name in self._changed.keys() | changed.keys():
            content = changed.get(name, self.files[name])
            if content is None:
                (self.directory / name).unlink(missing_ok=True)
            else:
                overwrite(self.directory / name, content)
        self._changed = changed

    def outcome(self, **changed: bytes | None) -> str:
        """`whole`, `refused` or `short`: the last is an earlier state, and there must be a warning of it."""
        self.put(**changed)
        try:
            loaded = load(self.directory)
        except (Damaged, Newer, Foreign) as error:
            return self._refused(str(error))
        if facts(loaded) == self.whole:
            return "whole"
        assert facts(loaded) in self.writer.states[loaded.seq], f"{changed.keys()}: the state never was like that"
        assert loaded.warnings, f"{changed.keys()}: an earlier state without a word"
        return "short"

    def _refused(self, message: str) -> str:
        assert str(self.directory) in message
        assert "\n" not in message
        return "refused"


def overwrite(path: Path, content: bytes) -> None:
    """In place: a file that is truncated and written anew is flushed by some file systems, which takes its time."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
        file.write(content)
        file.truncate(len(content))


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Kept:
    return Kept(tmp_path_factory.mktemp("kept"))


def assert_never_short(kept: Kept, damages: Callable[[str, bytes], Iterator[bytes]]) -> None:
    """Each of the damages to each of the files; at least some must have been noticed."""
    found = [
        kept.outcome(**{name: damaged}) for name in kept.state_files for damaged in damages(name, kept.files[name])
    ]
    assert "short" not in found
    assert "refused" in found


def test_nothing_is_wrong_with_the_files_as_they_are(kept):
    assert kept.outcome() == "whole"
    assert load(kept.directory).warnings == []


def test_a_flipped_bit(kept):
    bits = range(8) if EFFORT > 1 else None

    def flipped(name: str, content: bytes) -> Iterator[bytes]:
        for offset in range(0, len(content), stride(3)):
            for bit in bits or [(offset * 5 + 3) % 8]:
                yield content[:offset] + bytes([content[offset] ^ 1 << bit]) + content[offset + 1 :]

    assert_never_short(kept, flipped)


@pytest.mark.parametrize(("size", "step"), [(1, 7), (16, 16), (64, 16), (512, 64), (512, 512), (4096, 4096)])
def test_a_block_of_zeros(kept, size, step):
    assert_never_short(kept, lambda name, content: replaced(content, bytes(size), step))


@pytest.mark.parametrize("size", [512, 4096])
def test_a_block_of_another_file(kept, size):
    def exchanged(name: str, content: bytes) -> Iterator[bytes]:
        for other in kept.state_files:
            for start in range(0, len(kept.files[other]), size):
                if other != name:
                    yield from replaced(content, kept.files[other][start : start + size], size)

    assert_never_short(kept, exchanged)


@pytest.mark.parametrize("size", [128, 512])
def test_a_block_of_the_same_file_from_elsewhere(kept, size):
    def moved(name: str, content: bytes) -> Iterator[bytes]:
        for start in range(0, len(content), size):
            yield from replaced(content, content[start : start + size], size)

    assert_never_short(kept, moved)


def replaced(content: bytes, block: bytes, step: int) -> Iterator[bytes]:
    """`content` with `block` over it, at every multiple of `step`; it gets no longer."""
    for offset in range(0, len(content), step):
        damaged = content[:offset] + block + content[offset + len(block) :]
        if damaged[: len(content)] != content:
            yield damaged[: len(content)]


def test_an_end_cut_off(kept):
    every = stride(5)
    assert_never_short(kept, lambda name, content: (content[:size] for size in range(0, len(content), every)))


@pytest.mark.parametrize("tail", [b"\0", b"\xff", b"\xc1gf\x01", bytes(4096)])
def test_an_end_that_has_grown(kept, tail):
    """At the end of the log that is a write that was never finished."""
    for name in kept.state_files:
        expected = "whole" if name.startswith("wal-") or name == PREVIOUS else "refused"
        assert kept.outcome(**{name: kept.files[name] + tail}) == expected, name


def test_a_file_under_the_name_of_another(kept):
    for name in kept.state_files:
        for other in kept.state_files:
            found = kept.outcome(**{name: kept.files[other]})
            assert found in ("whole", "refused"), (name, other)


def test_a_file_that_is_gone(kept):
    harmless = {NAME, PREVIOUS, kept.state_files[2]}
    for name in kept.state_files:
        assert kept.outcome(**{name: None}) == ("whole" if name in harmless else "refused"), name


def test_a_mark_that_rots_or_is_gone_harms_nothing(kept):
    content = kept.files[MARK]
    for damaged in (*replaced(content, b"\xff", 1), *(content[:size] for size in range(len(content))), b"", None):
        assert kept.outcome(**{MARK: damaged}) == "whole"


def test_a_mark_that_is_older_still_vouches_for_what_it_knows_of(kept):
    """After a power cut it may be. What came later cannot be told from a write that was never finished."""
    marks = list(earlier_marks(kept))[-10:]
    whole = kept.files[kept.last]
    kept.put()
    frames = read_segment(kept.directory / kept.last, segment_numbers(kept.directory)[-1]).frames
    ends = {0, HEADER_BYTES, *(frame.end for frame in frames)}  # cut there it is a log like any other
    for size in sorted(set(range(0, len(whole), 17)) - ends):
        found = [kept.outcome(**{kept.last: whole[:size], MARK: mark}) for mark in marks]
        assert found == sorted(found, key=["short", "refused"].index), "an older mark refuses less"
        assert found[-1] == "refused"


def earlier_marks(kept: Kept) -> Iterator[bytes]:
    """All that ever was in the mark."""
    for seq in range(kept.writer.acknowledged + 1):
        mark = struct.pack("<8sQ", b"gflowack", seq)
        yield mark + struct.pack("<I", zlib.crc32(mark))


@given(st.integers(0, 2**32))
@settings(max_examples=examples(250), suppress_health_check=list(HealthCheck))
def test_much_at_once(kept, seed):
    """Without the mark an earlier state may come of it, but not without a warning."""
    chance = random.Random(seed)
    damaged: Files = {}
    for _ in range(chance.randrange(1, 5)):
        name = chance.choice(sorted(kept.files))
        damaged[name] = spoilt(damaged.get(name, kept.files[name]), kept, chance)
    found = kept.outcome(**damaged)
    assert found != "short" or damaged.get(MARK, kept.files[MARK]) != kept.files[MARK]


def spoilt(content: bytes, kept: Kept, chance: random.Random) -> bytes:
    """The content with some damage of any kind."""
    offset, size = chance.randrange(len(content) + 1), chance.choice([1, 3, 16, 100, 512, 4096])
    other = kept.files[chance.choice(sorted(kept.files))]
    start = chance.randrange(len(other))
    block = chance.choice([bytes(size), chance.randbytes(size), other[start : start + size]])
    match chance.randrange(4):
        case 0:
            return content[:offset]
        case 1:
            return content[:offset] + block + content[offset:]
        case 2:
            return content[:offset] + content[offset + size :]
        case _:
            return content[:offset] + block + content[offset + size :]
