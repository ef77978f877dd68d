"""Reservations with a real daemon: kept over kill -9, others kept out, and nobody let wait longer than need be."""

import fcntl
import os
import pty
import pwd
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.daemon import Daemon, moment
from support.stepped_clock import Clock, build_library
from support.wait import until

pytestmark = pytest.mark.once

ME = pwd.getpwuid(os.geteuid()).pw_name
SLOT = 1800
PROMPT_SECS = 2.0


@pytest.fixture
def gpus() -> Iterator[Daemon]:
    """A daemon with four GPUs."""
    with Daemon("--simulated-gpus", "4") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "offset")


@pytest.fixture
def stepped(library: Path, clock: Clock) -> Iterator[Daemon]:
    """A daemon with four GPUs that goes by `clock`."""
    with Daemon("--simulated-gpus", "4", environment=clock.environment(library)) as daemon:
        yield daemon


def slot_ahead(secs: float) -> int:
    """The first half hour that is at least so far ahead."""
    return -int(-(time.time() + secs) // SLOT) * SLOT


def stamp(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def reserve(daemon: Daemon, user: str, start_at: int, *spec: str, duration: str = "30m") -> int:
    """Reserve GPUs with the real gctl; the id."""
    done = daemon.cli(
        *("gctl", "reserve", "create", "--user", user, "--start", stamp(start_at), "--timezone", "UTC"),
        *("--duration", duration, *spec),
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    first, second, *_ = done.stdout.splitlines()
    assert first == "Reservation created successfully."
    return int(second.removeprefix("  ReservationID="))


def statuses(daemon: Daemon) -> list[str]:
    return [one["status"] for one in daemon.get("/reservations")]


def test_what_was_reserved_survives_kill_9(gpus: Daemon):
    at = slot_ahead(3600)
    first = reserve(gpus, "alice", at, "--gpus", "2", duration="2h")
    second = reserve(gpus, "bob", at + SLOT, "--gpu-spec", "0,2")
    third = reserve(gpus, "carol", at, "--gpus", "1")
    assert gpus.cli("gctl", "reserve", "cancel", str(third)).returncode == 0
    before = gpus.get("/reservations")
    gpus.kill9()
    gpus.start()
    assert gpus.get("/reservations") == before
    assert statuses(gpus) == ["Pending", "Cancelled", "Pending"]
    refused = gpus.cli(
        *("gctl", "reserve", "create", "--user", "eve", "--gpus", "3", "--duration", "1h"),
        *("--start", f"{stamp(at)}Z"),
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"gctl reserve create: 3 GPUs cannot be reserved: taken by reservation {first} of alice\n"
    assert reserve(gpus, "eve", at, "--gpus", "1") == third + 1
    shown = gpus.cli("gctl", "reserve", "get", str(second), "--timezone", "UTC").stdout.splitlines()
    assert f"  StartTime={stamp(at + SLOT)}:00 UTC (+00:00)" in shown
    assert "  GPUIndices=0,2" in shown


def test_jobs_that_would_reach_into_it_wait_and_start_at_once_when_it_is_cancelled(gpus: Daemon):
    reserved = reserve(gpus, "alice", slot_ahead(600), "--gpus", "4", duration="1h")
    endless = gpus.gbatch("--gpus", "1", "sleep", "60")
    too_long = gpus.gbatch("--gpus", "1", "--time", "1:00:00", "sleep", "60")
    assert gpus.wait_job(gpus.gbatch("--gpus", "4", "--time", "1", "true"))["state"] == "Finished"
    assert gpus.states(endless, too_long) == ["Queued", "Queued"]
    assert gpus.job(endless)["reason"] == "WaitingForGpu"
    why = gpus.cli("gjob", "why", str(endless)).stdout
    assert f"for alice (reservation {reserved})" in why
    cancelled = time.time()
    assert gpus.cli("gctl", "reserve", "cancel", str(reserved)).returncode == 0
    for job_id in (endless, too_long):
        assert moment(gpus.wait_running(job_id)["started_at"]) - cancelled < PROMPT_SECS


@pytest.mark.parametrize("followed", [True, False], ids=["and mine begins", "and none follows"])
def test_others_are_kept_out_to_the_last_moment_and_let_in_at_the_next(stepped: Daemon, clock: Clock, followed: bool):
    begins = slot_ahead(SLOT)
    clock.set(int(begins - 20 - time.time()))
    reserve(stepped, "bob", begins, "--gpu-spec", "0-3")
    ends = begins + SLOT
    if followed:
        reserve(stepped, ME, ends, "--gpu-spec", "1-3")
    waiting = stepped.submit_all([{"command": "sleep 60", "gpus": 1}, {"command": "sleep 60", "gpus": 2}])
    assert statuses(stepped)[0] == "Pending"
    clock.set(int(begins + 1 - time.time()))
    until(lambda: statuses(stepped)[0] == "Active", "the beginning")
    short = stepped.submit("sleep 60", gpus=1, time_limit=120)
    clock.set(int(ends - 4 - time.time()))
    assert stepped.states(*waiting, short) == ["Queued"] * 3
    until(lambda: statuses(stepped)[0] == "Completed", "the end")
    for job_id in (*waiting, short):
        until(lambda job_id=job_id: stepped.job(job_id)["started_at"], f"the start of {job_id}")
    starts = [moment(stepped.job(job_id)["started_at"]) - ends for job_id in (*waiting, short)]
    assert all(0 <= late < PROMPT_SECS for late in starts), starts


def test_a_timeline_in_a_pipe_is_plain_and_80_wide(gpus: Daemon):
    empty = gpus.cli("gctl", "reserve", "list", "--timeline")
    assert (empty.returncode, empty.stdout) == (0, "No reservations found.\n")
    reserve(gpus, "alice", slot_ahead(3600), "--gpus", "2", duration="3h")
    shown = gpus.cli("gctl", "reserve", "list", "--timeline", "--timezone", "Asia/Kathmandu")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.isascii()
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert " = pending" in shown.stdout
    forced = gpus.cli("gctl", "reserve", "list", "--timeline", "--color", "always", PYTHONIOENCODING="latin-1")
    assert "\x1b[33m===" in forced.stdout


def test_a_timeline_on_a_terminal_has_colour_and_uses_its_width(gpus: Daemon):
    reserve(gpus, "alice", slot_ahead(3600), "--gpus", "2", duration="3h")
    lines = on_a_terminal(gpus, 130, "gctl", "reserve", "list", "--timeline").decode().splitlines()
    assert ", 30 minutes a column" in lines[0]
    drawn = next(line for line in lines if "alice" in line)
    assert "\x1b[33m▒▒▒▒▒▒\x1b[0m" in drawn
    assert 100 < len(drawn) - len("\x1b[33m\x1b[0m") <= 130


def on_a_terminal(daemon: Daemon, columns: int, *command: str) -> bytes:
    """What a command prints to a terminal that is so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**daemon.surroundings, "TERM": "xterm-256color"}
    try:
        with subprocess.Popen(
            daemon.command(*command), stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        ) as shown:
            os.close(theirs)
            printed = b""
            try:
                while piece := os.read(ours, 65536):
                    printed += piece
            except OSError:
                pass  # the other end is closed
            assert shown.wait(20) == 0
        return printed
    finally:
        os.close(ours)
