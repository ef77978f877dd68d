"""Whatever is wrong with a file is named, with its byte, and nothing is changed by looking."""

import errno
import json
import os
import struct
import zlib
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.model import JobId, State
from gflow.store import acknowledged
from gflow.store.errors import Unreadable
from gflow.store.history import History
from gflow.store.ids import Ids, Mark
from gflow.store.load import load
from gflow.store.log import Log, remove_segments
from gflow.store.records import encode
from gflow.store.recovery.journal import Changes, Journal
from gflow.store.recovery.opening import MERGED
from gflow.store.snapshot import NAME, PREVIOUS, Snapshot, write_snapshot
from gflow.store.spool import Spool
from gflow.store.upkeep import check_state
from gflow.store.upkeep.check import check
from gflow.store.upkeep.finding import Verdict
from gflow.store.wal import HEADER_BYTES, read_segment, segment_path
from support.effort import examples
from support.ledger import Ledger

FIRST, SECOND, THIRD = "wal-00000001.log", "wal-00000002.log", "wal-00000003.log"


class Book:
    """A data directory as a daemon leaves it: two snapshots, and a segment before, between and after them."""

    def __init__(self, path):
        path.chmod(0o700)
        self.path = path
        self.ledger = Ledger()
        self.log = Log(path, 0)
        for _ in range(4):
            self.write(self.ledger.submitted(command="true" * 100))
        self.snapshot()
        for _ in range(4):
            self.write(self.ledger.submitted())
        self.snapshot(remove_before=2)
        for _ in range(4):
            self.write(self.ledger.submitted())
        self.log.close()

    def write(self, *transactions):
        self.log.append([encode(transaction) for transaction in transactions], transactions[0].seq)

    def snapshot(self, remove_before=1):
        segment = self.log.rotate(self.ledger.seq + 1)
        write_snapshot(self.path, Snapshot(self.ledger.seq, segment, self.ledger.state()))
        remove_segments(self.path, remove_before)

    def frames(self, number):
        return read_segment(segment_path(self.path, number), number).frames

    def change(self, name, offset, data):
        with (self.path / name).open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def flip(self, name, offset):
        self.change(name, offset, bytes([(self.path / name).read_bytes()[offset] ^ 0x10]))

    def cut(self, name, size):
        os.truncate(self.path / name, size)

    def check(self, *, running=False):
        """What is found, by name. Fails if looking changed anything."""
        before = contents(self.path)
        found = {finding.name: finding for finding in check(self.path, running=running)}
        assert contents(self.path) == before
        return found


def contents(path):
    return {
        str(file.relative_to(path)): (file.stat().st_mode, file.is_file() and file.read_bytes())
        for file in path.rglob("*")
    }


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path)


def verdicts(found):
    return {name: finding.verdict for name, finding in found.items() if not finding.well}


def places(finding):
    return [problem.offset for problem in finding.problems]


def test_a_directory_in_which_all_is_well(book):
    found = book.check()
    assert verdicts(found) == {}
    assert found[NAME].says == f"8 jobs as of transaction 8, {(book.path / NAME).stat().st_size} bytes"
    assert found[PREVIOUS].says.startswith("4 jobs as of transaction 4, ")
    assert found[SECOND].says.startswith("4 transactions (5 to 8), ")
    assert found[THIRD].says.startswith("4 transactions (9 to 12), ")
    assert found["state"].says == "12 jobs as of transaction 12; the next job is 13"
    assert found["wal.acknowledged"].says == "everything up to transaction 12 was on disk"
    assert found["history.sqlite"].verdict is Verdict.ABSENT
    assert all(finding.notes == [] for name, finding in found.items() if name != SECOND)
    assert found[SECOND].notes == ["from before the snapshot"]


def test_an_empty_directory_is_well(tmp_path):
    tmp_path.chmod(0o700)
    found = {finding.name: finding for finding in check(tmp_path, running=False)}
    assert verdicts(found) == {}
    assert {finding.verdict for finding in found.values()} == {Verdict.ABSENT, Verdict.OK}
    assert os.listdir(tmp_path) == []


# -- snapshots ---------------------------------------------------------------------------------------------------------


