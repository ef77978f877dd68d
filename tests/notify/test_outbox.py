"""The outbox: what is kept, for how long, and what a crash, a full disk and rot leave of it."""

import os
import random
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import gflow
from gflow.notify import outbox as module
from gflow.notify.changes import Changes, Row
from gflow.notify.outbox import NAME, START, GivenUp, Outbox, OutboxDamaged, OutboxError, Stored

BOTH = frozenset({"a", "b"})


@pytest.fixture
def outbox(tmp_path):
    opened = Outbox(tmp_path)
    yield opened
    opened.close()


def events(*numbers, keys=BOTH, size=0):
    changes = Changes(taken=max(numbers))
    for number in numbers:
        changes.add(number, "job_started", b'{"n":%d}' % number + b" " * size, dict.fromkeys(keys, 0))
    return changes


def rows(**standing):
    """Changes of deliveries: `a1=None` is delivery 1 to target a."""
    changes = Changes()
    for place, row in standing.items():
        changes.put(place[0], int(place[1:]), row)
    return changes


def numbers(outbox, key="a", after=START, besides=(), most=1000):
    return [one.number for one in outbox.waiting(key, after, besides, most)]


def test_turns_are_kept_and_so_is_how_much_waits_of_whom(tmp_path, outbox):
    outbox.save(events(1))
    later = Changes(taken=4)
    for number, owner, place in ((2, "ben", 7), (3, "ben", 8), (4, "ana", 7)):
        later.add(number, "job_failed", b"{}", {"a": place}, owner)
    outbox.save(later)
    outbox.close()
    again = Outbox(tmp_path)
    assert again.stock(BOTH, 0.0).shares == {"a": {"": (1, 0), "ben": (2, 8), "ana": (1, 7)}, "b": {"": (1, 0)}}
    assert numbers(again) == [1, 2, 4, 3]
    assert numbers(again, after=(7, 2)) == [4, 3]
    assert again.oldest_of("a", "ben", [2], 9) == [3]
    again.close()


def count_events(path):
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT count(*) FROM event").fetchone()[0]
    finally:
        database.close()


def test_what_is_written_is_there_for_the_next_daemon(tmp_path, outbox):
    outbox.save(events(1, 2, 3))
    outbox.save(rows(a1=None, a2=Row(2, 1700.5)))
    standing = Changes(standings={"a": "{}"})
    outbox.save(standing)
    outbox.close()
    again = Outbox(tmp_path)
    stock = again.stock(BOTH, 0.0)
    assert (stock.taken, stock.waiting, stock.standings, stock.set_aside) == (3, {"a": 2, "b": 3}, {"a": "{}"}, 0)
    assert again.waiting("a", START, (), 10) == [
        Stored(2, "job_started", b'{"n":2}', 2, 1700.5),
        Stored(3, "job_started", b'{"n":3}', 0, 0.0),
    ]
    again.close()


def test_a_new_one_is_empty_and_for_its_owner_only(tmp_path, outbox):
    before = os.umask(0o022)
    try:
        assert outbox.stock(BOTH, 0.0) == module.Stock(None, {}, {})
        outbox.save(events(1))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert NAME in modes
    assert set(modes.values()) == {0o600}


def test_it_is_read_piece_by_piece_without_what_is_in_memory(outbox):
    outbox.save(events(*range(1, 11)))
    assert numbers(outbox, most=3) == [1, 2, 3]
    assert numbers(outbox, after=(0, 3), most=3) == [4, 5, 6]
    assert numbers(outbox, after=(0, 3), besides=[4, 6], most=3) == [5, 7, 8]
    assert numbers(outbox, after=(0, 10)) == []


def test_an_event_goes_with_its_last_delivery(tmp_path, outbox):
    outbox.save(events(1, 2))
    outbox.save(rows(a1=None))
    outbox.close()
    assert count_events(tmp_path / NAME) == 2
    outbox.save(rows(b1=None, a2=None, b2=None))
    outbox.close()
    assert count_events(tmp_path / NAME) == 0


