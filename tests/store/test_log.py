import errno

import pytest

from gflow.store.log import Log, remove_segments
from gflow.store.wal import Segment, read_segment, segment_numbers, segment_path
from support.faulty_disk import FaultyDisk


@pytest.fixture
def disk():
    return FaultyDisk()


@pytest.fixture
def log(tmp_path, disk):
    log = Log(tmp_path, 4, disk=disk)
    yield log
    log.close()


def holds(directory):
    found = {}
    for number in segment_numbers(directory):
        contents = read_segment(segment_path(directory, number), number)
        found[number] = (contents.first_seq, [bytes(frame.record) for frame in contents.frames])
    return found


def test_nothing_is_made_before_there_is_something_to_write(log, tmp_path):
    assert holds(tmp_path) == {}
    log.append([b"a"], 17)
    assert holds(tmp_path) == {5: (17, [b"a"])}


def test_batches_go_on_in_the_same_segment(log, tmp_path):
    log.append([b"a", b"b"], 1)
    log.append([b"c"], 3)
    assert holds(tmp_path) == {5: (1, [b"a", b"b", b"c"])}


def test_after_a_full_disk_the_same_segment_goes_on(log, disk, tmp_path):
    log.append([b"a"], 1)
    disk.room = 3
    with pytest.raises(OSError, match="space"):
        log.append([b"b"], 2)
    disk.room = None
    log.append([b"b"], 2)
    assert holds(tmp_path) == {5: (1, [b"a", b"b"])}


def test_after_a_failed_sync_a_new_segment_repeats_the_batch(log, disk, tmp_path):
    log.append([b"a"], 1)
    disk.failing = {"sync": errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        log.append([b"b"], 2)
    disk.failing = {}
    log.append([b"b"], 2)
    found = holds(tmp_path)
    assert found[5] == (1, [b"a"])
    assert found[max(found)] == (2, [b"b"])


def test_a_long_outage_leaves_no_heap_of_files(log, disk, tmp_path):
    log.append([b"a"], 1)
    disk.failing = {"sync": errno.EIO}
    for _ in range(20):
        with pytest.raises(OSError, match="Input/output"):
            log.append([b"b"], 2)
    assert list(holds(tmp_path)) == [5]


def test_rotation_makes_the_next_segment_at_once(log, tmp_path):
    log.append([b"a"], 1)
    assert log.rotate(2) == 6
    log.append([b"b"], 2)
    assert holds(tmp_path) == {5: (1, [b"a"]), 6: (2, [b"b"])}


def test_rotation_without_a_record_in_between_makes_no_second_segment(log, tmp_path):
    assert log.rotate(9) == log.rotate(9) == 5
    assert holds(tmp_path) == {5: (9, [])}


def test_a_failed_rotation_leaves_the_old_segment_in_use(log, disk, tmp_path):
    log.append([b"a"], 1)
    disk.failing = {"create": errno.ENOSPC}
    with pytest.raises(OSError, match="space"):
        log.rotate(2)
    disk.failing = {}
    log.append([b"b"], 2)
    assert holds(tmp_path) == {5: (1, [b"a", b"b"])}


def test_old_segments_are_removed_oldest_first(tmp_path, disk):
    for number in (1, 2, 3, 5):
        Segment.create(tmp_path, number, number).close()
    disk.failing = {"remove": errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        remove_segments(tmp_path, 3, disk=disk)
    assert segment_numbers(tmp_path) == [1, 2, 3, 5]
    disk.failing = {}
    remove_segments(tmp_path, 3, disk=disk)
    assert segment_numbers(tmp_path) == [3, 5]


@pytest.mark.parametrize("call", ["write", "sync", "sync_directory"])
def test_after_a_rotation_that_failed_half_way_the_old_segment_gets_nothing_more(log, disk, tmp_path, call):
    """The new segment may be there again after a power cut, and would void what came into the old one since."""
    log.append([b"a"], 1)
    disk.failing = {call: errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        log.rotate(2)
    disk.failing = {}
    log.append([b"b"], 2)
    assert holds(tmp_path) == {5: (1, [b"a"]), 7: (2, [b"b"])}


def test_the_last_batch_of_an_earlier_process_is_on_disk_before_anything_goes_on_from_it(tmp_path, disk):
    segment = Segment.create(tmp_path, 4, 1)
    segment.append([b"first"])
    segment.append([b"last", b"too"])
    segment.close()
    before = segment.path.read_bytes()
    log = Log(tmp_path, 4, read_segment(segment.path, 4).tail, disk=disk)
    log.append([b"a"], 4)
    assert disk.calls[:3] == ["sync_directory", "write_again", "create"]
    log.append([b"b"], 5)
    assert disk.calls.count("write_again") == 1
    assert segment.path.read_bytes() == before
    log.close()


def test_nothing_goes_on_from_what_cannot_be_synced(tmp_path, disk):
    segment = Segment.create(tmp_path, 4, 1)
    segment.append([b"last"])
    segment.close()
    log = Log(tmp_path, 4, read_segment(segment.path, 4).tail, disk=disk)
    disk.failing = {"write_again": errno.EIO}
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            log.append([b"a"], 2)
    assert segment_numbers(tmp_path) == [4]
    disk.failing = {}
    log.append([b"a"], 2)
    assert segment_numbers(tmp_path) == [4, 5]
    log.close()


def test_the_tail_of_a_segment_is_its_last_batch(tmp_path):
    segment = Segment.create(tmp_path, 4, 1)
    assert read_segment(segment.path, 4).tail is None
    segment.append([b"first"])
    start = segment.size
    segment.append([b"last", b"too"])
    segment.close()
    assert read_segment(segment.path, 4).tail == (segment.path, start, segment.size - start)