def test_a_snapshot_that_was_cut_short_says_where_it_ends(book):
    book.cut(NAME, 700)
    found = book.check()
    assert verdicts(found) == {NAME: Verdict.DAMAGED, "state": Verdict.UNREADABLE}
    whole, part = found[NAME].problems
    assert (whole.offset, part.what) == (0, "the value that starts here goes on beyond the end of the file")
    assert 0 < part.offset <= 700
    assert f"move it away: {PREVIOUS}" in found[NAME].problems[0].advice


def test_what_is_advised_about_a_snapshot_works(book):
    book.flip(NAME, 300)
    assert "move it away" in book.check()[NAME].problems[0].advice
    (book.path / NAME).rename(book.path / "away")
    assert verdicts(book.check()) == {}
    assert load(book.path).seq == 12


def test_a_snapshot_with_zeros_in_it_says_where(book):
    (book.path / PREVIOUS).unlink()
    size = (book.path / NAME).stat().st_size
    assert size > 1536
    book.change(NAME, 512, bytes(1024))
    found = book.check()[NAME]
    assert (found.problems[1].offset, found.problems[1].what) == (512, "nothing but zeros up to byte 1536")
    assert "put back a good copy" in found.problems[0].advice


def test_the_previous_snapshot_is_only_needed_in_need(book):
    book.flip(PREVIOUS, 100)
    found = book.check()
    assert verdicts(found) == {PREVIOUS: Verdict.DAMAGED}
    assert "nothing is lost" in found[PREVIOUS].problems[0].advice
    book.flip(NAME, 100)
    found = book.check()
    assert verdicts(found) == {NAME: Verdict.DAMAGED, PREVIOUS: Verdict.DAMAGED, "state": Verdict.UNREADABLE}
    assert "put back a good copy" in found[NAME].problems[0].advice


def test_files_of_a_newer_gflow_and_of_another_program(book):
    data = (book.path / NAME).read_bytes()
    newer = data[:-5].replace(b"version\x01", b"version\x02", 1)
    (book.path / NAME).write_bytes(newer + struct.pack(">BI", 0xCE, zlib.crc32(newer)))
    (book.path / PREVIOUS).write_bytes(b"\x83\xa7version\x04" * 20)
    header = struct.pack("<8sIIQ", b"gflowwal", 2, 2, 5)
    book.change(SECOND, 0, header + struct.pack("<I", zlib.crc32(header)))
    found = book.check()
    assert verdicts(found) == {
        NAME: Verdict.NEWER,
        PREVIOUS: Verdict.FOREIGN,
        SECOND: Verdict.NEWER,
        "state": Verdict.UNREADABLE,
    }
    assert "use a gflow that is as new" in found[NAME].problems[0].advice
    assert "takes it over at its next start" in found[PREVIOUS].problems[0].advice


def test_files_that_cannot_be_read(book, monkeypatch):
    """Root may read everything, so the disk has to say no."""
    read = {name: getattr(check_state, name) for name in ("read_snapshot", "read_segment")}

    def refuse(kind, refused):
        def refusing(path, *number):
            if path.name == refused:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return read[kind](path, *number)

        monkeypatch.setattr(check_state, kind, refusing)

    refuse("read_segment", THIRD)
    found = book.check()
    assert (found[THIRD].verdict, found[THIRD].problems[0].what) == (Verdict.UNREADABLE, "Permission denied")
    refuse("read_snapshot", NAME)
    found = book.check()
    assert (found[NAME].verdict, found[NAME].problems[0].what) == (Verdict.UNREADABLE, "Permission denied")
    assert "readable for the user" in found[NAME].problems[0].advice


# -- the log -----------------------------------------------------------------------------------------------------------


def test_damage_in_the_middle_is_named_with_its_first_byte_and_what_is_missing(book):
    second, third = book.frames(3)[1:3]
    book.flip(THIRD, second.offset + 30)
    found = book.check()
    assert verdicts(found) == {THIRD: Verdict.DAMAGED, "state": Verdict.UNREADABLE}
    assert places(found[THIRD]) == [second.offset]
    assert f"no record can be read up to byte {third.offset}" in found[THIRD].problems[0].what
    assert found[THIRD].says.startswith("3 transactions (9 to 12), ")
    missing = f"transaction 10 is missing (at byte {third.offset} of {THIRD})"
    assert [problem.what for problem in found["state"].problems[1:]] == [missing]