def test_given_up_deliveries_can_be_taken_back(outbox):
    outbox.save(events(1, 2))
    outbox.save(rows(a1=Row(4, 0.0, 1000.0, "refused"), a2=Row(1, 0.0, 2000.0, "gone")))
    assert numbers(outbox) == []
    assert outbox.given_up(9) == [
        GivenUp("a", 2, "job_started", 1, 2000.0, "gone"),
        GivenUp("a", 1, "job_started", 4, 1000.0, "refused"),
    ]
    assert outbox.take_back("a", 1) is True
    assert outbox.take_back("a", 1) is False, "it waits already"
    assert outbox.take_back("a", 3) is None
    assert outbox.waiting("a", START, (), 9) == [Stored(1, "job_started", b'{"n":1}', 0, 0.0)]


def test_only_the_last_given_up_ones_are_kept(tmp_path, outbox, monkeypatch):
    monkeypatch.setattr(module, "KEPT_GIVEN_UP", 3)
    outbox.save(events(*range(1, 11), keys={"a"}))
    for number in range(1, 9):
        outbox.save(rows(**{f"a{number}": Row(1, 0.0, 100.0 + number, "no")}))
    assert [one.number for one in outbox.given_up(99)] == [8, 7, 6]
    assert numbers(outbox) == [9, 10]
    outbox.close()
    assert count_events(tmp_path / NAME) == 5


def test_what_waits_for_targets_that_are_gone_is_given_up_and_goes_after_a_day(tmp_path, outbox):
    outbox.save(events(1, 2, 3))
    outbox.save(rows(b1=Row(1, 0.0, 100.0, "no")))
    outbox.save(Changes(standings={"b": "{}"}))
    stock = outbox.stock({"a"}, 200.0)
    assert (stock.waiting, stock.standings, stock.set_aside) == ({"a": 3}, {}, 2)
    assert [(one.target, one.number, one.why) for one in outbox.given_up(9)] == [
        ("b", 3, module.GONE),
        ("b", 2, module.GONE),
        ("b", 1, "no"),
    ]
    outbox.save(rows(a1=None, a2=None))
    assert outbox.stock({"a"}, 200.0 + module.KEPT_GONE_SECS).set_aside == 0
    assert [one.number for one in outbox.given_up(9)] == [3, 2]
    outbox.stock({"a"}, 201.0 + module.KEPT_GONE_SECS)
    outbox.close()
    assert count_events(tmp_path / NAME) == 1


def test_many_that_are_gone_do_not_push_out_those_that_failed(outbox, monkeypatch):
    monkeypatch.setattr(module, "KEPT_GIVEN_UP", 2)
    outbox.save(events(*range(1, 6)))
    outbox.save(rows(a1=Row(1, 0.0, 100.0, "no")))
    outbox.stock({"a"}, 200.0)
    outbox.save(rows(a2=Row(1, 0.0, 300.0, "no")))
    assert [one.number for one in outbox.given_up(99) if one.target == "a"] == [2, 1]
    assert [one.number for one in outbox.given_up(99) if one.target == "b"] == [5, 4, 3, 2, 1]


def test_what_waited_for_a_target_that_comes_back_waits_again(outbox):
    outbox.save(events(1, 2))
    outbox.save(rows(b1=Row(1, 0.0, 100.0, "no")))
    assert outbox.stock({"a"}, 200.0).set_aside == 1
    stock = outbox.stock(BOTH, 300.0)
    assert (stock.waiting, stock.set_aside) == ({"a": 2, "b": 1}, 0)
    assert numbers(outbox, "b") == [2]


def test_the_one_that_is_left_of_two_targets_with_one_address_gets_what_waits_for_both(outbox):
    outbox.save(events(1, 2, keys={"a"}))
    outbox.save(events(3, 4, keys={"a-2"}))
    outbox.save(events(5, keys={"a", "a-2"}))
    stock = outbox.stock({"a"}, 200.0)
    assert (stock.waiting, numbers(outbox)) == ({"a": 5}, [1, 2, 3, 4, 5])


