"""Ended jobs in SQLite: found by every condition, summed right, and never wrong without a word."""

import contextlib
import itertools
import os
import sqlite3
import stat
import time
import zlib
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.days import day_start
from gflow.core.ended import Ended
from gflow.core.lifecycle import FINAL
from gflow.core.model import GpuUse, JobId, Now, State
from gflow.core.selection import Selection
from gflow.core.usage import usage_by, usage_by_day, usage_of
from gflow.store import history as module
from gflow.store.codec import pack
from gflow.store.history import NAME, History, HistoryError
from gflow.wire.columns import COLUMNS, ENDED_COLUMNS, Row, ended_line, line
from support.effort import examples
from support.ledger import make_job
from support.strategies import jobs as any_jobs

NOW = Now(2_000_000_000.0, 1000.0)


def ended(job_id, state=State.FINISHED, *, ran=10.0, held=0, finished_at=None, mean_pct=None, **spec):
    """A job that has run."""
    job = make_job(job_id, state=state, gpus=held, **spec)
    start = job.submitted_at + 5
    use = None if mean_pct is None else GpuUse(samples=3, mean_pct=mean_pct)
    ran_so = {"started_at": start, "finished_at": finished_at or start + ran, "exit_code": 0, "gpu_use": use}
    return replace(job, **ran_so, gpu_ids=tuple(range(held)))


@pytest.fixture
def history(tmp_path):
    opened = History(tmp_path)
    yield opened
    opened.close()


def ids(jobs):
    return [job.id for job in jobs]


@contextmanager
def opened(path):
    """The database itself; what is changed is kept."""
    with closing(sqlite3.connect(path)) as database, database:
        yield database


def test_before_there_is_anything_there_is_no_file(history, tmp_path):
    assert history.get([JobId(1)]) == {}
    assert history.page(Selection(), after=None, most=10) == []
    assert (history.count(), history.highest_id(), history.remove([JobId(1)]), history.check()) == (0, 0, 0, [])
    assert history.usage(Selection()) == usage_of([], NOW)
    assert list(tmp_path.iterdir()) == []


def test_what_was_added_is_there_for_another_reader(history, tmp_path):
    jobs = [ended(3), ended(1), ended(2, State.FAILED)]
    history.add(jobs)
    with closing(History(tmp_path)) as other:
        assert other.get([JobId(2), JobId(3), JobId(9)]) == {2: jobs[2], 3: jobs[0]}
    assert history.highest_id() == 3


def test_the_file_is_private_from_birth(history, tmp_path):
    old = os.umask(0)
    try:
        history.add([ended(1)])
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_of_a_job_that_comes_again_the_later_record_counts(history):
    """It may have been recalled, and done again, meanwhile."""
    history.add([ended(1)])
    history.add([replace(ended(1), redone_as=JobId(7)), ended(2)])
    assert history.get([JobId(1)])[JobId(1)].redone_as == 7
    assert history.count() == 2


@given(job=any_jobs)
@settings(max_examples=examples(60))
def test_every_ended_job_comes_back_as_it_was(tmp_path_factory, job):
    job = replace(job, state=State.CANCELLED, finished_at=job.submitted_at)
    found = Selection(owners=frozenset({job.spec.owner}), names=frozenset({job.run_name}), project=job.spec.project)
    with closing(History(tmp_path_factory.mktemp("history"))) as history:
        history.add([job])
        assert history.get([job.id]) == {job.id: job}
        assert history.page(found, after=None, most=1) == [job]
        assert history.check() == []


