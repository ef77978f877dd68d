"""Headers are one line each, and say what was meant."""

import email.header
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.notify.headers import header, mailbox, words


def decoded(value):
    return str(email.header.make_header(email.header.decode_header(value)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "a@b.c"),
        ("gflow", '"gflow" <a@b.c>'),
        ("Doe, John", '"Doe, John" <a@b.c>'),
        ("J\u00fcrgen", "=?utf-8?b?SsO8cmdlbg==?= <a@b.c>"),
        ('the "x"', "=?utf-8?b?dGhlICJ4Ig==?= <a@b.c>"),
        ("=?utf-8?q?x?=", "=?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <a@b.c>"),
    ],
)
def test_a_name_and_an_address(name, value):
    assert mailbox(name, "a@b.c") == value
    read = email.policy.SMTP.header_factory("From", value).addresses[0]
    assert (read.display_name, read.addr_spec) == (name, "a@b.c")


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_words_are_short_and_say_the_text(text):
    value = words(text)
    assert header("X", value) == f"X: {value}\r\n".encode() if len(value) < 990 else True
    assert decoded(value) == text
    assert value == text or all(len(word) <= 75 for word in value.split(" "))


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nb", "\u00e9", "x" * 999])
def test_what_is_no_line_is_no_header(value):
    with pytest.raises(ValueError, match="no header of a mail: X"):
        header("X", value)
