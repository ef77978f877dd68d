"""What a mail says, and that nothing in a job's name can say more than that."""

import email
import email.header
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.notify.formats import one_line, summary
from gflow.notify.letter import MAX_SUBJECT, MAX_SUBJECT_BYTES, MAX_TAIL_LINE, MAX_TAIL_LINES, clean_tail, letter
from support.told import EVENTS, told


def sent(payload, **fields):
    """The mail, byte for byte."""
    about = {"sender": "gflow@example.com", "to": "a@b.org", "prefix": None, "delivery_id": "17-k"}
    return letter(payload, **about | fields)


def written(payload, **fields):
    """The mail as the receiver reads it."""
    return email.message_from_bytes(sent(payload, **fields), policy=email.policy.SMTP)


def head(payload, **fields):
    """The lines before the empty one, as (name, value)."""
    lines = sent(payload, **fields).partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n")
    return [tuple(line.split(": ", 1)) for line in lines]


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_makes_a_mail(event):
    mail = written(told(event))
    assert mail["Subject"].startswith("[gflow gpu-server-01] ")
    assert mail["X-Gflow-Event"] == event
    assert mail["Date"] == "Wed, 04 Feb 2026 12:30:45 +0000"
    assert "Machine:       gpu-server-01" in mail.get_content()


def test_the_prefix_can_be_another():
    assert written(told("gpu_available"), prefix="[lab]")["Subject"] == "[lab] GPU 1 is available"


def test_the_facts_of_others():
    text = written(told("group_completed")).get_content()
    assert "States:        9 Finished, 1 Failed" in text
    assert "GPU indices:   0, 3" in written(told("reservation_cancelled")).get_content()
    assert "Unused for, in seconds: 1800" in written(told("gpu_idle")).get_content()


def test_the_same_delivery_has_the_same_message_id():
    first = written(told())["Message-ID"]
    assert written(told())["Message-ID"] == first
    assert written(told(), to="c@d")["Message-ID"] != first
    for other in ("18-k", "17-l", "9f3c-17-k"):
        assert written(told(), delivery_id=other)["Message-ID"] != first, "all of the delivery id counts"


HEADERS = [
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Gflow-Event"),
    *("Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
]
NASTY = [
    "x\r\nBcc: evil@example.com",
    "x\nSubject: y",
    "=?utf-8?q?x?=\n\n.\r\n",
    "=?utf-8?q?=0D=0AReply-To:_evil@x.y?=",
    "a =?us-ascii?b?DQpSZXBseS1UbzogZXZpbEB4Lnk=?= b",
    "=?utf-8?q?=0D=0A?= =?utf-8?q?Reply-To:_evil@x.y?=",
    "=?utf-8?q?=0D=0A\u200bReply-To:_evil@x.y?=",
    "\u00e9 \u4e2d\U0001f600" * 100,
]


def decoded(value):
    return str(email.header.make_header(email.header.decode_header(value)))


@pytest.mark.parametrize("name", NASTY)
def test_an_encoded_word_in_a_name_is_text(name):
    check_headers(name)


@given(st.text(st.characters()))
def test_no_name_gets_into_a_header_of_its_own(name):
    check_headers(name)


def check_headers(name):
    payload = told()
    payload["job"]["name"] = payload["job"]["user"] = payload["job"]["detail"] = name
    payload["scheduler"]["host"] = name
    lines = head(payload, prefix=name)
    assert [header for header, _ in lines] == HEADERS
    assert all(value.isprintable() and len(value) < 985 for _, value in lines)
    subject, meant = decoded(dict(lines)["Subject"]), one_line(f"{name} {summary(payload)}", MAX_SUBJECT)
    assert subject == meant or (subject[-1] == "…" and len(meant.encode()) > MAX_SUBJECT_BYTES)
    assert meant.startswith(subject.removesuffix("…"))


def test_what_is_plain_is_written_so_and_the_rest_as_encoded_words():
    assert dict(head(told("gpu_available")))["Subject"] == "[gflow gpu-server-01] GPU 1 is available"
    value = dict(head(told("gpu_available"), prefix="=?utf-8?q?=0D=0AX:_y?="))["Subject"]
    assert value == "=?utf-8?b?PT91dGYtOD9xPz0wRD0wQVg6X3k/PSBHUFUgMSBpcyBhdmFpbGFibGU=?="


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n\n", []),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b" 10%\r 50%\r100%\n", ["100%"]),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b(B\n", ["red x"]),
        (b"bell\x07 nul\x00 \xe2\x80\xaeback\n", ["bell nul back"]),
        (b"\xff\xfe \xc3\xa9\n", ["\ufffd\ufffd \u00e9"]),
        (b"a\tb\n", ["a\tb"]),
    ],
)
def test_a_log_as_plain_text(data, lines):
    assert clean_tail(data, whole=True) == lines


def test_a_log_is_cut_in_both_directions():
    lines = clean_tail(b"half of a line\n" + b"x" * 1000 + b"\n" + b"y\n" * 29, whole=False)
    assert len(lines) == MAX_TAIL_LINES
    assert len(lines[0]) == MAX_TAIL_LINE
    assert lines[1] == "y"


@given(st.binary())
def test_any_bytes_are_a_log(data):
    for line in clean_tail(data, whole=True):
        assert not any(ord(char) < 32 and char != "\t" for char in line)
