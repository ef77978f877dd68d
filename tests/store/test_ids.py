import contextlib
import errno
import json
import stat
from contextlib import closing

import pytest

from gflow.core.model import JobId, State
from gflow.store.errors import Damaged
from gflow.store.history import History
from gflow.store.ids import (
    LATEST,
    NAME,
    STEP,
    Ids,
    Mark,
    furthest,
    generation_of,
    highest_id_seen,
    read_latest,
    read_mark,
)
from support.faulty_disk import FaultyDisk
from support.ledger import make_job


def test_nothing_there_is_no_mark(tmp_path):
    assert read_mark(tmp_path) is None


def test_ids_are_set_aside_ahead_and_rarely(tmp_path):
    disk = FaultyDisk()
    ids = Ids(tmp_path, Mark(), disk=disk)
    ids.reserve(2, 0)
    assert read_mark(tmp_path) == Mark(2 + STEP, 0)
    written = len(disk.calls)
    for next_id in range(3, 3 + STEP):
        ids.reserve(next_id, next_id)
    assert len(disk.calls) == written, "what is set aside already costs nothing"
    ids.reserve(3 + STEP, 300)
    assert read_mark(tmp_path) == Mark(3 + 2 * STEP, 300)


def test_a_mark_is_on_disk_name_and_all_when_ids_are_set_aside(tmp_path):
    disk = FaultyDisk()
    Ids(tmp_path, Mark(), disk=disk).reserve(2, 0)
    assert disk.calls[-4:] == ["write", "sync", "replace", "sync_directory"]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_a_clean_stop_leaves_no_gap(tmp_path):
    ids = Ids(tmp_path, Mark())
    ids.reserve(2, 0)
    ids.settle(2, 1)
    assert read_mark(tmp_path) == Mark(2, 1)


def test_a_mark_never_goes_back_to_an_earlier_transaction(tmp_path):
    """A state older than the mark is still older after ids were set aside on top of it."""
    ids = Ids(tmp_path, Mark(500, 1000, 2), 1)
    ids.settle(3, 7000)
    assert read_mark(tmp_path) is None
    ids.reserve(501, 7000)
    assert read_mark(tmp_path) == Mark(501 + STEP, 1000, 2)


def test_a_state_put_together_anew_counts_its_transactions_from_less(tmp_path):
    ids = Ids(tmp_path, Mark(500, 1000, 2), 3)
    ids.reserve(501, 7)
    assert read_mark(tmp_path) == Mark(501 + STEP, 7, 3)
    ids.settle(501, 8)
    assert read_mark(tmp_path) == Mark(501, 8, 3)
    assert Mark(1, 8, 3).place > Mark(1, 9, 2).place


@pytest.mark.parametrize(("settings", "generation"), [({}, 0), ({"generation": 4}, 4), ({"generation": "x"}, 0)])
def test_the_generation_is_a_setting(settings, generation):
    assert generation_of(settings) == generation


@pytest.mark.parametrize("call", ["create", "write", "sync", "replace"])
def test_ids_that_cannot_be_set_aside_are_not(tmp_path, call):
    disk = FaultyDisk()
    Ids(tmp_path, Mark(), disk=disk).reserve(2, 0)
    disk.failing = {call: errno.ENOSPC}
    ids = Ids(tmp_path, Mark(2 + STEP, 0), disk=disk)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            ids.reserve(1000, 900)
    disk.failing = {}
    assert read_mark(tmp_path) == Mark(2 + STEP, 0)
    ids.reserve(1000, 900)
    assert read_mark(tmp_path) == Mark(1000 + STEP, 900)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "7",
        "null",
        '{"next": 5, "generation": 0, "seq": 3}',
        '{"next": 5, "generation": 0, "seq": 3, "crc32": 1}',
        '{"next": "5", "generation": 0, "seq": 3, "crc32": 0}',
        '{"next": tru',
        "\0" * 60,
        "\udcff",
    ],
)
def test_a_file_that_holds_no_mark_is_damaged(tmp_path, text):
    (tmp_path / NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Damaged, match="ids: damaged at byte 0"):
        read_mark(tmp_path)


