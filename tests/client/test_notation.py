"""JSON read and written without the `json` package: the same as with it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.client.notation import dumps, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_it_reads_and_writes_the_same(value):
    assert json.loads(dumps(value)) == value
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, indent=2).encode() + b"\n") == value


@given(st.text('[]{}",:0123456789.eE-+truefalsn \\u\n', max_size=20) | st.text(max_size=10))
def test_it_refuses_the_same(text):
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            loads(text.encode())
    else:
        assert repr(loads(text.encode())) == repr(expected)  # NaN is not equal to itself


def test_bytes_that_are_no_text_are_no_json():
    with pytest.raises(ValueError):
        loads(b'"\xff"')


def test_what_json_cannot_say_is_not_written():
    with pytest.raises(TypeError, match="set is nothing"):
        dumps({"a": {1}})