def test_every_damaged_place_is_named(book):
    first, second, third, _ = book.frames(3)
    book.flip(THIRD, first.offset + 20)
    book.flip(THIRD, third.offset + 20)
    frame = book.frames(2)[2]
    book.flip(SECOND, frame.offset + 20)
    found = book.check()
    assert places(found[THIRD]) == [first.offset, third.offset]
    assert places(found[SECOND]) == [frame.offset]
    assert [str(problem.what).split(" (")[0] for problem in found["state"].problems[1:]] == [
        "transaction 9 is missing",
        "transaction 11 is missing",
    ]
    assert second.offset > first.offset


def test_a_segment_of_before_the_snapshot_is_not_needed(book):
    book.flip(SECOND, HEADER_BYTES + 20)
    found = book.check()
    assert verdicts(found) == {SECOND: Verdict.DAMAGED}
    assert "nothing is lost" in found[SECOND].problems[0].advice


def test_an_unreadable_header_leaves_the_records(book):
    book.flip(THIRD, 4)
    found = book.check()
    assert (places(found[THIRD]), found[THIRD].problems[0].what) == ([0], "its header is unreadable")
    assert found[THIRD].says.startswith("4 transactions (9 to 12), ")


def test_a_segment_under_another_name(book):
    (book.path / THIRD).rename(book.path / "wal-00000004.log")
    found = book.check()
    assert "it is segment 00000003 under another name" in found["wal-00000004.log"].problems[0].what
    assert found["state"].verdict is Verdict.UNREADABLE


def test_a_missing_segment_is_told_by_what_is_not_there(book):
    book.write(book.ledger.submitted())
    (book.path / THIRD).unlink()
    found = book.check()
    assert verdicts(found) == {"state": Verdict.UNREADABLE}
    assert "the log that follows the snapshot is missing" in found["state"].problems[0].what
    assert "transactions 9 to 12 are missing (at byte 0 of wal-00000004.log)" in found["state"].problems[1].what


def test_an_unfinished_write_is_one_byte_by_byte(book):
    whole = (book.path / THIRD).read_bytes()
    (book.path / acknowledged.NAME).unlink()
    last = book.frames(3)[-1]
    for size in range(last.offset + 1, len(whole)):
        (book.path / THIRD).write_bytes(whole[:size])
        found = book.check()
        assert verdicts(found) == {THIRD: Verdict.TORN}
        assert places(found[THIRD]) == [last.offset]
        assert found["state"].says == "11 jobs as of transaction 11; the next job is 12"
        found = book.check(running=True)
        assert verdicts(found) == {}
        assert found[THIRD].notes == [f"from byte {last.offset} on, a write that is under way"]


def test_what_was_acknowledged_is_no_unfinished_write(book):
    last = book.frames(3)[-1]
    book.cut(THIRD, last.offset + 9)
    found = book.check(running=True)
    assert verdicts(found) == {THIRD: Verdict.DAMAGED, "state": Verdict.UNREADABLE}
    assert "was acknowledged" in found[THIRD].problems[0].what
    assert f"transaction 12 is missing (at byte {last.offset} of {THIRD})" in found["state"].problems[1].what
    book.cut(THIRD, last.offset)
    assert verdicts(book.check()) == {"state": Verdict.UNREADABLE}


def test_an_older_unfinished_write_is_of_no_consequence(book):
    with (book.path / THIRD).open("ab") as file:
        file.write(b"\xc1gf\x01\x40\0\0\0")
    with closing(Log(book.path, 3)) as log:
        log.append([encode(book.ledger.submitted())], 13)
    found = book.check()
    assert verdicts(found) == {}
    assert "the next segment went on instead" in found[THIRD].notes[0]


def test_a_record_that_makes_no_sense_though_its_checksum_is_right(book):
    with closing(Log(book.path, 3)) as log:
        log.append([b"\x80", encode(book.ledger.submitted())], 13)
    found = book.check()
    assert places(found["wal-00000004.log"]) == [HEADER_BYTES]
    assert "makes no sense" in found["wal-00000004.log"].problems[0].what


