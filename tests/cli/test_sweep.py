"""Sweeps and arrays: which jobs follow from `--param`, `--param-file` and `--array`, and that nonsense is refused."""

import contextlib
import io
import itertools
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.cli import arrays, dependency, full, gbatch, params, sweep
from gflow.cli.command import Failure, UsageError
from support.effort import examples

# -- parameters --------------------------------------------------------------------------------------------------------

names = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,8}\Z")
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def written(value, mark='"'):
    """A value as one would have to write it to be sure."""
    return mark + value.replace(mark, mark * 2) + mark


@given(
    name=names,
    values=st.lists(words, min_size=1, max_size=5),
    mark=st.sampled_from("\"'"),
    gap=st.sampled_from(["", " "]),
)
def test_quoted_values_come_back_as_they_were(name, values, mark, gap):
    text = f"{name}={','.join(gap + written(value, mark) + gap for value in values)}"
    assert params.parse(text) == (name, values)


@given(name=names, values=st.lists(st.from_regex(r"\A[A-Za-z0-9_./=+-]{1,8}\Z"), min_size=1, max_size=5))
def test_plain_values_need_no_quotes(name, values):
    assert params.parse(f"{name}={','.join(values)}") == (name, values)


@given(start=st.integers(-50, 50), number=st.integers(1, 30), step=st.integers(-9, 9).filter(bool))
def test_a_range_of_whole_numbers_has_what_python_s_has(start, number, step):
    stop = start + step * number - (1 if step > 0 else -1)
    expected = [str(value) for value in range(start, stop + (1 if step > 0 else -1), step)]
    assert params.parse(f"x={start}:{stop}:{step}") == ("x", expected)


