"""`gflowd up`, `status`, `restart` and `down`, in a tmux server and as a detached process; jobs outlive all of them."""

import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemon import GRACE, Daemon
from support.scratch import lives
from support.wait import until


@pytest.fixture
def place() -> Iterator[Daemon]:
    """The scratch directories of a daemon that nobody has started; its tmux server is not the user's."""
    nobody = Daemon()
    try:
        yield nobody
    finally:
        nobody.close()


def sessions(place: Daemon) -> list[str]:
    """The sessions of the user's tmux server."""
    listed = ["tmux", "list-sessions", "-F", "#{session_name}"]
    return subprocess.run(
        listed, env=place.surroundings, capture_output=True, text=True, check=False
    ).stdout.splitlines()


def pid_of(said: str) -> int:
    found = re.search(r"pid (\d+)", said)
    assert found, said
    return int(found[1])


def test_a_day_in_its_life(place: Daemon):
    stopped = place.cli("gflowd", "status")
    assert (stopped.returncode, stopped.stdout.startswith("Status: Not running")) == (3, True)

    up = place.cli("gflowd", "up", "--simulated-gpus", "3", "--gpus", "0,2", **{GRACE: "1"})
    assert (up.returncode, up.stderr) == (0, "")
    first = pid_of(up.stdout)
    assert sessions(place) == ["gflow_server"]
    again = place.cli("gflowd", "up")
    assert (again.returncode, again.stdout) == (0, f"gflowd is already running (pid {first}).\n")
    again = place.cli("gflowd", "up", "--gpus", "2,0", "--simulated-gpus", "3")
    assert (again.returncode, again.stdout) == (0, f"gflowd is already running with these options (pid {first}).\n")
    again = place.cli("gflowd", "-v", "up", "--simulated-gpus", "4", "--gpus", "0,2")
    without = f"gflowd: gflowd is already running (pid {first}), without -v --simulated-gpus 4:"
    way_out = "'gflowd -v restart --simulated-gpus 4 --gpus 0,2' has it run with that"
    assert (again.returncode, again.stderr) == (1, f"{without} {way_out}\n")
    other = place.socket.with_name("other.sock")
    again = place.cli("gflowd", "up", "--socket", str(other))
    assert (again.returncode, again.stdout) == (1, "")
    assert f"(pid {first}) has {place.data}, and listens on {place.socket};" in again.stderr
    status = place.cli("gflowd", "status", "--socket", str(other))
    assert (status.returncode, f"Detail: it listens on {place.socket}, not on {other}" in status.stdout) == (1, True)

    status = place.cli("gflowd", "status")
    assert status.returncode == 0
    told = dict(line.split(": ", 1) for line in status.stdout.splitlines())
    assert (told["Status"], told["PID"], told["GPUs"]) == ("Running", str(first), "2 of 2 available (simulated)")
    assert (told["Executor"], told["Data"], told["Socket"]) == ("tmux", str(place.data), str(place.socket))
    assert place.get("/info")["allowed_gpu_indices"] == [0, 2]

    running = place.gbatch("sleep 1; exit 7")
    place.wait_running(running)
    restarted = place.cli("gflowd", "restart", "--simulated-gpus", "1")
    assert restarted.returncode == 0, restarted
    second = pid_of(restarted.stdout.splitlines()[-1])
    assert second != first
    assert not lives(first)
    assert place.get("/status")["gpu_total"] == 1
    job = place.wait_job(running)
    assert (job["state"], job["exit_code"]) == ("Failed", 7)

    careless = place.gbatch("tmux kill-session")
    assert place.wait_job(careless)["state"] == "Finished"
    until(lambda: sessions(place) == [], "the end of the daemon's terminal")
    assert place.cli("gflowd", "reload", "--exec").returncode == 0
    outlives = place.gbatch("sleep 0.5; echo done >outlived")
    place.wait_running(outlives)
    down = place.cli("gflowd", "down")
    assert (down.returncode, down.stdout) == (0, f"gflowd stopped (pid {second}).\n")
    assert not lives(second)
    assert sessions(place) == []
    assert not place.socket.exists()
    until((place.work / "outlived").exists, "the job's own end")
    assert place.cli("gflowd", "down").stdout == "gflowd is not running.\n"

    assert place.cli("gflowd", "start").returncode == 0
    job = place.wait_job(outlives)
    assert (job["state"], job["exit_code"]) == ("Finished", 0)
    assert place.cli("gflowd", "stop").returncode == 0


def test_restarts_at_the_same_moment_keep_its_flags(place: Daemon):
    """Each finds the daemon of the one before, not the gap in which there is none."""
    first = place.cli("gflowd", "up", "--simulated-gpus", "2")
    assert first.returncode == 0, first
    at_once = [place.spawn("gflowd", "restart") for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in at_once]
    assert [process.returncode for process in at_once] == [0, 0, 0], said
    stopped = [pid_of(lines.splitlines()[0]) for lines in said]
    started = [pid_of(lines.splitlines()[1]) for lines in said]
    (last,) = set(started) - set(stopped)
    assert {pid_of(first.stdout), *started} == {*stopped, last}, "one after the other"
    assert place.get("/health")["pid"] == last
    assert place.get("/status")["gpu_total"] == 2
    assert stat.S_IMODE((place.data / "gflowd.turn").stat().st_mode) == 0o600
    assert place.cli("gflowd", "down").returncode == 0


