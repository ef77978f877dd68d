"""Lines for people, and messages for chats in which no name can mention anybody."""

import html
import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.notify.formats import (
    FORMATS,
    MAX_BLOCK,
    MAX_CHAT,
    addressed,
    as_discord,
    as_json,
    as_slack,
    headline,
    one_line,
    summary,
)
from gflow.notify.payloads import public
from support.told import EVENTS, told

LINES = {
    "job_submitted": "job 42 train submitted",
    "job_updated": "job 42 train changed",
    "job_started": "job 42 train started: on GPU 0, 1",
    "job_completed": "job 42 train completed in 01:10:05",
    "job_failed": "job 42 train failed: exit code 3 after 01:10:05; tried again as job 43",
    "job_cancelled": "job 42 train cancelled: dependency 41 did not finish",
    "job_timeout": "job 42 train timed out: time limit of 02:00:00 reached after 02:00:00",
    "job_held": "job 42 train put on hold",
    "job_released": "job 42 train released",
    "gpu_memory_exceeded": "job 42 train uses 7014 MiB of GPU memory and had declared 6144 MiB",
    "gpu_idle": "job 42 train has left its GPUs unused for 30 min",
    "gpu_available": "GPU 1 is available",
    "reservation_created": "reservation 7 of bob created: 2 GPUs, 2026-02-04T14:00:00Z to 2026-02-04T16:00:00Z",
    "reservation_cancelled": "reservation 7 of bob cancelled: GPU 0, 3, 2026-02-04T14:00:00Z to 2026-02-04T16:00:00Z",
    "group_completed": "all 10 jobs of group sweep have ended: 9 Finished, 1 Failed",
    "group_held": (
        "17 jobs are on hold: 3 jobs in a row of its group 'lr' failed within a minute (the last: job 42, exit code 1)"
    ),
    "scheduler_online": "gflow 0.1.0 is online on gpu-server-01",
    "scheduler_drained": "gflow on gpu-server-01 was drained by root: driver update",
    "scheduler_resumed": "gflow on gpu-server-01 was resumed by root",
}


def test_every_event_has_a_line():
    assert {event: summary(told(event)) for event in EVENTS} == LINES


@pytest.mark.parametrize(
    ("secs", "lasted"),
    [(0.0, "0 s"), (0.04, "0 s"), (2.04, "2 s"), (2.5, "2.5 s"), (9.99, "10 s"), (59.4, "59 s"), (59.6, "01:10:05")],
)
def test_what_was_short_is_told_in_seconds(secs, lasted):
    completed, failed = told("job_completed"), told("job_failed")
    completed["job"]["runtime_secs"] = failed["job"]["runtime_secs"] = secs
    assert summary(completed) == f"job 42 train completed in {lasted}"
    assert summary(failed) == f"job 42 train failed: exit code 3 after {lasted}; tried again as job 43"


def test_a_completed_job_that_never_said_when_it_started():
    payload = told("job_completed")
    del payload["job"]["runtime_secs"], payload["job"]["runtime"]
    assert summary(payload) == "job 42 train completed"


def test_a_group_without_a_name_is_that_of_its_first_job():
    payload = told("group_completed")
    del payload["group"]["name"]
    assert summary(payload) == "all 10 jobs of the group of job 33 have ended: 9 Finished, 1 Failed"
    payload["group"] |= {"jobs": 1, "counts": {"Finished": 1}}
    assert summary(payload) == "the only job of the group of job 33 has ended: 1 Finished"


def test_a_headline_says_where_and_whose():
    assert headline(told("job_started")) == "[gpu-server-01] job 42 train started: on GPU 0, 1 (alice)"
    assert headline(told("gpu_available")) == "[gpu-server-01] GPU 1 is available"


@pytest.mark.parametrize("event", EVENTS)
def test_json_is_the_payload_and_the_others_are_messages(event):
    payload = told(event)
    assert json.loads(as_json(payload)) == public(payload)
    message = json.loads(as_slack(payload))
    assert message["text"] == message["blocks"][0]["text"]["text"] == headline(payload)
    message = json.loads(as_discord(payload))
    assert message["allowed_mentions"] == {"parse": []}
    assert message["content"].replace("\\", "") == headline(payload)


def test_the_id_of_a_delivery_comes_early_and_in_json_only():
    told_ = addressed(told("gpu_available"), "17-key")
    assert as_json(told_).startswith(b'{"event":"gpu_available","delivery":"17-key",')
    assert b"17-key" not in as_slack(told_) + as_discord(told_)


def test_markup_in_a_name_is_text():
    payload = told(owner="<!channel>&*_`@everyone")
    message = json.loads(as_slack(payload))
    for text in (message["text"], message["blocks"][0]["text"]["text"]):
        assert "(&lt;!channel&gt;&amp;*_`@everyone)" in text
    assert r"(\<!channel\>&\*\_\`@everyone)" in json.loads(as_discord(payload))["content"]


def test_no_name_decorates_or_links_anything():
    """Slack: text that is plain. Discord: no colon that could begin an emoji or follow the scheme of an address."""
    payload = told(owner=":tada: https://evil.example [x](http://y)")
    slack = json.loads(as_slack(payload))
    (block,) = slack["blocks"]
    assert (block["type"], block["text"]["type"], block["text"]["emoji"]) == ("section", "plain_text", False)
    assert (slack["mrkdwn"], slack["unfurl_links"], slack["unfurl_media"]) == (False, False, False)
    discord = json.loads(as_discord(payload))
    assert r"(\:tada\: https\://evil.example \[x\](http\://y))" in discord["content"]
    assert discord["flags"] == 4, "shows no page that is named"


@pytest.mark.parametrize("name", ["&" * 300, "*" * 300, "<@&>:" * 60])
def test_a_long_message_ends_with_a_whole_character(name):
    payload = told("scheduler_drained")
    payload["scheduler"]["host"] = name * 6
    slack, discord = json.loads(as_slack(payload)), json.loads(as_discord(payload))["content"]
    shown = slack["blocks"][0]["text"]["text"]
    assert len(shown) <= 3000
    assert html.unescape(shown) == one_line(headline(payload), MAX_BLOCK)
    assert len(discord) <= 2000
    assert headline(payload).startswith(re.sub(r"\\(.)", r"\1", discord))


@given(st.text(st.characters()))
def test_whatever_a_name_is_a_line_is_one_line(text):
    payload = told()
    payload["job"]["name"] = payload["job"]["user"] = text
    line = headline(payload)
    assert len(line) <= MAX_CHAT
    assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in line)
    for form in FORMATS.values():
        json.loads(form(payload))
    assert len(json.loads(as_discord(payload))["content"]) <= 2000


def test_a_line_has_an_end():
    assert one_line("a\n\x1bb\u202e c" * 200, 50) == ("a b c" * 200)[:49] + "…"
