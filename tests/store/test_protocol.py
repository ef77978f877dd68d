"""The order of the calls that make a change durable, as docs/files.md tells it."""

from support.store_writer import StoreWriter, advance, submit
from support.traced_disk import TracedDisk

BATCH = """\
write wal-00000001.log
sync wal-00000001.log
overwrite wal.acknowledged"""

FIRST_BATCH = f"""\
sync_directory home
create wal-00000001.log
write wal-00000001.log
sync wal-00000001.log
sync_directory gflow
{BATCH.replace("overwrite", "open_in_place wal.acknowledged" + chr(10) + "overwrite")}"""

COMPACTION = """\
sync wal.acknowledged
create wal-00000002.log
write wal-00000002.log
sync wal-00000002.log
sync_directory gflow
create state.msgpack.tmp
write state.msgpack.tmp
sync state.msgpack.tmp
replace state.msgpack.tmp state.msgpack
sync_directory gflow"""

SECOND_COMPACTION = """\
sync wal.acknowledged
create wal-00000003.log
write wal-00000003.log
sync wal-00000003.log
sync_directory gflow
create state.msgpack.tmp
write state.msgpack.tmp
sync state.msgpack.tmp
replace state.msgpack state.msgpack.previous
replace state.msgpack.tmp state.msgpack
sync_directory gflow
remove wal-00000001.log"""

STOP = "sync wal.acknowledged"

FIRST_BATCH_OF_ANOTHER_LIFE = """\
sync_directory home
write_again wal-00000001.log
create wal-00000002.log
write wal-00000002.log
sync wal-00000002.log
sync_directory gflow
write wal-00000002.log
sync wal-00000002.log
open_in_place wal.acknowledged
overwrite wal.acknowledged"""


def told(disk: TracedDisk) -> list[str]:
    """What the disk was told, several writes in a row as one."""
    lines = disk.told()
    return [line for line, before in zip(lines, ["", *lines], strict=False) if (line, line[:5]) != (before, "write")]


def a_writer(tmp_path) -> tuple[StoreWriter, TracedDisk]:
    disk = TracedDisk()
    (tmp_path / "home").mkdir()
    return StoreWriter(tmp_path / "home" / "gflow", disk), disk


def test_a_new_directory_has_a_durable_name_before_anything_is_in_it(tmp_path):
    writer, disk = a_writer(tmp_path)
    writer.start()
    assert told(disk) == [f"sync_directory {tmp_path.name}", "make_directory gflow", "sync_directory home"]


def test_each_batch_is_synced_and_then_noted_and_that_costs_one_sync(tmp_path):
    writer, disk = a_writer(tmp_path)
    writer.start()
    disk.told()
    assert writer.change(submit(2), advance)
    assert told(disk) == FIRST_BATCH.splitlines()
    assert writer.change(submit())
    assert told(disk) == BATCH.splitlines()


def test_a_snapshot_is_whole_before_it_has_its_name_and_only_then_the_older_log_goes(tmp_path):
    writer, disk = a_writer(tmp_path)
    writer.start()
    writer.change(submit())
    disk.told()
    assert writer.compact()
    assert told(disk) == COMPACTION.splitlines()
    writer.change(submit())
    disk.told()
    assert writer.compact()
    assert told(disk) == SECOND_COMPACTION.splitlines()


def test_a_restart_writes_the_last_batch_again_before_it_goes_on_from_it(tmp_path):
    writer, disk = a_writer(tmp_path)
    writer.start()
    writer.change(submit())
    disk.told()
    writer.stop()
    assert told(disk) == STOP.splitlines()
    writer.start()
    assert told(disk) == []
    writer.change(submit())
    assert told(disk) == FIRST_BATCH_OF_ANOTHER_LIFE.splitlines()


def test_after_a_failed_rotation_nothing_more_goes_to_the_older_segment(tmp_path):
    writer, disk = a_writer(tmp_path)
    writer.start()
    writer.change(submit())
    real, disk.sync_directory = disk.sync_directory, refuse
    assert not writer.compact()
    disk.sync_directory = real
    disk.told()
    assert writer.change(submit())
    assert told(disk)[:6] == [
        "sync wal.acknowledged",
        "create wal-00000003.log",
        "write wal-00000003.log",
        "sync wal-00000003.log",
        "sync_directory gflow",
        "write wal-00000003.log",
    ]


def refuse(*_: object) -> None:
    raise OSError(5, "Input/output error")