ASSORTED = [
    ended(
        number,
        state,
        owner=owner,
        project=project,
        ran=float(number % 7),
        held=number % 3,
        mean_pct=12.5 * (number % 9) if number % 4 and number % 3 else None,
        finished_at=None if number % 5 else 1_800_000_000.0,
    )
    for number, (state, owner, project) in enumerate(
        itertools.product(sorted(FINAL), ["ada", "ben"], [None, "vision", "a'b"]), start=1
    )
]
SELECTIONS = [
    Selection(),
    Selection(states=frozenset({State.FAILED, State.QUEUED})),
    Selection(states=frozenset()),
    Selection(owners=frozenset({"ben", "nobody"})),
    Selection(names=frozenset({"calm-otter-0003", "calm-otter-0020"})),
    Selection(project="a'b"),
    Selection(since=1_700_000_012.0),
    Selection(owners=frozenset({"ada"}), project="vision", since=1_700_000_003.0, states=FINAL),
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=range(len(SELECTIONS)))
def test_conditions_mean_the_same_as_for_jobs_at_hand(history, selection):
    history.add(ASSORTED)
    meant = list(selection.of(ASSORTED))
    assert history.page(selection, after=None, most=100) == meant
    assert history.page(selection, after=None, most=100, newest_first=True) == meant[::-1]
    assert history.count(selection) == len(meant)
    assert history.count(selection, besides=[JobId(3), JobId(4)]) == len([job for job in meant if job.id not in (3, 4)])
    assert history.usage(selection) == usage_of(meant, NOW)
    others = [job for job in meant if job.id > 2]
    assert history.usage(selection, besides=[JobId(1), JobId(2)]) == usage_of(others, NOW)


@pytest.mark.parametrize("selection", SELECTIONS, ids=range(len(SELECTIONS)))
def test_sums_of_each_user_and_project_are_those_of_jobs_at_hand(history, selection):
    history.add(ASSORTED)
    others = [job for job in selection.of(ASSORTED) if job.id != 7]
    for key, own in (("user", lambda job: job.spec.owner), ("project", lambda job: job.spec.project or "")):
        found = usage_by(others, NOW, own)
        for usage in found.values():
            usage.longest = []
        assert history.usage_by(selection, key, besides=[JobId(7)]) == found


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


SPRING = 1_678_500_000.0  # 2023-03-11, a day before clocks in New York went forward
RUNS = st.tuples(st.floats(0, 5 * 86400), st.floats(0, 3 * 86400), st.integers(0, 3), st.none() | st.floats(0, 100))


@given(runs=st.lists(RUNS, min_size=1, max_size=8), since=st.floats(SPRING - 86400, SPRING + 4 * 86400))
@settings(max_examples=examples(8))
def test_every_day_has_what_was_used_on_it(tmp_path_factory, zone, runs, since):
    first = day_start(since)
    jobs = [
        replace(ended(at, held=held, mean_pct=mean), started_at=SPRING + start, finished_at=SPRING + start + ran)
        for at, (start, ran, held, mean) in enumerate(runs, start=1)
    ]
    expected = usage_by_day(jobs, NOW, first)
    with closing(History(tmp_path_factory.mktemp("days"))) as history:
        history.add(jobs)
        found = history.usage_by_day(Selection(), first)
    assert found.keys() == expected.keys()
    for day, usage in found.items():
        same = expected[day]
        assert (usage.states, usage.started, usage.measured) == (same.states, same.started, same.measured)
        for sums in ("run_secs", "gpu_secs", "measured_gpu_secs", "busy_gpu_secs", "wait_secs"):
            assert getattr(usage, sums) == pytest.approx(getattr(same, sums), abs=1e-3), (day, sums)
    in_all = sum(max(0.0, j.finished_at - max(j.started_at, first)) for j in jobs if j.finished_at >= first)
    assert sum(usage.run_secs for usage in found.values()) == pytest.approx(in_all, abs=1e-3)


BRIEF = list(ENDED_COLUMNS)


def brief_lines(history):
    """What the queue says of all that is kept, told briefly."""
    found, _, unreadable = history.briefly(Selection(), after=None, most=1000)
    assert unreadable == []
    cells, all_cells = list(ENDED_COLUMNS.values()), [COLUMNS[name] for name in BRIEF]
    return [
        ended_line(job, cells) if isinstance(job, Ended) else line(Row(job, job.reason, NOW), all_cells)
        for job in found
    ]


over = any_jobs.filter(lambda job: job.state in FINAL and job.finished_at is not None)