def test_no_flipped_bit_changes_a_mark(tmp_path):
    Ids(tmp_path, Mark()).reserve(12345, 678)
    good, mark = (tmp_path / NAME).read_bytes(), read_mark(tmp_path)
    for place in range(len(good) * 8):
        bad = bytearray(good)
        bad[place // 8] ^= 1 << place % 8
        (tmp_path / NAME).write_bytes(bad)
        with contextlib.suppress(Damaged):
            assert read_mark(tmp_path) == mark, "white space, or a letter that JSON takes in two cases"


def test_the_mark_is_a_line_of_json(tmp_path):
    Ids(tmp_path, Mark()).settle(42, 7)
    assert json.loads((tmp_path / NAME).read_text()).items() >= {"next": 42, "seq": 7}.items()


def test_logs_and_history_know_of_ids(tmp_path):
    warnings: list[str] = []
    assert highest_id_seen(tmp_path, None, warnings) == 0
    (tmp_path / "logs").mkdir()
    for name in ("3.log", "17.log", "99.log.old", "x.log", "007.log", "-5.log", "gflowd.log"):
        (tmp_path / "logs" / name).touch()
    assert highest_id_seen(tmp_path, None, warnings) == 17
    with closing(History(tmp_path)) as history:
        history.add([make_job(30, state=State.FINISHED)])
    assert highest_id_seen(tmp_path, None, warnings) == 30
    assert highest_id_seen(tmp_path, JobId(30), warnings) == 17, "ids that were never given are not believed"
    assert warnings == []


def test_logs_and_history_that_cannot_be_read_get_a_warning(tmp_path):
    (tmp_path / "logs").touch()
    (tmp_path / "history.sqlite").write_bytes(b"nonsense" * 1000)
    warnings: list[str] = []
    assert highest_id_seen(tmp_path, None, warnings) == 0
    assert len(warnings) == 2
    assert "logs: cannot be looked at" in warnings[0]
    assert "history.sqlite" in warnings[1]


# -- the latest --------------------------------------------------------------------------------------------------------


def test_where_things_stand_is_noted_at_the_cost_of_one_call(tmp_path):
    disk = FaultyDisk()
    ids = Ids(tmp_path, Mark(), 2, disk=disk)
    assert read_latest(tmp_path) is None
    ids.note(4, 9)
    disk.calls.clear()
    ids.note(5, 10)
    assert disk.calls == ["overwrite"]
    assert read_latest(tmp_path) == Mark(5, 10, 2)
    assert stat.S_IMODE((tmp_path / LATEST).stat().st_mode) == 0o600
    ids.close()
    assert disk.calls == ["overwrite", "sync"]


def test_the_latest_is_synced_when_ids_are_set_aside_and_at_a_stop(tmp_path):
    disk = FaultyDisk()
    ids = Ids(tmp_path, Mark(), disk=disk)
    ids.note(1, 1)
    disk.calls.clear()
    ids.reserve(2, 1)
    assert disk.calls[-2:] == ["sync_directory", "sync"]
    disk.calls.clear()
    ids.settle(2, 5)
    assert disk.calls[:2] == ["overwrite", "sync"]
    assert read_latest(tmp_path) == read_mark(tmp_path) == Mark(2, 5)


@pytest.mark.parametrize("call", ["open_in_place", "overwrite", "sync"])
def test_a_note_that_fails_leaves_the_one_before_and_stops_nobody(tmp_path, call):
    Ids(tmp_path, Mark()).note(4, 9)
    disk = FaultyDisk()
    disk.failing = {call: errno.EIO}
    ids = Ids(tmp_path, Mark(), disk=disk)
    ids.note(5, 10)
    ids.close()
    assert read_latest(tmp_path) == (Mark(5, 10) if call == "sync" else Mark(4, 9))


def test_nothing_is_noted_of_a_state_behind_the_mark(tmp_path):
    ids = Ids(tmp_path, Mark(500, 1000, 2), 1)
    ids.note(7, 5000)
    ids.settle(7, 5000)
    assert read_latest(tmp_path) is None
    Ids(tmp_path, Mark(500, 1000, 2), 3).note(501, 7)
    assert read_latest(tmp_path) == Mark(501, 7, 3)


def test_the_further_of_two_marks_counts():
    assert furthest(None, None) is None
    assert furthest(Mark(258, 0), None) == Mark(258, 0)
    assert furthest(Mark(258, 0), Mark(5, 9)) == Mark(258, 9)
    assert furthest(Mark(258, 0, 3), Mark(300, 9, 2)) == Mark(300, 0, 3)


def test_no_flipped_bit_changes_the_latest(tmp_path):
    ids = Ids(tmp_path, Mark(), 1)
    ids.note(12345, 678)
    good = (tmp_path / LATEST).read_bytes()
    for place in range(len(good) * 8):
        bad = bytearray(good)
        bad[place // 8] ^= 1 << place % 8
        (tmp_path / LATEST).write_bytes(bad)
        with pytest.raises(Damaged, match="does not hold a mark"):
            read_latest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0" * 36])
def test_a_file_the_power_left_empty_says_nothing(tmp_path, content):
    (tmp_path / LATEST).write_bytes(content)
    assert read_latest(tmp_path) is None