@settings(max_examples=examples(120))
@given(data=st.data())
def test_what_cannot_be_loaded_is_never_called_well(tmp_path, data):
    """Whatever happens to any file of the state: either it can be loaded, or something is named."""
    directory = tmp_path / os.urandom(8).hex()
    directory.mkdir()
    book = Book(directory)
    for _ in range(data.draw(st.integers(1, 2))):
        name = data.draw(st.sampled_from([NAME, PREVIOUS, SECOND, THIRD, acknowledged.NAME]))
        size = (directory / name).stat().st_size
        at = data.draw(st.integers(0, max(0, size - 1)))
        match data.draw(st.sampled_from(["flip", "zero", "cut", "remove"])):
            case "flip" if size:
                book.flip(name, at)
            case "zero":
                book.change(name, at, bytes(min(64, size - at)))
            case "cut":
                book.cut(name, at)
            case "remove" if name != acknowledged.NAME:
                (directory / name).write_bytes(b"")
            case _:
                continue
    found = book.check()
    try:
        loaded = load(directory)
    except Unreadable:
        assert found["state"].verdict is Verdict.UNREADABLE
    else:
        assert found["state"].well
        lost = [problem for finding in found.values() for problem in finding.problems]
        assert loaded.seq == 12 or lost or (book.path / acknowledged.NAME).read_bytes().strip(b"\0") == b""


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_the_history_is_looked_into(book):
    ended = [replace(job, state=State.FINISHED, finished_at=1.0) for job in list(book.ledger.jobs.values())[:3]]
    with closing(History(book.path)) as history:
        history.add(ended)
        assert book.check()["history.sqlite"].says == "3 jobs"
        with history._transaction() as database:
            database.execute("UPDATE job SET owner = 'eve' WHERE id = 2")
    found = book.check()
    assert verdicts(found) == {"history.sqlite": Verdict.DAMAGED}
    assert found["history.sqlite"].problems[0].what == "the record of job 2 has changed since it was written"
    book.change("history.sqlite", 0, b"not a database, not at all")
    assert verdicts(book.check()) == {"history.sqlite": Verdict.DAMAGED}


def test_the_mark_of_the_ids(book):
    Ids(book.path, Mark(), 0).settle(13, 12)
    found = book.check()
    assert (verdicts(found), found["ids"].says) == ({}, "ids below 13 were given or set aside as of transaction 12")
    Ids(book.path, Mark(), 0).settle(400, 90)
    found = book.check()
    assert verdicts(found) == {"ids": Verdict.OLDER, "ids.latest": Verdict.OLDER}
    assert "put back from an earlier day" in found["ids"].problems[0].what
    assert "job 400" in found["ids"].problems[0].advice
    (book.path / "ids.latest").unlink()
    (book.path / "ids").write_text("{}")
    assert verdicts(book.check()) == {"ids": Verdict.DAMAGED}


def test_where_things_stood_after_the_last_batch(book):
    seq = book.ledger.seq
    assert book.check()["ids.latest"].verdict is Verdict.ABSENT
    ids = Ids(book.path, Mark(), 0)
    ids.reserve(13, 0)
    ids.note(13, seq)
    found = book.check()
    assert (verdicts(found), found["ids.latest"].says) == ({}, f"the next job was 13 as of transaction {seq}")
    ids.note(14, seq + 1)
    found = book.check()
    assert verdicts(found) == {"ids.latest": Verdict.OLDER}
    assert f"the state ends at transaction {seq}" in found["ids.latest"].problems[0].what
    assert "job 269" in found["ids.latest"].problems[0].advice, "none of those set aside"
    ids.close()
    (book.path / "ids.latest").write_bytes(b"gflowids")
    assert verdicts(book.check()) == {"ids.latest": Verdict.DAMAGED}


def test_a_journal_that_is_as_new_as_the_ids_makes_no_state_older(book):
    journal, ids = Journal(book.path, "r1", (0, 0), Changes()), Ids(book.path, Mark(), 0)
    journal.save([], book.ledger.state(), 99)
    ids.note(13, 99)
    assert verdicts(book.check()) == {"state.journal.jsonl": Verdict.PENDING}
    ids.note(14, 100)
    assert book.check()["ids.latest"].verdict is Verdict.OLDER
    book.flip(NAME, 200)
    assert book.check()["ids.latest"].verdict is Verdict.OLDER
    ids.close()


def test_the_journal_of_a_recovery(book):
    assert book.check()["state.journal.jsonl"].says == "nothing in it"
    Journal(book.path, "r1", (0, 0), Changes()).save([], book.ledger.state(), 99)
    found = book.check()
    assert verdicts(found) == {"state.journal.jsonl": Verdict.PENDING}
    assert "has not taken it over yet" in found["state.journal.jsonl"].problems[0].what
    book.log = Log(book.path, 3)
    book.write(book.ledger.changed(settings={MERGED: "r1"}))
    book.log.close()
    assert verdicts(book.check()) == {}
    book.flip(NAME, 200)
    assert "gflowd is in recovery" in book.check()["state.journal.jsonl"].problems[0].what
    book.cut("state.journal.jsonl", 40)
    assert book.check()["state.journal.jsonl"].verdict is Verdict.DAMAGED