@given(some=st.lists(over, min_size=1, max_size=6, unique_by=lambda job: job.id))
@settings(max_examples=examples(10))
def test_lists_say_the_same_of_jobs_told_briefly(tmp_path_factory, some):
    columns = [COLUMNS[name] for name in BRIEF]
    with closing(History(tmp_path_factory.mktemp("brief"))) as history:
        history.add(some)
        kept = history.page(Selection(), after=None, most=10)
        assert brief_lines(history) == [line(Row(job, job.reason, NOW), columns) for job in kept]


def test_only_jobs_that_ran_and_were_not_cancelled_are_told_briefly(history):
    never = replace(make_job(99, state=State.FAILED), finished_at=1_700_000_000.0)
    history.add([*ASSORTED, never])
    found, last, _ = history.briefly(Selection(), after=JobId(2), most=10)
    assert (ids(found), last) == (list(range(3, 13)), 12)
    found, last, _ = history.briefly(Selection(), after=None, most=1000)
    assert last is None
    assert {job.id for job in found if not isinstance(job, Ended)} == {99} | {
        job.id for job in ASSORTED if job.state is State.CANCELLED
    }
    assert ids(history.briefly(Selection(), after=JobId(3), most=9, newest_first=True)[0]) == [2, 1]


def test_a_rotten_record_is_left_out_of_what_is_told_briefly(history):
    history.add(ASSORTED)
    for column, value in (("record", b"x"), ("finished_at", 5.0), ("name", "'other'")):
        with opened(history.path) as database:
            database.execute(f"UPDATE job SET {column} = ? WHERE id = 7", [value])
        found, _, unreadable = history.briefly(Selection(), after=None, most=1000)
        assert (len(found), unreadable) == (len(ASSORTED) - 1, [7])


@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_go_on_where_the_last_one_ended(history, newest_first):
    history.add(ASSORTED)
    found, last = [], None
    while page := history.page(Selection(), after=last, most=5, newest_first=newest_first):
        assert len(page) <= 5
        found += page
        last = page[-1].id
    assert ids(found) == sorted(ids(ASSORTED), reverse=newest_first)


def test_only_what_ended_before_is_removed(history):
    history.add([ended(1, finished_at=100.0), ended(2, finished_at=200.0), ended(3, finished_at=300.0)])
    assert history.ended_before(200.0) == [1]
    assert history.ended_before(1e12) == [1, 2, 3]
    assert history.remove([JobId(1), JobId(7)]) == 1
    assert ids(history.page(Selection(), after=None, most=9)) == [2, 3]


def test_many_are_removed(history):
    history.add([ended(number) for number in range(1, 1203)])
    assert history.remove([JobId(number) for number in range(2, 1203)]) == 1201
    assert history.count() == 1


def test_a_change_by_somebody_else_makes_a_new_edition(history, tmp_path):
    assert history.edition() == history.edition()
    with contextlib.closing(History(tmp_path)) as other:
        before = history.edition()
        other.add([ended(1)])
        added = history.edition()
        other.remove([JobId(1)])
        assert len({before, added, history.edition()}) == 3


