"""Tables, CSV, YAML and command lines as texts."""

import csv as standard_csv
import io
import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.cli.render.data import csv, yaml
from gflow.cli.render.table import harmless, table, width
from gflow.cli.render.times import iso, seconds
from gflow.cli.render.words import joined, what_runs

_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


def test_a_table_in_gflows_style():
    text = table(("JOBID", "NAME", "ST"), [("42", "train", "R"), ("7", "x", "")])
    assert text == " JOBID   NAME    ST\n 42      train   R\n 7       x\n"


def test_wide_characters_take_two_columns_and_accents_none():
    assert width("日本") == 4
    assert width("e\u0301") == 1
    text = table(("A", "B"), [("日本", "x"), ("ab", "y")])
    assert text == " A      B\n 日本   x\n ab     y\n"


def test_colours_do_not_move_columns():
    plain = table(("ST", "N"), [("R", "1"), ("PD", "2")])
    coloured = table(("ST", "N"), [("R", "1"), ("PD", "2")], lambda column, cell: "\x1b[32m" if column == 0 else "")
    assert coloured.replace("\x1b[32m", "").replace("\x1b[0m", "") == plain
    assert coloured.count("\x1b[0m") == 2


@given(st.lists(st.tuples(_TEXT, _TEXT), max_size=5))
def test_no_name_can_steer_the_terminal_or_break_a_line(rows):
    text = table(("A", "B"), [tuple(map(harmless, row)) for row in rows])
    assert text.count("\n") == len(rows) + 1
    assert all(char.isprintable() or char == "\n" or not char.isascii() for char in text)
    assert "\x1b" not in text
    assert not any(line != line.rstrip() for line in text.split("\n"))


@given(st.lists(st.lists(_TEXT.filter(lambda text: "\0" not in text), min_size=2, max_size=2), max_size=4))
def test_csv_is_read_back_by_the_standard_library(rows):
    assert list(standard_csv.reader(io.StringIO(csv(rows), newline=""))) == rows


_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-5, 10**12), _TEXT)
_DATA = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3))


@given(_DATA)
def test_yaml_is_read_back_as_it_was(value):
    reader = pytest.importorskip("yaml")
    assert reader.safe_load(yaml(value)) == value


@pytest.mark.parametrize(
    "text", ["yes", "No", "null", "", "1", "1e5", "-", "a: b", "#x", "~", "2026-01-01", "off", "0x1f", "a b"]
)
def test_yaml_quotes_what_could_be_taken_for_something_else(text):
    assert yaml({"k": text}) == f"k: {json.dumps(text)}\n"


def test_yaml_of_nothing_is_still_data():
    assert yaml({"jobs": [], "total": 0}) == "jobs: []\ntotal: 0\n"
    assert yaml({"jobs": [{"id": 1, "gpus": [0, 1]}, {"id": 2, "gpus": []}]}) == (
        "jobs:\n- id: 1\n  gpus:\n  - 0\n  - 1\n- id: 2\n  gpus: []\n"
    )


@given(st.lists(_TEXT.filter(lambda text: "\0" not in text), min_size=1, max_size=4))
def test_quoted_words_are_split_into_the_same_words(words):
    assert shlex.split(joined(words)) == words


@pytest.mark.parametrize(
    ("job", "text"),
    [
        ({"argv": ["echo", "a b"]}, "echo 'a b'"),
        ({"command": "a | b"}, "a | b"),
        ({"script": "/x/t.sh", "script_args": ["1"]}, "/x/t.sh 1"),
        ({"script_text": "echo"}, "-"),
    ],
)
def test_what_runs(job, text):
    assert what_runs(job) == text


def test_times_and_durations_of_the_api():
    assert seconds({"secs": 5, "nanos": 500_000_000}) == 5.5
    assert seconds({"secs_since_epoch": 7, "nanos_since_epoch": 0}) == 7
    assert seconds(3) == 3
    assert seconds(None) is None
    assert iso({"secs_since_epoch": 1770208245, "nanos_since_epoch": 1}) == "2026-02-04T12:30:45Z"
