"""The stream of events tells every transition once, in order, and a reader that comes back misses none."""

import pytest

from support.daemon import Daemon
from support.events import Events


def test_a_life_is_told_in_order(shared: Daemon):
    with Events(shared) as events:
        job_id = shared.gbatch("--name", "told", "--hold", "exit 3")
        shared.cli("gjob", "release", str(job_id))
        heard = [event for event in events.until("job_failed", job_id) if event.data.get("job_id") == job_id]
    assert [(event.kind, event.data["state"]) for event in heard] == [
        ("job_submitted", "Hold"),
        ("job_released", "Queued"),
        ("job_started", "Running"),
        ("job_failed", "Failed"),
    ]
    assert heard[-1].data["final_state"] == "Failed"
    assert heard[-1].data["exit_code"] == 3
    assert {event.data["name"] for event in heard} == {"told"}
    assert [event.data["type"] for event in heard] == [event.kind for event in heard]


def test_ids_count_up_without_a_gap(shared: Daemon):
    with Events(shared) as events:
        ids = shared.submit_all([{"command": "true"}] * 20)
        shared.wait_jobs(ids)
        last = shared.submit("true")
        numbers = [event.id for event in events.until("job_completed", last)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) == 63


def test_a_reader_that_comes_back_is_told_what_it_missed(shared: Daemon):
    with Events(shared) as events:
        first = shared.submit("true")
        seen = events.until("job_completed", first)
    missed = shared.submit("false")
    shared.wait_job(missed)
    with Events(shared, last_seen=seen[-1].id) as events:
        told = events.until("job_failed", missed)
    assert [(event.id, event.kind) for event in told] == [
        (seen[-1].id + 1, "job_submitted"),
        (seen[-1].id + 2, "job_started"),
        (seen[-1].id + 3, "job_failed"),
    ]


def test_also_over_a_restart_of_the_daemon(daemon: Daemon):
    with Events(daemon) as events:
        seen = events_of(events, daemon)
    missed = daemon.submit("exit 4")
    daemon.wait_job(missed)
    daemon.restart()
    after = daemon.submit("true")
    with Events(daemon, last_seen=seen) as events:
        told = events.until("job_completed", after)
    assert [event.id for event in told] == list(range(seen + 1, seen + 8))
    assert [event.kind for event in told] == [
        *("job_submitted", "job_started", "job_failed"),
        "scheduler_online",
        *("job_submitted", "job_started", "job_completed"),
    ]
    assert [event.data.get("job_id") for event in told] == [missed] * 3 + [None] + [after] * 3


@pytest.mark.once
def test_a_daemon_that_starts_says_so_and_so_does_an_array_that_is_done(daemon: Daemon):
    with Events(daemon, last_seen=0) as events:
        ids = daemon.submit_all([{"command": "true", "group_id": "g"}, {"command": "false", "group_id": "g"}])
        (online, *_, done) = events.until("group_completed")
    assert (online.id, online.kind) == (1, "scheduler_online")
    assert done.data["counts"] == {"Finished": 1, "Failed": 1}
    assert (done.data["group_id"], done.data["first_job_id"]) == ("g", ids[0])


def events_of(events: Events, daemon: Daemon) -> int:
    """The id of the last event of a job that ran."""
    last = events.until("job_completed", daemon.submit("true"))[-1].id
    assert last is not None
    return last


@pytest.mark.once
def test_one_that_was_away_for_too_long_is_told_so(daemon: Daemon):
    for _ in range(5):
        daemon.submit_all([{"command": "true", "hold": True}] * 1000)
    with Events(daemon, last_seen=1) as events:
        assert events.next().kind == "missed"
        first = events.next()
        assert first.id is not None
        assert first.id > 2
        assert events.until("job_submitted", 5000)[-1].id == first.id + 4095