def leave_a_change_unfinished(path):
    """As a process killed in the middle of a change leaves it."""
    child = os.fork()
    if child == 0:
        database = sqlite3.connect(path)
        database.execute("PRAGMA cache_size = 1")
        database.execute("UPDATE job SET name = name || 'x', crc32 = 0")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert path.with_name(f"{NAME}-journal").stat().st_size > 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_reading_only_changes_nothing_even_after_a_crash(history, tmp_path):
    with closing(History(tmp_path, read_only=True)) as reader:
        assert reader.count() == 0
    history.add([ended(number, command="x" * 2000) for number in range(1, 200)])
    history.close()
    with contextlib.closing(History(tmp_path, read_only=True)) as reader:
        assert reader.count() == 199
        with pytest.raises(HistoryError):
            reader.remove([JobId(1)])
    leave_a_change_unfinished(history.path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with contextlib.closing(History(tmp_path, read_only=True)) as reader, pytest.raises(HistoryError):
        reader.count()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert (history.count(), history.check()) == (199, [])


def test_reading_only_a_file_that_was_just_made(tmp_path):
    (tmp_path / NAME).touch()
    with contextlib.closing(History(tmp_path, read_only=True)) as reader:
        assert (reader.count(), reader.check()) == (0, [])


def test_more_ids_than_one_statement_takes(history):
    jobs = [ended(number) for number in range(1, 1203)]
    history.add(jobs)
    assert list(history.get(ids(jobs))) == ids(jobs)


# -- files of version 1 ------------------------------------------------------------------------------------------------

VERSION_1 = """
CREATE TABLE job (
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, project TEXT, state TEXT NOT NULL,
    submitted_at REAL NOT NULL, started_at REAL, finished_at REAL NOT NULL,
    gpus INTEGER NOT NULL, held INTEGER NOT NULL, record BLOB NOT NULL, crc32 INTEGER NOT NULL
);
CREATE INDEX job_owner ON job (owner);
CREATE INDEX job_name ON job (name);
CREATE INDEX job_finished_at ON job (finished_at);
PRAGMA application_id = 1734765687;
PRAGMA user_version = 1;
"""
"""As the first version made it."""


@pytest.fixture
def version_1(tmp_path):
    """A file of version 1 with jobs 1 to 9; the path, and the jobs."""
    jobs = [ended(number, held=number % 3) for number in range(1, 10)]
    with opened(tmp_path / NAME) as database:
        database.executescript(VERSION_1)
        for job in jobs:
            row = module._row(job)[: module._MEAN_PCT] + module._row(job)[module._MEAN_PCT + 1 : -1]
            database.execute(f"INSERT INTO job VALUES ({','.join('?' * 12)})", (*row, zlib.crc32(pack(row))))
    return tmp_path / NAME, jobs


def test_a_file_of_version_1_is_read_and_goes_on(version_1, history):
    _, jobs = version_1
    assert history.page(Selection(), after=None, most=99) == jobs
    later = ended(10, held=2, mean_pct=75.0)
    history.add([later])
    assert history.usage(Selection()) == usage_of([*jobs, later], NOW)
    assert history.check() == []
    assert history._query("PRAGMA user_version", []) == [(2,)]


def test_a_file_of_version_1_is_not_changed_by_reading_only(version_1, tmp_path):
    path, jobs = version_1
    before = path.read_bytes()
    with closing(History(tmp_path, read_only=True)) as reader:
        assert reader.page(Selection(), after=None, most=99) == jobs
        assert reader.get([JobId(3)]) == {JobId(3): jobs[2]}
        assert reader.usage(Selection()) == usage_of(jobs, NOW)
        assert (reader.count(), reader.highest_id(), reader.check()) == (9, 9, [])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


# -- what is wrong is said ---------------------------------------------------------------------------------------------


STORED = [
    *("owner", "name", "project", "state", "submitted_at", "started_at", "finished_at", "gpus", "held", "mean_pct"),
    "record",
]


@pytest.mark.parametrize("column", STORED)
def test_a_changed_column_is_noticed(history, tmp_path, column):
    history.add([ended(1, project="vision"), ended(2)])
    history.close()
    with opened(tmp_path / NAME) as database:
        database.execute(f"UPDATE job SET {column} = '7' WHERE id = 1")
    for read in (lambda: history.get([JobId(1)]), lambda: history.page(Selection(), after=None, most=9)):
        with pytest.raises(HistoryError, match=rf"{NAME}: the record of job 1 has changed since it was written"):
            read()
    assert history.get([JobId(2)])[JobId(2)].id == 2
    page = history.readable(Selection(), after=None, most=9)
    assert (ids(page.jobs), page.last, page.unreadable) == ([2], None, [1])
    assert history.check() == [f"{tmp_path / NAME}: the record of job 1 has changed since it was written"]


def test_a_record_under_another_id_is_noticed(history, tmp_path):
    history.add([ended(1)])
    history.close()
    with opened(tmp_path / NAME) as database:
        database.execute("UPDATE job SET id = 5")
    with pytest.raises(HistoryError, match="the record of job 5 has changed"):
        history.get([JobId(5)])


def test_a_file_of_another_program(history, tmp_path):
    with opened(tmp_path / NAME) as database:
        database.execute("CREATE TABLE job (id)")
    for call in (lambda: history.get([JobId(1)]), lambda: history.add([ended(1)])):
        with pytest.raises(HistoryError, match=rf"{NAME}: it was not written by this program"):
            call()


def test_a_newer_format(history, tmp_path):
    history.add([ended(1)])
    history.close()
    with opened(tmp_path / NAME) as database:
        database.execute("PRAGMA user_version = 3")
    with pytest.raises(HistoryError, match=r"has format version 3; this gflow reads up to 2"):
        history.count()


def test_what_is_not_a_database(history, tmp_path):
    (tmp_path / NAME).write_bytes(b"\x81" * 5000)
    with pytest.raises(HistoryError, match="not a database"):
        history.count()


@given(at=st.integers(0, 1 << 20), flip=st.integers(1, 255))
@settings(max_examples=examples(150))
def test_a_changed_byte_gives_the_right_job_or_an_error(tmp_path_factory, at, flip):
    directory = tmp_path_factory.mktemp("rot")
    jobs = {JobId(number): ended(number, project="p" * 50) for number in range(1, 40)}
    history = History(directory)
    history.add(list(jobs.values()))
    history.close()
    path = directory / NAME
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= flip
    path.write_bytes(data)
    with closing(History(directory)) as history:
        try:
            found = history.get(list(jobs))
            assert all(found[job_id] == jobs[job_id] for job_id in found)
            assert len(found) == len(jobs) or history.check() != []
        except HistoryError:
            return  # that is a word about it, too


def test_a_writer_that_died_in_the_middle_leaves_what_was_there(history, tmp_path):
    history.add([ended(1)])
    child = os.fork()
    if child == 0:
        database = sqlite3.connect(tmp_path / NAME, isolation_level=None)
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        for job in [ended(number) for number in range(2, 2000)]:
            database.execute(f"INSERT INTO job VALUES ({','.join('?' * 13)})", module._row(job))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path / f"{NAME}-journal").exists(), "it had begun to write"
    with closing(History(tmp_path)) as fresh:
        assert ids(fresh.page(Selection(), after=None, most=10)) == [1]
        assert fresh.check() == []


