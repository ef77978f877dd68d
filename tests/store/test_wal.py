import errno
import os
import stat
import struct
import zlib

import pytest

from gflow.store import wal
from gflow.store.errors import Damaged, Newer
from gflow.store.wal import FRAME_BYTES, HEADER_BYTES, Segment, read_segment, segment_numbers, segment_path
from support.faulty_disk import FaultyDisk


@pytest.fixture
def segment(tmp_path):
    segment = Segment.create(tmp_path, 1, 1)
    yield segment
    segment.close()


def records(segment):
    return [bytes(frame.record) for frame in read_segment(segment.path, segment.number).frames]


def change(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def with_header(path, **changes):
    values = {"magic": b"gflowwal", "version": wal.VERSION, "number": 1, "first_seq": 1} | changes
    header = struct.pack("<8sIIQ", *values.values())
    path.write_bytes(header + struct.pack("<I", zlib.crc32(header)))


def test_what_was_appended_is_read(segment):
    segment.append([b"one", b""])
    segment.append([b"three" * 1000])
    contents = read_segment(segment.path, 1)
    assert [bytes(frame.record) for frame in contents.frames] == [b"one", b"", b"three" * 1000]
    assert (contents.first_seq, contents.torn_at, contents.size) == (1, None, segment.path.stat().st_size)
    assert segment.size == contents.size
    assert segment.records == 3


def test_a_segment_is_private_and_named_by_its_number(tmp_path):
    Segment.create(tmp_path, 0x1F, 9).close()
    path = tmp_path / "wal-0000001f.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_segment(path, 0x1F).first_seq == 9


def test_only_segments_are_listed_in_order(tmp_path):
    for number in (300, 2, 10):
        Segment.create(tmp_path, number, 1).close()
    for name in ("wal-1.log", "wal-0000000G.log", "wal-00000004.log.old", "state.msgpack"):
        (tmp_path / name).touch()
    assert segment_numbers(tmp_path) == [2, 10, 300]


def test_an_existing_segment_is_never_written_over(segment, tmp_path):
    segment.append([b"one"])
    with pytest.raises(FileExistsError):
        Segment.create(tmp_path, 1, 1)
    assert records(segment) == [b"one"]


def test_header_and_name_are_on_disk_before_a_record_and_each_batch_costs_one_sync(tmp_path):
    disk = FaultyDisk()
    segment = Segment.create(tmp_path, 1, 1, disk=disk)
    segment.append([b"a", b"b", b"c"])
    segment.close()
    assert disk.calls == ["create", "write", "sync", "sync_directory", "write", "sync"]


def test_a_torn_tail_is_cut_at_every_length(segment):
    segment.append([b"one"])
    good = segment.size
    segment.append([b"second", b"third"])
    whole = segment.path.read_bytes()
    for length in range(good + 1, len(whole)):
        segment.path.write_bytes(whole[:length])
        contents = read_segment(segment.path, 1)
        second_is_whole = length >= good + FRAME_BYTES + len(b"second")
        assert len(contents.frames) == 1 + second_is_whole
        end = good + (FRAME_BYTES + len(b"second")) * second_is_whole
        assert contents.torn_at == (end if length > end else None)


def test_a_zero_filled_tail_is_torn(segment):
    segment.append([b"one"])
    with segment.path.open("ab") as file:
        file.write(bytes(5000))
    contents = read_segment(segment.path, 1)
    assert len(contents.frames) == 1
    assert contents.torn_at == segment.size


@pytest.mark.parametrize("length", range(HEADER_BYTES))
def test_a_header_that_was_never_finished_holds_nothing(segment, length):
    segment.path.write_bytes(segment.path.read_bytes()[:length])
    contents = read_segment(segment.path, 1)
    assert (contents.first_seq, contents.frames) == (None, [])


def test_a_zero_filled_header_holds_nothing(segment):
    segment.path.write_bytes(bytes(HEADER_BYTES))
    assert read_segment(segment.path, 1).first_seq is None


@pytest.mark.parametrize("offset", [0, 3, 9, 13, 20, 26])
def test_a_header_that_changed_is_damage(segment, offset):
    segment.append([b"one"])
    change(segment.path, offset, b"\xff")
    with pytest.raises(Damaged, match="header"):
        read_segment(segment.path, 1)


def test_damage_before_a_later_batch_is_named(segment):
    segment.append([b"one"])
    bad = segment.size
    segment.append([b"two"])
    segment.append([b"three"])
    change(segment.path, bad + FRAME_BYTES, b"T")
    with pytest.raises(
        Damaged, match=f"{segment.path}: damaged at byte {bad}: .*good ones after it, from byte"
    ) as caught:
        read_segment(segment.path, 1)
    assert caught.value.offset == bad


def test_a_lying_length_is_damage_not_a_torn_tail(segment):
    bad = segment.size
    segment.append([b"one"])
    segment.append([b"two"])
    change(segment.path, bad + 4, struct.pack("<I", 0xFFFFFFF0))
    with pytest.raises(Damaged):
        read_segment(segment.path, 1)


def test_a_length_over_the_limit_is_not_believed(segment, monkeypatch):
    segment.append([b"x" * 100])
    monkeypatch.setattr(wal, "MAX_RECORD_BYTES", 99)
    assert read_segment(segment.path, 1).frames == []


def test_a_batch_torn_in_its_middle_is_a_torn_tail(segment):
    """Pages of one batch reach the disk in any order; nobody was told of it, so it is no damage."""
    segment.append([b"one"])
    good = segment.size
    segment.append([b"a" * 600, b"b" * 600, b"c" * 600])
    change(segment.path, good + 100, bytes(400))
    contents = read_segment(segment.path, 1)
    assert [bytes(frame.record) for frame in contents.frames] == [b"one"]
    assert contents.torn_at == good


def test_frames_of_another_segment_or_place_do_not_pass(segment, tmp_path):
    other = Segment.create(tmp_path, 2, 1)
    for one in (segment, other):
        one.append([b"aaaa"])
        one.append([b"bbbb"])
    foreign = other.path.read_bytes()[HEADER_BYTES:]
    own = segment.path.read_bytes()
    other.close()
    segment.path.write_bytes(own[:HEADER_BYTES] + foreign)
    assert records(segment) == []
    segment.path.write_bytes(own + own[HEADER_BYTES:])
    assert records(segment) == [b"aaaa", b"bbbb"]


def test_markers_inside_a_record_do_not_confuse_the_search(segment):
    segment.append([b"\xc1gf\x01" * 50])
    bad = segment.size
    segment.append([b"\xc1gf\x01" * 50])
    change(segment.path, bad + 40, b"\x00")
    assert len(records(segment)) == 1


def test_a_later_format_is_refused_by_name(tmp_path):
    path = segment_path(tmp_path, 1)
    with_header(path, version=wal.VERSION + 1)
    with pytest.raises(Newer, match="use a newer gflow"):
        read_segment(path, 1)


@pytest.mark.parametrize("changes", [{"magic": b"somelogs"}, {"number": 2}])
def test_a_file_under_a_wrong_name_is_refused(tmp_path, changes):
    path = segment_path(tmp_path, 1)
    with_header(path, **changes)
    with pytest.raises(Damaged):
        read_segment(path, 1)


def test_a_full_disk_leaves_no_part_of_a_batch_and_the_segment_goes_on(tmp_path):
    disk = FaultyDisk()
    segment = Segment.create(tmp_path, 1, 1, disk=disk)
    segment.append([b"one"])
    disk.room = 30
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        segment.append([b"x" * 100])
    assert segment.path.stat().st_size == segment.size
    assert not segment.broken
    disk.room = None
    segment.append([b"two"])
    assert records(segment) == [b"one", b"two"]
    segment.close()


@pytest.mark.parametrize("failing", [{"sync": errno.EIO}, {"write": errno.EIO, "truncate": errno.EIO}])
def test_a_segment_that_cannot_be_trusted_takes_nothing_more(tmp_path, failing):
    disk = FaultyDisk()
    segment = Segment.create(tmp_path, 1, 1, disk=disk)
    segment.append([b"one"])
    real_write = disk.write
    if "write" in failing:
        disk.write = lambda fd, data: (real_write(fd, data[:9]), disk._called("write"))[0]
    disk.failing = failing
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        segment.append([b"two"])
    disk.failing = {}
    assert segment.broken
    with pytest.raises(OSError, match="cannot go on"):
        segment.append([b"three"])
    assert records(segment) == [b"one"]
    segment.close()


@pytest.mark.parametrize("call", ["write", "sync", "sync_directory"])
def test_a_segment_that_cannot_be_made_leaves_no_file(tmp_path, call):
    disk = FaultyDisk()
    disk.failing = {call: errno.EIO}
    disk.write = lambda fd, data: (disk._called("write"), os.write(fd, data))[1]
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        Segment.create(tmp_path, 1, 1, disk=disk)
    assert list(tmp_path.iterdir()) == []


def test_numbers_do_not_wrap_around(tmp_path):
    with pytest.raises(OverflowError):
        Segment.create(tmp_path, wal.MAX_SEGMENT + 1, 1)
