"""gctl webhooks and gctl notify."""

import json

import pytest

from gflow.cli.gctl import COMMAND as GCTL
from support.fake_daemon import reply

MOMENT = 1795312506.5


def target(**fields):
    return {
        "kind": "webhook",
        "name": "https://example.com/hook",
        "key": "k",
        "queued": 0,
        "delivered": 12,
        "retried": 1,
        "dropped": 0,
        "given_up": 0,
        "last_result": "delivered",
        "last_result_at": MOMENT,
        "last_failure": "answered 500 (Internal Server Error)",
        "last_failure_at": MOMENT,
        "paused": False,
        "paused_until": None,
        "next_try": None,
    } | fields


def notifications(daemon, *targets, given_up=(), **fields):
    told = {"enabled": True, "outbox_trouble": None, "events_lost": 0, "targets": targets, "given_up": given_up}
    daemon.on("GET", "/notifications", reply(told | fields))


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_what_was_dropped_is_told(run, daemon):
    notifications(daemon, target(), target(name="b", dropped=7))
    done = run(GCTL, "webhooks")
    assert (done.status, done.err) == (0, "gctl webhooks: b: 7 deliveries were dropped, for too many waited\n")


def test_mails_that_were_withheld_are_told(run, daemon):
    notifications(daemon, target(name="m", mail_withheld={"ben": 7}))
    assert run(GCTL, "webhooks").err == "gctl webhooks: m: 7 mails for jobs of ben were not sent: too many\n"


def test_every_target_has_a_line(run, daemon):
    dead = {"name": "https://b.example", "queued": 7, "last_result": "failed", "paused": True, "next_try": MOMENT + 60}
    notifications(daemon, target(), target(**dead))
    done = run(GCTL, "webhooks")
    lines = done.out.splitlines()
    assert (done.status, done.err, len(lines)) == (0, "", 4)
    assert lines[0].split() == "TARGET KIND QUEUED DELIVERED RETRIED DROPPED GIVEN_UP LAST NEXT_TRY".split()
    assert lines[1].split() == "https://example.com/hook webhook 0 12 1 0 0 delivered 11/22-01:55:06 -".split()
    assert lines[2].split()[-4:] == ["failed", "11/22-01:55:06", "11/22-01:56:06", "(paused)"]
    assert lines[3] == "https://b.example: answered 500 (Internal Server Error)"


def test_what_was_given_up_is_listed_with_its_id(run, daemon):
    given_up = [
        {"id": f"{n}-k", "event": "job_failed", "target": "t", "attempts": 4, "at": MOMENT, "why": "no\x1b[2J"}
        for n in range(30, 0, -1)
    ]
    notifications(daemon, target(), given_up=given_up)
    lines = run(GCTL, "webhooks").out.splitlines()
    assert lines[3] == "Given up, the latest first (20 of 30):"
    assert lines[5].split() == ["30-k", "job_failed", "t", "4", "11/22-01:55:06", "no?[2J"]
    assert len(lines) == 25


def test_nobody_to_tell(run, daemon):
    notifications(daemon)
    assert run(GCTL, "webhooks").out == "Nobody is told of events: notifications are off, or no target is set.\n"


def test_trouble_is_said(run, daemon):
    notifications(daemon, target(), outbox_trouble="outbox.sqlite: disk is full", events_lost=88)
    assert run(GCTL, "webhooks").err.splitlines() == [
        "gctl webhooks: deliveries would not outlive the daemon: outbox.sqlite: disk is full",
        "gctl webhooks: 88 events were lost when the daemon was killed",
    ]


def test_as_data(run, daemon):
    notifications(daemon, target(), outbox_trouble="full")
    done = run(GCTL, "webhooks", "-o", "json")
    assert (done.err, json.loads(done.out)["targets"][0]["delivered"]) == ("", 12)


def test_redelivering_goes_on_after_one_that_is_declined(run, daemon):
    def answer(asked):
        if asked.json["id"] == "1-k":
            return reply({"error": "Delivery 1-k was made", "code": "not_found"}, 404)
        return reply({"id": asked.json["id"], "target": "t"})

    daemon.on("POST", "/notifications/redeliver", answer)
    done = run(GCTL, "webhooks", "redeliver", "1-k", "2-k")
    assert (done.status, done.out) == (1, "2-k waits for its turn at t.\n")
    assert done.err == "gctl webhooks: Delivery 1-k was made\n"


@pytest.mark.parametrize("words", [["redeliver"], ["list", "1"], ["deliver", "1-k"]])
def test_other_words_are_wrong_usage(run, daemon, words):
    done = run(GCTL, "webhooks", *words)
    assert done.status == 2
    assert "gctl webhooks redeliver ID" in done.err


def test_a_test_says_how_it_went(run, daemon):
    results = [{"target": "a", "error": None, "secs": 0.1234}, {"target": "b", "error": "refused\n", "secs": 1}]
    daemon.on("POST", "/notifications/test", reply({"results": results}))
    done = run(GCTL, "notify", "test")
    assert (done.status, done.out) == (1, "a: delivered in 0.123 s\nb: failed: refused?\n")
    assert [asked.json for asked in daemon.asked] == [{"target": None}]
    empty = {"target": "c", "error": None, "note": "nobody was written to, for 'to' is empty", "secs": 0.5}
    daemon.on("POST", "/notifications/test", reply({"results": [empty]}))
    done = run(GCTL, "notify", "test")
    assert (done.status, done.out) == (0, "c: reached in 0.5 s; nobody was written to, for 'to' is empty\n")
    daemon.asked.clear()
    daemon.on("POST", "/notifications/test", reply({"results": results[:1]}))
    assert run(GCTL, "notify", "test", "--target", "a").status == 0
    assert [asked.json for asked in daemon.asked] == [{"target": "a"}]
