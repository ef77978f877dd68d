"""Payloads: one for each kind of event, as the samples show them, and harmless whatever a job is called."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from gflow.core.events import Event, EventKind
from gflow.core.model import Reason, ReasonKind
from gflow.notify.formats import addressed
from gflow.notify.payloads import MAIL_TO, MAX_TEXT, moment, payload, public
from support import strategies
from support.told import AT, EVENTS, FAILED, GROUP, HOST, MEMBER, SAMPLE_DELIVERY, VERSION, told

SAMPLES = Path(__file__).parents[1] / "data" / "payloads"
DOCUMENT = Path(__file__).parents[2] / "docs" / "notifications.md"


def test_there_is_a_sample_of_every_event_and_of_nothing_else():
    assert set(EVENTS) == {kind.value for kind in EventKind}
    assert {path.stem for path in SAMPLES.iterdir()} == set(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_a_payload_is_what_its_sample_says(event):
    made = addressed(payload(EVENTS[event], host=HOST, version=VERSION), SAMPLE_DELIVERY)
    assert json.loads((SAMPLES / f"{event}.json").read_text(encoding="utf-8")) == made


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.skipif(not DOCUMENT.exists(), reason="installed without its documents")
def test_the_documented_sample_is_the_sample(event):
    shown = DOCUMENT.read_text(encoding="utf-8").partition(f"### {event}\n")[2].split("```json\n")[1].split("```")[0]
    assert shown == (SAMPLES / f"{event}.json").read_text(encoding="utf-8")


def test_the_shape_of_the_first_documentation_still_holds():
    made = told("job_completed")
    assert made["event"] == "job_completed"
    assert made["timestamp"] == "2026-02-04T12:30:45Z"
    assert {key: made["job"][key] for key in ("id", "user", "state")} == {
        "id": 42,
        "user": "alice",
        "state": "Finished",
    }
    assert made["scheduler"] == {"host": HOST, "version": VERSION}


def test_what_has_nothing_to_say_is_left_out():
    assert None not in told("job_submitted")["job"].values()
    assert "exit_code" not in told("job_submitted")["job"]
    assert "group" not in told("job_failed")


def test_the_limit_of_a_group_goes_along():
    event = Event(EventKind.COMPLETED, AT, MEMBER)
    assert payload(event, host=HOST, version=VERSION, max_concurrent=3)["group"] == {
        "id": GROUP,
        "name": "sweep",
        "max_concurrent": 3,
    }


def test_an_event_of_a_signal_and_one_of_the_system():
    made = payload(Event(EventKind.FAILED, AT, replace(FAILED, exit_code=137)), host=HOST, version=VERSION)["job"]
    assert (made["exit_code"], made["signal"]) == (137, "SIGKILL")
    lost = replace(FAILED, exit_code=None, reason=Reason(ReasonKind.SYSTEM, text="no shell"))
    assert payload(Event(EventKind.FAILED, AT, lost), host=HOST, version=VERSION)["job"]["reason"] == {
        "SystemError": "no shell"
    }


@given(strategies.events)
def test_every_event_has_a_payload_that_is_json(event):
    if event.kind is EventKind.GROUP_COMPLETED or (event.job is None and event.kind.value.startswith("job_")):
        return  # what these say is theirs alone, and never missing
    event = replace(event, about={})
    made = payload(event, host=HOST, version=VERSION)
    assert json.loads(json.dumps(made).encode("utf-8")) == made


def test_long_texts_are_cut():
    command = told(command="x" * 10_000, argv=None)["job"]["command"]
    assert len(command) == MAX_TEXT
    assert command.endswith("…")


def test_mail_goes_to_whom_the_job_names_for_this_event_and_nobody_else_hears_of_them():
    wanted = {"notify_emails": ("a@b", "c@d"), "notify_on": ("job_failed",)}
    assert told("job_failed", **wanted)[MAIL_TO] == ["a@b", "c@d"]
    assert MAIL_TO not in told("job_completed", **wanted)
    assert told("group_completed", **wanted | {"notify_on": ("*",)})[MAIL_TO] == ["a@b", "c@d"]
    assert "a@b" not in json.dumps(public(told("job_failed", **wanted)))


def test_a_moment_beyond_all_calendars_is_none():
    assert moment(1e18) is None
    assert moment(None) is None
