"""Webhooks, with a real daemon and a real server that fails, hangs, resets, and takes its time."""

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import wait
from support.daemon import Daemon
from support.receiver import Receiver

HOOK = """
[[notifications.webhooks]]
url = "{url}"
events = ["job_submitted", "job_started", "job_completed", "job_failed"]
timeout_secs = {timeout_secs}
max_retries = {max_retries}
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as running:
        yield running


def daemon_for(receiver: Receiver, *paths: str, timeout_secs: float = 5, max_retries: int = 3) -> Daemon:
    """Not started yet; it tells these paths what happens to jobs."""
    daemon = Daemon()
    hooks = [HOOK.format(url=receiver.url(path), timeout_secs=timeout_secs, max_retries=max_retries) for path in paths]
    file = daemon.root / "config/gflow/gflow.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[notifications]\nenabled = true\n" + "".join(hooks))
    return daemon


def hold(daemon: Daemon, count: int) -> list[int]:
    """Submit so many jobs that stay on hold; each is an event."""
    return daemon.submit_all([{"command": "true"}] * count, hold=True)


def targets(daemon: Daemon) -> list[dict]:
    """How it goes with each, in the order of the configuration."""
    return daemon.get("/notifications")["targets"]


def nothing_queued(daemon: Daemon) -> bool:
    return not any(one["queued"] for one in targets(daemon))


def test_a_job_is_told_from_its_submission_to_its_end(receiver: Receiver):
    with daemon_for(receiver, "/ok") as daemon:
        job_id = daemon.submit("exit 3")
        daemon.wait_job(job_id)
        told = receiver.wait_for(3, "/ok")
        assert [one["event"] for one in told] == ["job_submitted", "job_started", "job_failed"]
        assert [one["body"]["event"] for one in told] == [one["event"] for one in told]
        assert (told[2]["body"]["job"]["id"], told[2]["body"]["job"]["state"]) == (job_id, "Failed")
        assert len({one["id"] for one in told}) == 3
        wait.until(lambda: targets(daemon)[0]["delivered"] == 3, "the count")


BEHAVIOURS = {  # path: (attempts seen, delivered, what is said of it)
    "/ok": (1, 1, None),
    "/slow/0.5": (1, 1, None),
    "/status/202": (1, 1, None),
    "/endless": (1, 1, None),
    "/flaky/500/2": (3, 1, "answered 500"),
    "/flaky/503/1": (2, 1, "answered 503"),
    "/flaky/408/1": (2, 1, "answered 408"),
    "/flaky/425/1": (2, 1, "answered 425"),
    "/flaky/429/1": (2, 1, "answered 429"),
    "/flaky/404/1": (1, 0, "answered 404"),
    "/flaky/400/1": (1, 0, "answered 400"),
    "/flaky/401/1": (1, 0, "answered 401"),
    "/status/500": (3, 0, "answered 500"),
    "/redirect": (1, 0, "answered 307"),
    "/reset/1": (2, 1, ""),
    "/drop/2": (3, 1, ""),
    "/garbage": (3, 0, ""),
    "/hang": (3, 0, ""),
    "/trickle": (3, 0, ""),
    "/later/3": (2, 1, "answered 429"),
}


def test_what_a_target_does_and_what_becomes_of_a_delivery(receiver: Receiver):
    with daemon_for(receiver, *BEHAVIOURS, timeout_secs=2, max_retries=2) as daemon:
        hold(daemon, 1)
        wait.until(lambda: nothing_queued(daemon), "the end of every delivery", 60)
        told = dict(zip(BEHAVIOURS, targets(daemon), strict=True))
        seen = {
            path: (len(receiver.received(path)), told[path]["delivered"], told[path]["given_up"]) for path in BEHAVIOURS
        }
        expected = {path: (tries, made, 1 - made) for path, (tries, made, _) in BEHAVIOURS.items()}
        assert seen == expected
        for path, (_, _, said) in BEHAVIOURS.items():
            assert (told[path]["last_failure"] is None) == (said is None), path
            assert (said or "") in (told[path]["last_failure"] or ""), path
        first, second = (one["at"] for one in receiver.received("/later/3"))
        assert 2.9 <= second - first < 8, "as long as it asked for"
        listed = daemon.cli("gctl", "webhooks")
        assert (listed.returncode, all(one["name"] in listed.stdout for one in told.values())) == (0, True)
        given_up = daemon.get("/notifications")["given_up"]
        assert len(given_up) == sum(1 - made for _, made, _ in BEHAVIOURS.values())
        key = told["/flaky/404/1"]["key"]
        (again,) = [one["id"] for one in given_up if one["id"].split("-")[1] == key]
        assert daemon.cli("gctl", "webhooks", "redeliver", again).returncode == 0
        assert [one["id"] for one in receiver.wait_for(2, "/flaky/404/1")] == [again, again]


def test_gctl_notify_test(receiver: Receiver):
    with daemon_for(receiver, "/ok", "/status/500", timeout_secs=2) as daemon:
        done = daemon.cli("gctl", "notify", "test")
        assert done.returncode == 1
        good, bad = done.stdout.splitlines()
        names = [one["name"] for one in targets(daemon)]
        assert good.startswith(f"{names[0]}: delivered in ")
        assert bad.startswith(f"{names[1]}: failed: answered 500")
        assert daemon.cli("gctl", "notify", "test", "--target", names[0]).returncode == 0
        assert [one["event"] for one in receiver.received("/ok")] == ["test", "test"]


def unrepeated(told: list[dict]) -> list[int]:
    """The ids of the jobs of the events, in the order they first came. Fails if an id was of two events."""
    bodies = defaultdict(list)
    for one in told:
        bodies[one["id"]].append(one["body"])
    assert all(body == repeats[0] for repeats in bodies.values() for body in repeats)
    assert sorted(bodies, key=lambda identity: int(identity.partition("-")[0])) == list(bodies), "in order"
    return [repeats[0]["job"]["id"] for repeats in bodies.values()]


def test_killed_with_500_undelivered_events_all_of_them_arrive_after_a_restart(receiver: Receiver):
    with daemon_for(receiver, "/gate", max_retries=0) as daemon:
        hold(daemon, 500)
        receiver.wait_for(1, "/gate")
        daemon.kill9()
        assert {one["try"] for one in receiver.received("/gate")} <= {1, 2}
        before = len(receiver.received("/gate"))
        receiver.gate.touch()
        daemon.start()
        receiver.wait_for(before + 500, "/gate")
        wait.until(lambda: nothing_queued(daemon), "the end of the queue")
        made = receiver.received("/gate")[before:]
        assert unrepeated(made) == list(range(1, 501)), "each of them, in order"
        assert len(made) == 500
        assert {one["id"].split("-")[1] for one in receiver.received("/gate")} == {targets(daemon)[0]["key"]}
        assert len({one["id"].split("-")[2] for one in receiver.received("/gate")}) == 1
        assert daemon.get("/notifications")["events_lost"] == 0


WITH_A_SLOW_OUTBOX = """
import time
from gflow.cli.gflowd import main
from gflow.notify.outbox import Outbox
Outbox.save = lambda *_: time.sleep(60)  # what is to be written stays in memory
main()
"""


@pytest.mark.parametrize("compact", [False, True])
def test_killed_in_a_burst_no_event_of_an_acknowledged_job_is_lost(receiver: Receiver, compact: bool):
    with daemon_for(receiver, "/gate") as daemon:
        daemon.stop()
        usual, daemon.program = daemon.program, ("-c", WITH_A_SLOW_OUTBOX)
        daemon.start()
        made = [job_id for _ in range(3) for job_id in hold(daemon, 800)]
        if compact:
            assert daemon.http("POST", "/state/compact").status == 200
        daemon.kill9()
        daemon.program = usual
        daemon.start()
        assert daemon.get("/notifications")["events_lost"] == 0
        assert targets(daemon)[0]["queued"] == len(made), "one of each"


def test_killed_again_and_again_while_it_delivers(receiver: Receiver):
    with daemon_for(receiver, "/slow/0.002") as daemon:
        for round_ in range(1, 5):
            hold(daemon, 150)
            receiver.wait_for(150 * (round_ - 1) + 37 * round_, "/slow/0.002")
            daemon.kill9()
            daemon.start()
        wait.until(lambda: len(set(unrepeated(receiver.received("/slow/0.002")))) == 600, "every event", 60)
        told = receiver.received("/slow/0.002")
        firsts = unrepeated(told)
        assert firsts == list(range(1, 601))
        repeats = len(told) - 600
        assert repeats <= 4 * 100, "only what was delivered in the last moments comes twice"
        assert daemon.get("/notifications")["events_lost"] == 0


def test_stopped_properly_nothing_comes_twice(receiver: Receiver):
    with daemon_for(receiver, "/slow/0.02") as daemon:
        hold(daemon, 200)
        receiver.wait_for(20, "/slow/0.02")
        daemon.restart()
        wait.until(lambda: nothing_queued(daemon), "the end of the queue", 60)
        numbers = [int(one["id"].partition("-")[0]) for one in receiver.received("/slow/0.02")]
        assert sorted(unrepeated(receiver.received("/slow/0.02"))) == list(range(1, 201))
        assert all(later >= earlier for earlier, later in itertools.pairwise(numbers))
        assert len(numbers) <= 201, "but for one whose answer was not waited for"


def test_no_target_slows_another_or_a_job(receiver: Receiver):
    with daemon_for(receiver, "/hang", "/slow/5", "/ok", "/status/500", timeout_secs=10) as daemon:
        job_ids = daemon.submit_all([{"command": "true"}] * 10)
        daemon.wait_jobs(job_ids, 30)
        receiver.wait_for(30, "/ok", 5)
        assert Counter(unrepeated(receiver.received("/ok"))) == dict.fromkeys(job_ids, 3)
        assert daemon.stop(15) == 0, "nor the end"


def test_a_restart_with_bad_settings_leaves_the_daemon_alone(receiver: Receiver):
    with daemon_for(receiver, "/ok") as daemon:
        pid = daemon.pid
        file = daemon.root / "config/gflow/gflow.toml"
        good = file.read_text()
        for bad, what in (("job_done", "events"), ("${NOBODY_SET_THIS}", "NOBODY_SET_THIS")):
            file.write_text(good.replace("job_failed" if what == "events" else receiver.url("/ok"), bad))
            done = daemon.cli("gflowd", "restart")
            assert (done.returncode, what in done.stderr, done.stderr.count("\n")) == (1, True, 1)
            assert daemon.get("/health")["pid"] == pid


def test_a_test_asked_for_in_pieces_is_of_the_target_named_there(receiver: Receiver):
    with daemon_for(receiver, "/ok", "/slow/0.1") as daemon:
        name = targets(daemon)[1]["name"]
        connection = daemon.connection()
        pieces = iter([b'{"target": ', json.dumps(name).encode() + b"}"])
        connection.request("POST", "/notifications/test", pieces, {"content-type": "application/json"})
        results = json.loads(connection.getresponse().read())["results"]
        connection.close()
        assert [one["target"] for one in results] == [name]


def test_bad_settings_are_said_in_a_line(receiver: Receiver):
    daemon = Daemon()
    try:
        file = daemon.root / "config/gflow/gflow.toml"
        file.parent.mkdir(parents=True)
        hook = HOOK.format(url="ftp://example.com/secret", timeout_secs=5, max_retries=1)
        file.write_text(f"[notifications]\nenabled = true\n{hook}")
        daemon.begin()
        assert daemon.process is not None
        assert daemon.process.wait(20) != 0
        last = daemon.said().strip().splitlines()[-1]
        assert last.startswith("gflowd: ")
        assert "url" in last
        assert "secret" not in last
    finally:
        daemon.close()
