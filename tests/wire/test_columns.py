"""The cells of the queue."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.lifecycle import CODES
from gflow.core.model import JobId, Now, Reason, ReasonKind, State
from gflow.wire.columns import CELL_END, COLUMNS, EPOCH_COLUMNS, Row, line, printable
from support.ledger import make_job
from support.strategies import jobs, maybe, reasons

NOW = Now(1_700_010_000.0, 20_000.0)


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def cell(column, job, reason=None, now=NOW):
    return COLUMNS[column](Row(job, reason, now))


def running(secs, **spec):
    """A job that has run for so long."""
    started = {"started_at": NOW.wall - secs, "started_boot": NOW.boot - secs, "gpu_ids": ()}
    return replace(make_job(1, state=State.RUNNING, **spec), **started)


def ended(secs, **changes):
    started = {"started_at": NOW.wall - 5000, "finished_at": NOW.wall - 5000 + secs}
    return replace(make_job(1, state=State.FINISHED), **{**started, "exit_code": 0, **changes})


@given(jobs, maybe(reasons))
def test_every_job_is_one_line_of_as_many_cells(job, reason):
    text = line(Row(job, reason, NOW), list(COLUMNS.values()))
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert text.count(CELL_END) == len(COLUMNS) - 1
    assert text[:-1].replace(CELL_END, "").isprintable()
    text.encode()


@given(st.text(st.characters()))
def test_what_cannot_be_printed_becomes_a_question_mark(text):
    shown = printable(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@pytest.mark.parametrize("state", State)
def test_states_have_slurms_codes(state):
    assert cell("ST", make_job(1, state=state)) == CODES[state]


@pytest.mark.parametrize(
    ("secs", "text"),
    [(0, "00:00:00"), (59.9, "00:00:59"), (5025, "01:23:45"), (86399, "23:59:59"), (93784, "1-02:03:04")],
)
def test_times_are_days_hours_minutes_seconds(secs, text):
    assert cell("TIME", running(secs)) == text
    assert cell("TIME", ended(secs)) == text
    assert cell("TIMELIMIT", make_job(1, time_limit_secs=secs)) == text


def test_a_job_that_never_started_has_no_time():
    assert [cell(column, make_job(1)) for column in ("TIME", "START", "END", "EXIT")] == ["-"] * 4


def test_what_is_left_of_a_limit():
    assert cell("REMAINING", make_job(1)) == "UNLIMITED"
    assert cell("TIMELIMIT", make_job(1)) == "UNLIMITED"
    assert cell("REMAINING", make_job(1, time_limit_secs=60.0)) == "-"
    assert cell("REMAINING", running(20, time_limit_secs=60.0)) == "00:00:40"
    assert cell("REMAINING", running(70, time_limit_secs=60.0)) == "00:00:00", "it is being stopped"
    assert cell("REMAINING", running(20)) == "UNLIMITED"
    assert cell("REMAINING", ended(20)) == "-"
    assert cell("TIMELIMIT", ended(20)) == "UNLIMITED"


def test_a_step_of_the_wall_clock_does_not_show():
    assert cell("TIME", running(20), now=NOW._replace(wall=NOW.wall - 86400)) == "00:00:20"


@pytest.mark.parametrize(
    ("job", "reason", "text"),
    [
        (replace(running(1), gpu_ids=(0, 2)), None, "0,2"),
        (running(1), None, "-"),
        (make_job(1), Reason(ReasonKind.GPU), "(Resources)"),
        (make_job(1), Reason(ReasonKind.MEMORY), "(Resources)"),
        (make_job(1), Reason(ReasonKind.RESOURCES), "(Resources)"),
        (make_job(1), Reason(ReasonKind.DEPENDENCY), "(Dependency)"),
        (make_job(1), Reason(ReasonKind.BEGIN_TIME), "(BeginTime)"),
        (make_job(1, state=State.HOLD), Reason(ReasonKind.HELD), "(JobHeldUser)"),
        (make_job(1, state=State.CANCELLED), Reason(ReasonKind.CANCELLED), "-"),
        (make_job(1, state=State.CANCELLED), Reason(ReasonKind.DEPENDENCY_FAILED, JobId(7)), "(DependencyFailed:7)"),
        (make_job(1, state=State.FAILED), Reason(ReasonKind.SYSTEM, text="x"), "-"),
        (ended(1), None, "-"),
    ],
)
def test_where_it_runs_or_why_it_does_not(job, reason, text):
    assert cell("NODELIST(REASON)", job, reason) == text


def test_every_reason_has_a_short_form():
    for kind in ReasonKind:
        assert cell("NODELIST(REASON)", make_job(1), Reason(kind, JobId(1), "x"))


@pytest.mark.parametrize(
    ("code", "text"),
    [(None, "-"), (0, "0"), (3, "3"), (128, "128"), (130, "130:SIGINT"), (137, "137:SIGKILL"), (255, "255")],
)
def test_how_it_ended(code, text):
    assert cell("EXIT", ended(1, exit_code=code)) == text


def test_moments_are_local_times():
    assert cell("SUBMIT", make_job(1)) == "2023-11-14T22:13:21"
    assert cell("START", make_job(1, begin_at=1_700_020_000.0)) == "2023-11-15T03:46:40"
    assert cell("END", ended(0)) == "2023-11-14T23:36:40"


@pytest.mark.parametrize("state", [State.HOLD, State.QUEUED])
def test_a_begin_time_that_is_over_is_no_start(state):
    assert cell("START", make_job(1, state=state, begin_at=NOW.wall + 1)) == "2023-11-15T01:00:01"
    assert cell("START", make_job(1, state=state, begin_at=NOW.wall)) == "-"


def test_what_was_cancelled_before_it_began_has_no_start():
    assert cell("START", make_job(1, state=State.CANCELLED, begin_at=NOW.wall + 1)) == "-"


def test_moments_for_another_zone_are_seconds():
    early = make_job(1, begin_at=NOW.wall + 1.5)
    row = Row(early, Reason(ReasonKind.BEGIN_TIME), NOW)
    made = {name: EPOCH_COLUMNS[name](row) for name in ("SUBMIT", "START", "END", "REASON")}
    assert made == {"SUBMIT": "@1700000001", "START": "@1700010001", "END": "-", "REASON": "Not before @1700010001"}
    assert EPOCH_COLUMNS["START"](row._replace(expected_start=NOW.wall + 9)) == "~@1700010009"
    assert list(EPOCH_COLUMNS) == list(COLUMNS)


def test_plain_cells():
    job = make_job(1, memory_mb=1536, owner="ana", project="p", priority=7, gpus=3)
    columns = ["JOBID", "NAME", "MEMORY", "USER", "PROJECT", "PRIORITY", "NODES"]
    assert [cell(column, job) for column in columns] == ["1", "calm-otter-0001", "1.5G", "ana", "p", "7", "3"]
    assert [cell(column, make_job(1)) for column in ("MEMORY", "PROJECT")] == ["-", "-"]


def test_the_reason_in_words_comes_before_its_name():
    assert cell("REASON", ended(1, detail="time limit of 00:01:00 reached")) == "time limit of 00:01:00 reached"
    assert cell("REASON", make_job(1), Reason(ReasonKind.GPU)) == "Resources"
    assert cell("REASON", make_job(1)) == "-"
    assert cell("REASON", make_job(1, state=State.HOLD), Reason(ReasonKind.HELD)) == "On hold"
    early = make_job(1, begin_at=1_700_000_000.0)
    assert cell("REASON", early, Reason(ReasonKind.BEGIN_TIME)) == "Not before 2023-11-14T22:13:20"
