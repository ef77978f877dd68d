"""Lists of words in which commas may be part of a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.listed import join, split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", [""]),
        ("a, b ,,c", ["a", "b", "", "c"]),
        (r"lr=1\,wd=2,b", ["lr=1,wd=2", "b"]),
        (r"a\b,c\\,d\\\,e", [r"a\b", "c\\", r"d\,e"]),
        ("a\\", ["a\\"]),
    ],
)
def test_a_comma_behind_a_backslash_ends_no_word(text: str, words: list[str]) -> None:
    assert split(text) == words


@given(st.lists(st.text("a,\\ b").map(str.strip), min_size=1))
def test_what_is_joined_is_split_again(words: list[str]) -> None:
    assert split(join(words)) == words