def test_a_disk_that_takes_nothing(history, tmp_path, monkeypatch):
    history.add([ended(1)])
    history._open().execute("PRAGMA max_page_count = 8")
    with pytest.raises(HistoryError, match=rf"{NAME}: database or disk is full"):
        history.add([ended(number) for number in range(2, 500)])
    assert history.count() == 1
    history._open().execute("PRAGMA max_page_count = 100000")
    history.add([ended(number) for number in range(2, 500)])
    assert history.count() == 499


def test_going_on_after_records_that_have_rotted(history, tmp_path):
    history.add([ended(number) for number in range(1, 8)])
    history.close()
    with opened(tmp_path / NAME) as database:
        database.execute("UPDATE job SET gpus = 9 WHERE id IN (1, 3, 4)")
    found, missing, last = [], [], None
    while True:
        page = history.readable(Selection(), after=last, most=2)
        found += ids(page.jobs)
        missing += page.unreadable
        last = page.last
        if last is None:
            break
    assert (found, missing) == ([2, 5, 6, 7], [1, 3, 4])


def test_fewer_jobs_than_the_state_says(history, tmp_path):
    assert history.shortfall(0) is None
    says = "has 0 of at least 2 jobs: it was lost, or put back from an earlier day"
    assert history.shortfall(2) == f"{tmp_path / NAME}: {says}"
    history.add([ended(1), ended(2)])
    assert history.shortfall(2) is None
    assert "has 2 of at least 3 jobs" in history.shortfall(3)
    history.close()
    (tmp_path / NAME).write_bytes(b"\x81" * 5000)
    assert "not a database" in history.shortfall(2)
