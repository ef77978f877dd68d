"""A long past, with the real daemon and commands: jobs that ended long ago leave its memory and are still found."""

import json
import os
import pwd
import subprocess
import time
from collections.abc import Iterator

import pytest

from support.daemon import Daemon
from support.older import old_job, old_state, stamp
from support.wait import until

pytestmark = pytest.mark.once

ENDED = 1200
KEPT = 3


@pytest.fixture
def place() -> Iterator[Daemon]:
    """A daemon, not started yet, that keeps three ended jobs at hand; jobs 1 to 1200 ended an hour ago, some badly."""
    daemon = Daemon()
    try:
        daemon.data.mkdir(mode=0o700, parents=True)
        then = time.time() - 3600
        jobs = [
            old_job(
                number,
                state="Finished" if number % 10 else "Failed",
                submitted_at=stamp(then - 60),
                started_at=stamp(then - 60 + number / 100),
                finished_at=stamp(then + number / 100),
                run_dir=str(daemon.work),
                submitted_by=pwd.getpwuid(os.geteuid()).pw_name,
            )
            for number in range(1, ENDED + 1)
        ]
        (daemon.data / "state.json").write_text(json.dumps(old_state(*jobs)))
        config = daemon.root / "config" / "gflow"
        config.mkdir(parents=True)
        (config / "gflow.toml").write_text(f"[daemon.history_keep]\njobs = {KEPT}\n")
        yield daemon
    finally:
        daemon.close()


@pytest.fixture
def daemon(place: Daemon) -> Daemon:
    """The same, once all that is to move has moved."""
    place.start()
    until(lambda: at_hand(place) == KEPT, "the move of ended jobs to the history")
    return place


def at_hand(daemon: Daemon) -> int:
    counts: dict[str, int] = daemon.http("GET", "/status").body["jobs"]
    return sum(counts.values())


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


def test_every_command_finds_them(daemon: Daemon) -> None:
    rows = said(daemon.cli("gqueue", "-a", "-f", "JOBID,ST"))[1:]
    assert [row.split() for row in rows] == [[str(n), "CD" if n % 10 else "F"] for n in range(1, ENDED + 1)]
    assert len(said(daemon.cli("gqueue", "-s", "F", "-f", "JOBID"))) == 1 + ENDED // 10
    assert [row.split()[0] for row in said(daemon.cli("gqueue", "-j", "7,1199", "-f", "JOBID"))[1:]] == ["7", "1199"]
    assert "State=Finished (CD)" in daemon.cli("gjob", "show", "7").stdout
    stats = daemon.http("GET", "/stats").body
    assert (stats["completed_jobs"], stats["failed_jobs"]) == (ENDED - ENDED // 10, ENDED // 10)
    assert daemon.cli("gcancel", "7").stderr.strip().endswith("Job 7 is Finished and cannot be changed any more")


def test_new_jobs_go_on_from_them(daemon: Daemon) -> None:
    assert said(daemon.cli("gbatch", "--parsable", "--depends-on", "7", "true")) == [str(ENDED + 1)]
    assert daemon.wait_job(ENDED + 1)["state"] == "Finished"
    said(daemon.cli("gbatch", "--depends-on", "10", "true"))
    assert daemon.job(ENDED + 2)["state"] == "Cancelled", "job 10 had failed"


def test_kill_9_while_they_move(place: Daemon) -> None:
    """Whatever had moved or not when the daemon died: afterwards each of them is there once."""
    for _ in range(8):
        place.start()
        place.kill9()
    place.start()
    assert [job["id"] for job in place.http("GET", "/jobs").body] == list(range(1, ENDED + 1))
    until(lambda: at_hand(place) == KEPT, "the move of ended jobs to the history")
    assert [job["id"] for job in place.http("GET", "/jobs").body] == list(range(1, ENDED + 1))
    assert place.submit("true") == ENDED + 1
