"""Converters: what they accept, and that nonsense is only ever a ValueError of one line."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.api import queue
from gflow.cli import columns, ids, kinds, matching, states
from gflow.cli.gqueue import SORTS
from gflow.core.lifecycle import CODES, FINAL
from gflow.core.model import State
from gflow.wire import columns as wire

CONVERTERS = [
    kinds.count,
    kinds.positive,
    kinds.signed,
    kinds.gpus,
    kinds.priority,
    kinds.time_limit,
    kinds.time_limit_change,
    kinds.memory_mb,
    kinds.names,
    kinds.not_empty,
    kinds.array,
    kinds.param,
    kinds.dependency,
    kinds.early_signal,
    kinds.export,
    kinds.before,
    kinds.kind_of_answer,
    kinds.gpu_ids,
    kinds.assignment,
    kinds.interval,
    kinds.pattern,
    kinds.signal_number,
    kinds.begin,
    kinds.since,
    kinds.choice("a", "b"),
    ids.parse,
    ids.parse_one,
    states.parse,
    columns.parse,
]


SLURM = [
    "now+",
    "1-",
    ":",
    "B:",
    "@",
    "gpu:",
    "a100:",
    "hours",
    "weeks",
    "tomorrow",
    "noon",
    "afterok:",
    "-",
    "12",
    "0",
]
NONSENSE = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"\A[0-9,@~+:GMgpu-]{0,12}\Z"),
    st.lists(st.sampled_from(SLURM), max_size=4).map("".join),
)


@pytest.mark.parametrize("convert", CONVERTERS)
@given(text=NONSENSE)
def test_nonsense_is_a_value_error_of_one_line(convert, text):
    complaint = "none"
    try:
        convert(text)
    except ValueError as error:
        complaint = str(error)
    assert complaint


@pytest.mark.parametrize("text", ["FAILED", "nonsense", "", "afterwards", "1;2", "@x"])
def test_what_is_no_dependency_is_told_what_one_looks_like(text):
    with pytest.raises(ValueError, match=r"afterok:ID"):
        kinds.dependency(text)


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (kinds.gpus, "2", 2),
        (kinds.gpus, "gpu:4", 4),
        (kinds.priority, "255", 255),
        (kinds.signed, "-5", -5),
        (kinds.time_limit, "2:00:00", 7200),
        (kinds.time_limit_change, "30", ("set", 1800)),
        (kinds.time_limit_change, "+1:00:00", ("add", 3600)),
        (kinds.time_limit_change, "-30:00", ("add", -1800)),
        (kinds.memory_mb, "1.5G", 1536),
        (kinds.gpus, "gpu", 1),
        (kinds.array, "1-4", ((1, 2, 3, 4), None)),
        (kinds.array, "0-0", ((0,), None)),
        (kinds.array, "0-1000:10%4", (tuple(range(0, 1001, 10)), 4)),
        (kinds.dependency, "afterok:1:@", ([(1, 1), "@"], "All", False)),
        (kinds.param, "lr=1:3", ("lr", ["1", "2", "3"])),
        (kinds.early_signal, "USR1", (signal.SIGUSR1, 60)),
        (kinds.early_signal, "USR1@120", (signal.SIGUSR1, 120)),
        (kinds.early_signal, "SIGTERM@5", (signal.SIGTERM, 5)),
        (kinds.early_signal, "10@5", (10, 5)),
        (kinds.early_signal, "B:USR1@60", (signal.SIGUSR1, 60)),
        (kinds.early_signal, "r:TERM", (signal.SIGTERM, 60)),
        (kinds.time_limit, "1-12", 36 * 3600),
        (kinds.time_limit_change, "+1-0:30", ("add", 86400 + 1800)),
        (kinds.export, "ALL", "ALL"),
        (kinds.export, "PATH, HOME", ["PATH", "HOME"]),
        (kinds.export, "ALL,A=1", ["ALL", "A=1"]),
    ],
)
def test_what_is_right(convert, text, value):
    assert convert(text) == value


@pytest.mark.parametrize(
    ("convert", "text"),
    [
        (kinds.gpus, "-1"),
        (kinds.gpus, "gpu:"),
        (kinds.count, "1_000"),
        (kinds.count, "٣"),
        (kinds.priority, "256"),
        (kinds.positive, "0"),
        (kinds.time_limit, "0"),
        (kinds.time_limit_change, "+0"),
        (kinds.time_limit_change, "--5"),
        (kinds.array, "5-1"),
        (kinds.array, "1-1001"),
        (kinds.array, "3-"),
        (kinds.gpus, "gpu:a100:2"),
        (kinds.gpus, "a100:2"),
        (kinds.early_signal, "USR1@"),
        (kinds.early_signal, "B:"),
        (kinds.early_signal, "X:USR1"),
        (kinds.priority, "gpu"),
        (kinds.memory_mb, "0"),
        (kinds.kind_of_answer, "out.log"),
        (kinds.early_signal, "USR1@0"),
        (kinds.early_signal, "_IGN@5"),
        (kinds.early_signal, "NOPE@5"),
        (kinds.early_signal, "65@5"),
        (kinds.export, "=1"),
        (kinds.export, "NONE,A"),
        (kinds.export, "A,,B"),
        (kinds.not_empty, "  "),
    ],
)
def test_what_is_wrong(convert, text):
    with pytest.raises(ValueError):
        convert(text)


def test_the_states_are_those_of_the_core():
    assert {State(name): code for name, code in states.STATES.items()} == CODES
    assert {State(name) for name in states.FINAL} == FINAL


def test_columns_and_sorts_are_those_of_the_daemon():
    assert set(columns.COLUMNS) == set(wire.COLUMNS)
    assert set(SORTS) == set(queue.SORTS)


def test_states_are_read_by_name_and_code_in_any_case():
    assert states.parse("running,PD, ca") == ["Running", "Queued", "Cancelled"]
    with pytest.raises(ValueError, match=r"unknown state 'nope'; there are Queued \(PD\)"):
        states.parse("PD,nope")


def test_columns_are_read_in_any_case():
    assert columns.parse("jobid,nodelist,State") == ("JOBID", "NODELIST(REASON)", "ST")
    with pytest.raises(ValueError, match="unknown column 'NOPE'; there are JOBID"):
        columns.parse("JOBID,nope")


class _Latest:
    """A client that knows who `@` is."""

    def resolve(self, shorthand):
        return {"@": 40, "@~1": 39}[shorthand]


def test_ids_ranges_and_shorthands():
    parts = ids.parse("7, 3-5,@,@~1,4")
    assert parts == [(7, 7), (3, 5), "@", "@~1", (4, 4)]
    assert ids.expand(parts, _Latest()) == [7, 3, 4, 5, 40, 39]


@pytest.mark.parametrize(
    "text", ["", "0", "5-3", "1,,2", "a", "1-", "-1", "1-2-3", "@~", "@~x", "@1", "99999999999", "1-9999999"]
)
def test_bad_ids_are_named(text):
    with pytest.raises(ValueError, match=r"Invalid job ID or range|more than"):
        ids.parse(text)


def test_one_id_is_not_a_range():
    assert ids.parse_one("7") == (7, 7)
    with pytest.raises(ValueError, match="is a range"):
        ids.parse_one("7-8")


@given(st.sets(st.integers(1, 200)))
def test_compact_ranges_name_the_same_jobs(chosen):
    ranges = ids.compact(sorted(chosen))
    assert ids.expand(list(ranges), _Latest()) == sorted(chosen)
    if chosen:
        assert ids.expand(ids.parse(ids.show(ranges)), _Latest()) == sorted(chosen)


def test_signals_have_the_names_they_are_given_by():
    assert [kinds.signal_name(number) for number in (10, 15, 64, 33)] == ["USR1", "TERM", "RTMAX", "33"]


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("cx*3", "cx123", "cx12"),
        ("cx\\*3", "cx*3", "cx123"),
        ("a\\?*", "a?bc", "abc"),
        ("\\[ab]*", "[ab]c", "ac"),
        ("a\\b", "a\\b", "ab"),
        ("[ab]*", "bx", "[ab]"),
    ],
)
def test_a_backslash_makes_a_wildcard_a_character(pattern, fitting, other):
    (wanted,) = kinds.wildcards(pattern)
    assert matching.matches(fitting, [wanted])
    assert not matching.matches(other, [wanted])
