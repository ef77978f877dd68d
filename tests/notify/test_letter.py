"""What a mail says, and that nothing in a job's name can say more than that."""

import email
import email.policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.notify.letter import MAX_SUBJECT, MAX_TAIL_LINE, MAX_TAIL_LINES, clean_tail, letter
from support.told import EVENTS, told


def written(payload, **fields):
    """The mail as the receiver reads it."""
    about = {"sender": "gflow@example.com", "to": "a@b.org", "prefix": None, "delivery_id": "17-k"}
    made = letter(payload, **about | fields)
    return email.message_from_bytes(made.as_bytes(), policy=email.policy.SMTP)


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
    assert written(told(), delivery_id="18-k")["Message-ID"] != first


@given(
    st.text(st.characters())
    | st.sampled_from(["x\r\nBcc: evil@example.com", "x\nSubject: y", "=?utf-8?q?x?=\n\n.\r\n"])
)
@settings(deadline=None)
def test_no_name_gets_into_a_header_of_its_own(name):
    payload = told()
    payload["job"]["name"] = payload["job"]["user"] = payload["job"]["detail"] = name
    payload["scheduler"]["host"] = name
    mail = written(payload)
    assert sorted(mail.keys()) == sorted(written(told()).keys())
    assert len(mail.get_all("Subject")) == 1
    assert "\n" not in mail["Subject"]
    assert len(mail["Subject"]) <= MAX_SUBJECT + 1


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