def needing(book, **digests):
    book.log = Log(book.path, 3)
    book.write(book.ledger.submitted(1, **digests))
    book.log.close()


def test_the_spool_has_what_jobs_need_and_the_rest_is_only_mentioned(book):
    spool = Spool(book.path / "spool")
    needed, spare = spool.put("env", b"A=1\0"), spool.put("script", b"true\n")
    needing(book, environment=needed)
    found = book.check()
    assert verdicts(found) == {}
    assert found["spool/"].says == "2 files, 1 of them needed"
    assert found["spool/"].notes == ["1 file that no job needs; gflowd removes such"]
    spool.path("env", needed).write_bytes(b"B=1\0")
    found = book.check()
    assert verdicts(found) == {"spool/": Verdict.DAMAGED}
    assert found["spool/"].problems[0].what == f"env/{needed} is not what was stored; needed by job 13"
    spool.path("env", needed).unlink()
    assert verdicts(book.check()) == {"spool/": Verdict.MISSING}
    assert spare


def test_logs_of_unknown_jobs_are_only_mentioned(book):
    logs = book.path / "logs"
    logs.mkdir()
    for number in (1, 5, *range(70, 90)):
        (logs / f"{number}.log").touch()
    (logs / "notes.txt").touch()
    found = book.check()
    assert (verdicts(found), found["logs/"].says) == ({}, "22 logs")
    assert found["logs/"].notes == [
        "of jobs that nobody knows any more: logs 70, 71, 72, 73, 74, 75, 76, 77, 78, 79 and 10 more"
    ]


def test_copies_and_open_modes_are_mentioned(book):
    (book.path / f"{NAME}.corrupt.1700000000").write_bytes(b"12345")
    (book.path / THIRD).chmod(0o640)
    found = book.check()
    assert verdicts(found) == {}
    assert found["copies"].says == f"5 bytes: {NAME}.corrupt.1700000000"
    assert [note for note in found["state"].notes if THIRD in note] == [
        f"{book.path / THIRD} is open to others: chmod go= {book.path / THIRD}"
    ]


def test_a_file_replaced_while_it_is_looked_for_is_looked_for_again(book, monkeypatch):
    """The daemon compacts: what the first look saw is gone, what the second sees is whole."""
    looks = []

    def look(path):
        looks.append(path)
        if len(looks) == 1:
            book.log = Log(book.path, 3)
            book.snapshot(remove_before=3)
            book.log.close()
            raise FileNotFoundError(errno.ENOENT, "gone", str(segment_path(path, 2)))
        return load(path)

    monkeypatch.setattr("gflow.store.upkeep.check.load", look)
    found = {finding.name: finding for finding in check(book.path, running=True)}
    assert (verdicts(found), len(looks)) == ({}, 2)
    assert SECOND not in found


def test_a_file_that_goes_between_two_looks_at_it(book, monkeypatch):
    """Between the renames of a compaction there is no snapshot for a moment."""
    read = check_state.read_snapshot
    reads = []

    def read_and_rename(path):
        if (book.path / "new").exists():
            (book.path / "new").replace(book.path / NAME)
        snapshot = read(path)
        reads.append(path)
        if len(reads) == 1:
            (book.path / "new").write_bytes(path.read_bytes())
            path.replace(book.path / PREVIOUS)
        return snapshot

    monkeypatch.setattr(check_state, "read_snapshot", read_and_rename)
    found = {finding.name: finding for finding in check(book.path, running=True)}
    assert verdicts(found) == {}
    assert found[NAME].says.startswith("8 jobs as of transaction 8, ")
    assert len(reads) == 3


def test_all_of_it_can_be_said_in_json(book):
    book.flip(THIRD, HEADER_BYTES + 20)
    document = json.loads(json.dumps([finding.as_data() for finding in check(book.path, running=False)]))
    (damaged,) = [finding for finding in document if finding["name"] == THIRD]
    assert (damaged["verdict"], damaged["problems"][0]["offset"]) == ("damaged", HEADER_BYTES)
    assert set(damaged) == {"name", "verdict", "says", "problems", "notes"}
    assert JobId(1) in book.ledger.jobs