def test_a_write_is_synced_where_that_is_asked_for(outbox):
    said = []
    outbox.stock(BOTH, 0.0)
    outbox._connection.set_trace_callback(said.append)
    for number, sure in ((1, False), (2, True), (3, False)):
        outbox.save(events(number), sure)
        level = outbox._connection.execute("PRAGMA synchronous").fetchone()[0]
        assert level == (2 if sure else 1)
    begun = [line for line in said if line.startswith(("PRAGMA synchronous =", "BEGIN"))]
    assert begun == [
        f"PRAGMA synchronous = {level}" if level else "BEGIN "
        for level in ("NORMAL", None, "FULL", None, "NORMAL", None)
    ]


def test_ids_of_one_outbox_are_no_others(tmp_path, outbox):
    (tmp_path / "other").mkdir()
    other, same = Outbox(tmp_path / "other"), Outbox(tmp_path)
    assert outbox.origin != other.origin
    first = outbox.origin
    outbox.stock(BOTH, 0.0)
    outbox.close()
    same.stock(BOTH, 0.0)
    assert (same.origin, len(first), first.isalpha()) == (first, 6, True)
    same.close()


def test_an_empty_file_is_said(tmp_path, outbox, caplog):
    outbox.stock(BOTH, 0.0)
    outbox.close()
    assert caplog.text == ""
    (tmp_path / NAME).write_bytes(b"")
    for companion in tmp_path.glob(f"{NAME}-*"):
        companion.unlink()
    assert outbox.stock(BOTH, 0.0).waiting == {}
    assert f"{NAME} is empty: the deliveries that were in it are lost" in caplog.text


def test_how_far_it_got_can_be_seen_before_it_is_there(tmp_path, outbox):
    assert (outbox.taken(), list(tmp_path.iterdir())) == (None, [])
    outbox.save(events(1, 2))
    outbox.save(Changes(facts={"lost": "7"}))
    assert (outbox.taken(), outbox.stock(BOTH, 0.0).lost) == (2, 7)


def test_one_of_the_first_format_is_taken_up(tmp_path, outbox):
    outbox.save(events(1, 2))
    outbox.close()
    database = sqlite3.connect(tmp_path / NAME)
    database.executescript(
        "DROP TABLE fact; DROP INDEX delivery_turn; ALTER TABLE event DROP COLUMN owner;"
        " ALTER TABLE delivery DROP COLUMN place; PRAGMA user_version = 1;"
    )
    database.close()
    again = Outbox(tmp_path)
    assert again.stock(BOTH, 0.0).waiting == {"a": 2, "b": 2}
    again.close()


def test_forgetting_how_far_it_got(outbox):
    outbox.save(events(1))
    outbox.forget_taken()
    assert (outbox.stock(BOTH, 0.0).taken, numbers(outbox)) == (None, [1])


def test_numbers_that_are_used_again_are_of_the_later_event(outbox):
    outbox.save(events(1))
    later = Changes(taken=1)
    later.add(1, "job_failed", b"{}", {"a": 0})
    outbox.save(later)
    assert outbox.waiting("a", START, (), 9) == [Stored(1, "job_failed", b"{}", 0, 0.0)]


# -- changes ---------------------------------------------------------------------------------------------------------


def test_what_came_and_went_is_nothing_to_write():
    changes = events(1, 2)
    for key in BOTH:
        changes.put(key, 1, None)
    assert set(changes.events) == {2}
    assert set(changes.rows) == {("a", 2), ("b", 2)}


@pytest.mark.parametrize(
    ("earlier", "later", "left"),
    [
        ({"a1": Row()}, {"a1": None}, {("a", 1): None}),
        ({"a1": None}, {"a1": Row()}, {("a", 1): Row()}),
        ({"a1": Row(1)}, {"a1": Row(2)}, {("a", 1): Row(2)}),
        ({"a1": Row(1)}, {"b1": None}, {("a", 1): Row(1), ("b", 1): None}),
    ],
)
def test_changes_that_could_not_be_written_become_one_with_later_ones(earlier, later, left):
    changes = rows(**earlier)
    assert changes.with_later(rows(**later)).rows == left