@pytest.mark.once
def test_a_configuration_file_reaches_the_daemon(place: Daemon, tmp_path: Path):
    named = tmp_path / "my gflow.toml"
    named.write_text('[daemon]\nsimulated_gpus = 2\ngpu_allocation_strategy = "random"\n')
    assert place.cli("gflowd", "--config", str(named), "up").returncode == 0
    info = place.get("/info")
    assert (len(info["gpus"]), info["gpu_allocation_strategy"]) == (2, "random")
    assert place.cli("gflowd", "down").returncode == 0


@pytest.mark.once
def test_without_tmux_sessions_it_is_a_process_of_its_own(place: Daemon):
    """The name of the session is taken, as by a daemon of another data directory."""
    taken = ["tmux", "new-session", "-d", "-s", "gflow_server", "sleep", "1000"]
    subprocess.run(taken, env=place.surroundings, check=True)
    up = place.cli("gflowd", "up")
    assert up.returncode == 0, up
    pid = pid_of(up.stdout)
    assert os.getsid(pid) == pid
    assert place.get("/health")["pid"] == pid
    assert "listening on" in (place.data / "gflowd.log").read_text()
    assert place.cli("gflowd", "down").returncode == 0
    assert sessions(place) == ["gflow_server"]


@pytest.mark.once
def test_a_daemon_that_cannot_start_says_why(place: Daemon, tmp_path: Path):
    place.data.parent.mkdir()
    place.data.write_text("in the way")
    failed = place.cli("gflowd", "up")
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert str(place.data) in failed.stderr
    assert sessions(place) == []


@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gpus", "x"), "--gpus"),
        (("--gpu-allocation-strategy", "best"), "best"),
        (("--gpu-poll-interval-secs", "0"), "--gpu-poll-interval-secs: use more than 0"),
    ],
)
def test_a_bad_option_starts_nothing(place: Daemon, words: tuple[str, ...], said: str):
    for verb in ("up", "run"):
        refused = place.cli("gflowd", verb, *words)
        assert refused.returncode == 2
        assert (len(refused.stderr.splitlines()), said in refused.stderr) == (1, True), refused.stderr
    assert not place.socket.exists()


@pytest.mark.once
def test_a_bad_configuration_names_file_and_key(place: Daemon):
    path = place.root / "config" / "gflow" / "gflow.toml"
    path.parent.mkdir(parents=True)
    for text, word in (("[daemon]\ncolour = 1\n", "colour"), ("[daemon]\nport = 'x'\n", "port"), ("[", "Invalid")):
        path.write_text(text)
        refused = place.cli("gflowd", "run")
        assert (refused.returncode, str(path) in refused.stderr, word in refused.stderr) == (1, True, True)
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.once
def test_a_daemon_is_found_and_stopped_though_its_configuration_is_broken(place: Daemon):
    path = place.root / "config" / "gflow" / "gflow.toml"
    path.parent.mkdir(parents=True)
    elsewhere = place.root / "other.sock"
    path.write_text(f"[daemon]\nsocket = '{elsewhere}'\n")
    started = place.cli("gflowd", "up")
    assert started.returncode == 0, started
    path.write_text("[")
    for verb, said in (("status", "Status: Running"), ("down", "gflowd stopped"), ("down", "gflowd is not running.")):
        done = place.cli("gflowd", verb)
        where = place.socket if "not" in said else elsewhere
        assert (done.returncode, done.stdout.startswith(said)) == (0, True), done
        assert done.stderr.startswith(f"gflowd: {path}: Invalid")
        assert done.stderr.endswith(f"; the daemon is looked for on {where}\n")
    assert not elsewhere.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(place: Daemon, number: signal.Signals):
    place.start()
    running = place.submit("sleep 0.3; exit 6")
    place.wait_running(running)
    assert place.process is not None
    place.process.send_signal(number)
    assert place.process.wait(10) == 0
    assert not place.socket.exists()
    place.start()
    assert place.wait_job(running)["exit_code"] == 6


_IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "gflow.cli.gflowd", "run"])
"""


@pytest.mark.once
def test_one_in_a_terminal_goes_with_it(place: Daemon):
    ours, theirs = pty.openpty()
    with (place.root / "daemon.log").open("wb") as log:
        place.process = subprocess.Popen(
            [sys.executable, "-c", _IN_A_TERMINAL],
            env=place.environment,
            stdin=theirs,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    os.close(theirs)
    until(place._answers, "an answer of the daemon")
    place.process.send_signal(signal.SIGHUP)
    until(lambda: "configuration: nothing has changed" in place.said(), "it to read its configuration")
    os.close(ours)
    assert place.process.wait(10) == 0
    assert "stopping; running jobs go on" in place.said()


@pytest.mark.once
def test_without_tmux_it_says_so(place: Daemon):
    programs = place.root / "bin"
    programs.mkdir()
    for name in ("sh", "bash", "sleep"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    refused = place.cli("gflowd", "run", PATH=str(programs))
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("gflowd: tmux is not installed")
    assert list(place.runtime.glob("*.sock")) == []