@given(
    start=st.decimals(-100, 100, places=3),
    step=st.decimals("0.001", "5", places=3).filter(bool),
    number=st.integers(0, 30),
    down=st.booleans(),
)
def test_a_range_of_fractions_is_exact(start, step, number, down):
    step = -step if down else step
    _, values = params.parse(f"x={start}:{start + step * number}:{step}")
    assert list(map(Decimal, values)) == [start + step * at for at in range(number + 1)]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x=1:3", ["1", "2", "3"]),
        ("x=3:1", ["3", "2", "1"]),
        ("x=5:5", ["5"]),
        ("x=1:10:4", ["1", "5", "9"]),
        ("x=0:1:0.5", ["0.0", "0.5", "1.0"]),
        ("x=0.05:0.3:0.1", ["0.05", "0.15", "0.25"]),
        ("x=1e-4:3e-4:1e-4", ["0.0001", "0.0002", "0.0003"]),
        ("x=1:10,", None),
        ("x=1:2,5", ["1:2", "5"]),
        ("x='1:3'", ["1:3"]),
        ("x=10:30:00:1", ["10:30:00:1"]),
        ("url=http://host:80", ["http://host:80"]),
        ("x = a , b ", ["a", "b"]),
        ('x="",a', ["", "a"]),
        ("x=it's", ["it's"]),
        ("x=a=b", ["a=b"]),
    ],
)
def test_values_and_ranges(text, values):
    if values is None:
        with pytest.raises(ValueError, match="empty value"):
            params.parse(text)
    else:
        assert params.parse(text)[1] == values


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x", "is not NAME=VALUES"),
        ("", "is not NAME=VALUES"),
        ("=1", "not the name of a parameter"),
        ("a b=1", "not the name of a parameter"),
        ("é=1", "not the name of a parameter"),
        ("x=", "empty value"),
        ("x=1,,2", "empty value"),
        ('x="a', "not closed"),
        ('x="a"b', "right behind a quoted value"),
        ("x=1:5:0", "the step is 0"),
        ("x=1:5:-1", "leads away from its end"),
        ("x=0:1:0.00001", "100001 values; 10000 are allowed"),
        ("x=" + "a," * 10_000 + "a", "10001 values"),
    ],
)
def test_bad_parameters_are_named(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        params.parse(text)


# -- arrays ------------------------------------------------------------------------------------------------------------

spans = st.tuples(st.integers(0, 900), st.integers(0, 40), st.integers(1, 7))


@given(given_spans=st.lists(spans, min_size=1, max_size=4), throttle=st.none() | st.integers(1, 50))
def test_an_array_has_the_indices_that_were_written(given_spans, throttle):
    items = [f"{low}-{low + more}:{step}" if more else str(low) for low, more, step in given_spans]
    text = ",".join(items) + ("" if throttle is None else f"%{throttle}")
    expected = {index for low, more, step in given_spans for index in range(low, low + more + 1, step)}
    assert arrays.parse(text) == (tuple(sorted(expected)), throttle)


BAD_ARRAYS = ["", ",", "-", "1-", "-1", "3-1", "1-5:0", "1-5:", "1:2", "%3", "1%0", "1%", "1%2%3", "a", "1--2", "1-2-3"]
BAD_ARRAYS += ["1 2", "٣", "1-2000", "1-500,600-1200", "0-1000000", "2000000", "9" * 50]


@pytest.mark.parametrize("text", BAD_ARRAYS)
def test_bad_arrays_are_refused(text):
    with pytest.raises(ValueError, match=r"array|jobs|index|job at a time|empty"):
        arrays.parse(text)


# -- dependencies ------------------------------------------------------------------------------------------------------

one_id = st.integers(1, 10**9).map(lambda number: (str(number), (number, number)))
shorthand = st.sampled_from(["@", "@~1", "@~20"]).map(lambda text: (text, text))


@given(
    clauses=st.lists(st.lists(one_id | shorthand, min_size=1, max_size=3), min_size=1, max_size=3),
    kind=st.sampled_from(["afterok", "afterany", "AfterOK"]),
    mark=st.sampled_from([",", "?"]),
)
def test_slurm_s_dependencies_are_read(clauses, kind, mark):
    text = mark.join(":".join([kind, *(written for written, _ in clause)]) for clause in clauses)
    parts, mode, after_end = dependency.parse(text)
    assert parts == [part for clause in clauses for _, part in clause]
    assert mode == ("Any" if mark == "?" and len(clauses) > 1 else "All")
    assert after_end == (kind == "afterany")


@given(job=one_id | shorthand)
def test_a_single_job_needs_no_word(job):
    assert dependency.parse(job[0]) == ([job[1]], "All", False)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no dependency: write a job.s id"),
        ("1-3", "is a range"),
        ("1,2", "use --depends-on-all or --depends-on-any"),
        ("after:3", "'after' is not known here"),
        ("afternotok:3", "'afternotok' is not known here"),
        ("afterok", "'' is no job id"),
        ("afterok:", "'' is no job id"),
        ("afterok:1:x", "'x' is no job id"),
        ("afterok:1-3", "'1-3' is no job id"),
        ("afterok:1,afterany:2", "mixes afterany and afterok"),
        ("afterok:1,afterok:2?afterok:3", "all of them"),
        ("singleton", "--max-concurrent 1 does the same"),
    ],
)
def test_bad_dependencies_are_named(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        dependency.parse(text)


PARSERS = [params.parse, arrays.parse, dependency.parse]


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__module__)
@given(text=st.text(max_size=20) | st.from_regex(r"\A[0-9,:%@~?=.e+afterokny'\" -]{0,14}\Z"))
def test_nonsense_is_a_value_error(parse, text):
    complaint = "none"
    try:
        parse(text)
    except ValueError as error:
        complaint = str(error)
    assert complaint


@settings(max_examples=examples(60))
@given(
    option=st.sampled_from(["--param", "--array", "--dependency", "--export", "--gres", "--signal", "--name-template"]),
    text=st.text(max_size=12) | st.from_regex(r"\A[a-z0-9,:%@~?=.\n{}-]{0,10}\Z"),
)
def test_nonsense_on_the_command_line_is_one_line_and_exit_status_2(option, text):
    said, status = io.StringIO(), None
    with contextlib.redirect_stderr(said):
        try:
            full.read(gbatch.COMMAND, [option, text, "true"], "gbatch")
        except SystemExit as left:
            status = left.code
    told = said.getvalue()
    assert (status, told.startswith("gbatch: "), told.count("\n")) in ((None, False, 0), (2, True, 1))


# -- combinations and names --------------------------------------------------------------------------------------------

VALUES = {"array": None, "param": None, "param_file": None, "name_template": None, "key": None}


def members(**given):
    return sweep.members(VALUES | given)


@given(
    st.dictionaries(names, st.lists(words, min_size=1, max_size=4), min_size=1, max_size=3),
    st.dictionaries(names, words, max_size=2),
)
def test_all_combinations_are_made_the_first_varies_slowest(chosen, row):
    expected = [dict(zip(chosen, cell, strict=True)) for cell in itertools.product(*chosen.values())]
    assert sweep.combinations(list(chosen.items()), None) == expected


def test_a_single_job_is_one_that_adds_nothing():
    assert members() == [{}]
    assert members(key="k{x}") == [{"key": "k{x}"}], "there is nothing to fill in"


