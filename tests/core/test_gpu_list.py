"""Lists of GPUs: what people write reads back, and what they read can be written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.gpu_list import LAST_INDEX, format_gpu_list, parse_gpu_list


@pytest.mark.parametrize(
    ("spec", "indices"),
    [
        ("0", [0]),
        ("0,2,4", [0, 2, 4]),
        ("0-3", [0, 1, 2, 3]),
        ("0-1,3,5-6", [0, 1, 3, 5, 6]),
        ("4,2,2-3", [2, 3, 4]),
        (" 1 , 3 ", [1, 3]),
        ("7-7", [7]),
        ("1023", [1023]),
    ],
)
def test_gpu_lists(spec, indices):
    assert parse_gpu_list(spec) == indices


@pytest.mark.parametrize(
    "spec", ["", ",", "1,", "a", "-1", "1-", "-", "3-1", "1-2-3", "1.5", "0x1", "²", "1024", "0-99999999"]
)
def test_what_is_no_gpu_list(spec):
    with pytest.raises(ValueError, match=r"^invalid GPU list '") as raised:
        parse_gpu_list(spec)
    assert repr(spec).strip("'") in str(raised.value)


@given(st.sets(st.integers(0, 1023), min_size=1, max_size=20))
def test_any_set_of_indices_reads_back(indices):
    assert parse_gpu_list(",".join(map(str, indices))) == sorted(indices)


@given(st.text(max_size=12))
def test_any_text_is_a_list_or_an_error(text):
    try:
        found = parse_gpu_list(text)
    except ValueError:
        return
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    ("indices", "text"),
    [([], ""), ([0], "0"), ([0, 2], "0,2"), ([3, 1, 0], "0-1,3"), ([5, 6, 6, 7, 9], "5-7,9"), ([1, 2], "1-2")],
)
def test_the_shortest_form(indices, text):
    assert format_gpu_list(indices) == text


@given(st.sets(st.integers(0, LAST_INDEX), min_size=1, max_size=40))
def test_every_form_reads_back(indices):
    assert parse_gpu_list(format_gpu_list(indices)) == sorted(indices)
