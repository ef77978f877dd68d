"""Only what is declared is filled in, and a value in a shell line is one word wherever it lands."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.launch.placeholders import fill_argument, fill_line
from support.effort import examples

VARIABLES = {"GFLOW_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1", "GFLOW_JOB_NAME": "{lr}"}


@pytest.mark.parametrize(
    ("typed", "filled"),
    [
        ("$GFLOW_JOB_ID", "7"),
        ("out-${GFLOW_JOB_ID}.txt", "out-7.txt"),
        ("$CUDA_VISIBLE_DEVICES ${CUDA_VISIBLE_DEVICES}", "0,1 0,1"),
        ("--lr={lr}", "--lr=0.1"),
        ("{lr}{lr}", "0.10.1"),
        ("{print $1}", "{print $1}"),
        ("{other}", "{other}"),
        ("${lr}", "${lr}"),
        ("$HOME ${HOME} $GFLOW_OTHER ${GFLOW_OTHER}", "$HOME ${HOME} $GFLOW_OTHER ${GFLOW_OTHER}"),
        ("$GFLOW_JOB_NAME", "{lr}"),
        ("$GFLOW_JOB_IDX", "$GFLOW_JOB_IDX"),
        ("$GFLOW_JOB_IDx $GFLOW_JOB_ID.x $GFLOW_JOB_ID-2", "$GFLOW_JOB_IDx 7.x 7-2"),
        (
            "$CUDA_VISIBLE_DEVICESx $CUDA_VISIBLE_DEVICES_ $CUDA_VISIBLE_DEVICES:",
            "$CUDA_VISIBLE_DEVICESx $CUDA_VISIBLE_DEVICES_ 0,1:",
        ),
    ],
)
def test_arguments(typed: str, filled: str) -> None:
    assert fill_argument(typed, VARIABLES, {"lr": "0.1"}) == filled


@pytest.mark.parametrize(
    ("line", "filled"),
    [
        ("echo {p}", "echo 'a b'"),
        ('echo "{p}"', 'echo "a b"'),
        ("echo '{p}'", "echo 'a b'"),
        ("echo --x={p} # {p}", "echo --x='a b' # {p}"),
        ("awk '{print}' {q} ${p}", "awk '{print}' {q} ${p}"),
        (r"echo \{p} \' {p}", r"echo \{p} \' 'a b'"),
        ('echo "$(cat {p})" "{p}"', 'echo "$(cat \'a b\')" "a b"'),
        ("echo a#b {p}", "echo a#b 'a b'"),
        ("# don't\necho {p}", "# don't\necho 'a b'"),
    ],
)
def test_lines(line: str, filled: str) -> None:
    assert fill_line(line, {"p": "a b"}) == filled


PLACES = ["{p}", '"{p}"', "'{p}'", "$'{p}'", '"$(printf %s {p})"', '`printf %s "x" >/dev/null`{p}', "-o={p}"]


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=examples(8))
@given(value=st.text(alphabet=st.sampled_from("ab '\"\\$`!*;&|(){}[]#~<>\t\n\u00fc"), min_size=1, max_size=12))
def test_a_value_is_data_wherever_it_lands(place: str, value: str) -> None:
    if "$(" in place:
        value = value.rstrip("\n") + "."
    line = fill_line(f"printf '%s\\0' {place}", {"p": value})
    printed = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout.decode()
    assert printed == f"{'-o=' if place.startswith('-o') else ''}{value}\0"