def test_an_event_that_was_done_with_while_it_was_written_in_vain_may_be_there_all_the_same():
    changes = events(1)
    changes.attempt()
    changes = changes.with_later(rows(a1=None, b1=None))
    assert (changes.events, changes.rows, changes.taken) == ({}, {("a", 1): None, ("b", 1): None}, 1)
    changes = changes.with_later(events(2))
    assert (set(changes.events), changes.taken) == ({2}, 2)


# -- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment_it_has_all_that_was_acknowledged(tmp_path, seed):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(gflow.__file__).parents[1]), "tests"])}
    chance = random.Random(seed)
    first = 1
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-m", "support.outbox_writer", str(tmp_path), str(first)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        acknowledged = first - 1
        for _ in range(chance.randrange(1, 200)):
            acknowledged = int(writer.stdout.readline())
        writer.kill()
        rest = writer.stdout.read().split()
        writer.wait(20)
        writer.stdout.close()
        acknowledged = int(rest[-1]) if rest else acknowledged
        outbox = Outbox(tmp_path)
        stock = outbox.stock(BOTH, 0.0)
        outbox_a, outbox_b = numbers(outbox, most=9999), numbers(outbox, "b", most=9999)
        outbox.close()
        assert stock.taken in (acknowledged, acknowledged + 1), "a batch may be there whose acknowledgement is not"
        assert outbox_b == list(range(1, stock.taken + 1))
        assert outbox_a == list(range(max(1, stock.taken - 1), stock.taken + 1))
        first = stock.taken + 1


def test_a_full_disk_leaves_what_was_there_and_goes_when_there_is_room(outbox):
    outbox.save(events(1))
    pages = outbox._connection.execute("PRAGMA page_count").fetchone()[0]
    outbox._connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()
    full = events(*range(2, 200), size=4000)
    with pytest.raises(OutboxError, match=r"outbox\.sqlite: database or disk is full"):
        outbox.save(full)
    assert outbox.stock(BOTH, 0.0).taken == 1
    assert numbers(outbox) == [1]
    outbox.save(full)
    assert numbers(outbox) == list(range(1, 200))


def test_a_directory_in_its_place_and_one_that_may_not_be_written(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(OutboxError, match=r"outbox\.sqlite: "):
        Outbox(tmp_path).stock(BOTH, 0.0)
    with pytest.raises(OutboxError, match=r"outbox\.sqlite: No such file"):
        Outbox(tmp_path / "missing").save(events(1))


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to be one" * 40, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_what_is_no_outbox_is_told_apart_and_set_aside(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    outbox = Outbox(tmp_path)
    with pytest.raises(OutboxDamaged, match=r"outbox\.sqlite: "):
        outbox.stock(BOTH, 0.0)
    aside = outbox.set_aside(1700.9)
    assert (aside.name, aside.read_bytes()) == (f"{NAME}.corrupt.1700", content)
    outbox.save(events(1))
    assert numbers(outbox) == [1]
    outbox.close()


def test_another_programs_database_and_a_later_version_are_not_touched(tmp_path, outbox):
    outbox.save(events(1))
    outbox.close()
    for pragma, says in (
        ("user_version = 9", "format version 9"),
        ("application_id = 7", "not written by this program"),
    ):
        database = sqlite3.connect(tmp_path / NAME)
        database.execute(f"PRAGMA {pragma}")
        database.close()
        with pytest.raises(OutboxDamaged, match=says):
            outbox.stock(BOTH, 0.0)


def test_rot_in_the_middle_is_noticed(tmp_path, outbox):
    outbox.save(events(*range(1, 400), size=500))
    outbox.close()
    path = tmp_path / NAME
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * (len(content) // 4096 - 1)] = os.urandom(len(content) - 4096 * 4)
    path.write_bytes(content)
    with pytest.raises(OutboxDamaged):
        outbox.stock(BOTH, 0.0)