def test_a_sweep_too_large_is_refused_before_it_is_made():
    values = [str(number) for number in range(1000)]
    with pytest.raises(UsageError, match="1000000000 jobs; one submission may have 1000"):
        members(param=[("a", values), ("b", values), ("c", values)])


def test_names_and_keys_are_filled_in():
    jobs = members(
        param=[("lr", ["0.1", "1e-3"]), ("opt", ["a b/c"])], name_template="run-{lr}-{opt}", key="{opt}:{lr}"
    )
    assert [(job["run_name"], job["key"]) for job in jobs] == [
        ("run-0.1-a_b_c", "a b/c:0.1"),
        ("run-1e-3-a_b_c", "a b/c:1e-3"),
    ]
    jobs = members(array=((2, 4), None), name_template="fold-{task_id}", key="fold")
    assert jobs == [
        {"task_id": 2, "run_name": "fold-2", "key": "fold/2"},
        {"task_id": 4, "run_name": "fold-4", "key": "fold/4"},
    ]
    jobs = members(param=[("lr", ["1"]), ("seed", ["2"])], key="run")
    assert [job["key"] for job in jobs] == ["run/lr=1,seed=2"]


@given(value=words, other=words)
def test_a_value_in_a_name_is_harmless(value, other):
    (job,) = members(param=[("x", [value])], name_template="a-{x}")
    assert job["run_name"].isprintable()
    assert not any(char.isspace() for char in job["run_name"])
    assert 3 <= len(job["run_name"]) <= 128


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"name_template": "x"}, "--name-template needs --param"),
        ({"name_template": "{nope}", "param": [("lr", ["1"])]}, r"there is no \{nope\} here; there is \{lr\}"),
        ({"name_template": "{lr", "param": [("lr", ["1"])]}, "the { in '{lr' is not closed"),
        ({"key": "{x}", "array": ((1,), None)}, r"there is \{task_id\}"),
        ({"key": "{a}", "param": [("a", ["1"]), ("b", ["1", "2"])]}, "several jobs would have the key '1'"),
    ],
)
def test_templates_that_cannot_be_filled_in_are_named(given, complaint):
    with pytest.raises(UsageError, match=complaint):
        members(**given)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "cells.csv"
        path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
        return str(path)

    return write


@given(rows=st.lists(st.tuples(words, words), min_size=1, max_size=5), end=st.sampled_from(["\n", "\r\n"]))
def test_a_file_of_quoted_values_comes_back_as_it_was(tmp_path_factory, rows, end):
    path = tmp_path_factory.mktemp("csv") / "cells.csv"
    lines = ["a,b", *(",".join(map(written, row)) for row in rows)]
    path.write_bytes("".join(line + end for line in lines).encode())
    assert sweep.read_rows(str(path)) == [{"a": a, "b": b} for a, b in rows]


def test_a_file_and_parameters_multiply_and_parameters_win(file):
    path = file("lr, seed\n0.1,1\n\n0.2,1\n")
    jobs = members(param_file=path, param=[("seed", ["7", "8"])])
    assert [job["parameters"] for job in jobs] == [
        {"lr": lr, "seed": seed} for lr in ("0.1", "0.2") for seed in ("7", "8")
    ]
    jobs = members(param_file=path, param=[("lr", ["9"])])
    assert [job["parameters"] for job in jobs] == [{"seed": "1", "lr": "9"}], "equal rows count once"


def test_what_spreadsheets_write_is_read(file):
    assert members(param_file=file('\ufefflr,note\r\n0.1,"a, b"\r\n')) == [
        {"parameters": {"lr": "0.1", "note": "a, b"}}
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "needs a line of names and a line for each job"),
        ("a,b\n", "needs a line of names and a line for each job"),
        ("a,b\n1,2\n3\n", "csv:3: 1 values for 2 names"),
        ("a,b\n1,2,3\n", "csv:2: 3 values for 2 names"),
        ("a b,c\n1,2\n", "'a b' is not the name of a parameter"),
        ("a,a\n1,2\n", "parameter a is given twice"),
        ('a\n"x\n', "it is not CSV in UTF-8"),
        (b"a\n\xff\n", "it is not CSV in UTF-8"),
    ],
)
def test_bad_files_are_named_with_the_line(file, text, complaint):
    path = file(text)
    with pytest.raises(UsageError, match=complaint) as raised:
        sweep.read_rows(path)
    assert path in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Failure, match=r"cannot read --param-file .*none\.csv: No such file"):
        sweep.read_rows(str(tmp_path / "none.csv"))
