"""A length that is only claimed costs nothing: no room is made for more than there is in the file.

The checksums of these files are right, so it is not rot: somebody wrote them so.
"""

import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest

from gflow.store.errors import Damaged
from gflow.store.load import load
from gflow.store.snapshot import NAME, read_snapshot
from gflow.store.wal import Segment, read_segment, segment_path

HOSTILE = {
    "list": b"\xdd\xff\xff\xff\xff",
    "list just under the reader's own limit": b"\xdd\x7f\xff\xff\xff",
    "map": b"\xdf\xff\xff\xff\xff",
    "map just under the reader's own limit": b"\xdf\x3f\xff\xff\xff",
    "text": b"\xdb\xff\xff\xff\xff",
    "bytes": b"\xc6\xff\xff\xff\xff",
    "extension": b"\xc9\x7f\xff\xff\xff\x05",
    "lists in lists": b"\xdd\x00\x10\x00\x00" * 400,
    "lists without end": b"\x91" * 5000,
}
MOST = 2 << 20


@pytest.fixture(autouse=True)
def little_memory():
    """Nothing may take more than a few times what is in the file."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST


def with_crc(body: bytes) -> bytes:
    body += b"\xa5crc32"
    return body + b"\xce" + zlib.crc32(body).to_bytes(4, "big")


@pytest.mark.parametrize("key", ["segment", "jobs", "groups", "settings", "events", "unknown"])
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_in_a_snapshot(tmp_path: Path, key: str, value: bytes):
    named = bytes([0xA0 + len(key)]) + key.encode()
    (tmp_path / NAME).write_bytes(with_crc(b"\x84\xa6format\xabgflow-state\xa7version\x01" + named + value))
    with pytest.raises(Damaged, match="does not hold a state"):
        read_snapshot(tmp_path / NAME)


@pytest.mark.parametrize("start", [b"\xdf\xff\xff\xff\xff", b"\xde\xff\xff"])
def test_in_the_head_of_a_snapshot(tmp_path: Path, start: bytes):
    (tmp_path / NAME).write_bytes(with_crc(start + b"\xa6format\xabgflow-state\xa7version\x01"))
    with pytest.raises(Damaged, match="does not hold a state"):
        read_snapshot(tmp_path / NAME)


@pytest.mark.parametrize("key", [b"\xa4jobs", b"\xa6events", b"\xa8settings", b"\xa7retired", b"\xa3seq"])
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_in_a_record(tmp_path: Path, key: bytes, value: bytes):
    segment = Segment.create(tmp_path, 1, 1)
    segment.append([b"\x81" + key + value])
    segment.close()
    with pytest.raises(Damaged, match=r"wal-00000001\.log: damaged at byte 28: the record makes no sense"):
        load(tmp_path)


@pytest.mark.parametrize("length", [1, 1000, 256 << 20, (256 << 20) + 1, 0xFFFFFFFF])
def test_in_a_frame(tmp_path: Path, length: int):
    """Its checksum would be right if the record were there."""
    Segment.create(tmp_path, 1, 1).close()
    head = struct.pack("<4sII", b"\xc1gf\x01", length, 0)
    frame = head + struct.pack("<I", zlib.crc32(head, zlib.crc32(struct.pack("<IQ", 1, 28))))
    path = segment_path(tmp_path, 1)
    path.write_bytes(path.read_bytes() + frame)
    contents = read_segment(path, 1)
    assert (contents.frames, contents.torn_at) == ([], 28)


def test_a_batch_that_claims_to_start_before_the_first_is_not_believed(tmp_path: Path):
    Segment.create(tmp_path, 1, 1).close()
    head = struct.pack("<4sII", b"\xc1gf\x01", 1, 1)
    frame = head + struct.pack("<I", zlib.crc32(b"\xc0", zlib.crc32(head, zlib.crc32(struct.pack("<IQ", 1, 28)))))
    path = segment_path(tmp_path, 1)
    path.write_bytes(path.read_bytes() + frame + b"\xc0")
    assert read_segment(path, 1).frames == []
