"""gflow top in a real terminal of 80 and of 40 columns, before a real daemon that is killed and comes back."""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator

import pytest

from support.daemon import Daemon
from support.terminal import Terminal
from support.wait import until

pytestmark = pytest.mark.once


class Screen:
    """A terminal of tmux in which a program of the daemon runs."""

    def __init__(self, daemon: Daemon, *command: str) -> None:
        self._tmux = ["tmux", "-S", str(daemon.root / "screen.sock"), "-f", "/dev/null"]
        line = f"{shlex.join(daemon.command(*command))}; echo left with $?; exec sleep 1000"
        surroundings = [f"{name}={value}" for name, value in daemon.surroundings.items()]
        self._run("new-session", "-d", "-x", "80", "-y", "24", "env", *surroundings, "sh", "-c", line)

    def _run(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, timeout=20, check=True)
        return done.stdout

    def type(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(lines))

    def text(self) -> str:
        return self._run("capture-pane", "-p")

    def shows(self, *words: str, without: str = "\0") -> str:
        """Wait until all words are on the screen, and this one is not; the screen."""

        def look() -> str | None:
            text = self.text()
            return text if all(word in text for word in words) and without not in text else None

        try:
            return until(look, f"{words} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None

    def type_bytes(self, *values: int) -> None:
        self._run("send-keys", "-H", *(f"{value:x}" for value in values))

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def machine() -> Iterator[Daemon]:
    with Daemon("--simulated-gpus", "2") as daemon:
        yield daemon


def test_a_machine_is_watched_and_steered(machine: Daemon) -> None:
    count = "i=0; while :; do i=$((i+1)); echo count $i; sleep 0.2; done"
    counting = machine.gbatch("--name", "counting", "--gpus", "2", "--time", "1:00:00", count)
    waiting = machine.gbatch("--name", "waiting", "--gpus", "1", "echo it runs; exec sleep 1000")
    machine.wait_log(counting, b"count 1\n")
    screen = Screen(machine, "gflow", "top")
    text = screen.shows("counting", "(Resources)", "count 2", "0 1 counting", "1 running  1 waiting", "q quit")
    assert max(map(len, text.splitlines())) <= 80

    screen.type("Down")
    screen.shows(f"job {waiting} waiting (PD)", "It needs 1 GPU")
    machine.gbatch("--name", "held", "--hold", "true")
    screen.shows("held", "(JobHeldUser)", "2 waiting")

    screen.type_bytes(0xFF, 0xE9)  # no UTF-8: nothing
    screen.resize(40, 20)
    text = screen.shows("counting", "1 R  2 PD", "q quit", without="REMAINING")
    assert max(map(len, text.splitlines())) <= 40
    screen.resize(80, 24)

    machine.kill9()
    screen.shows("reconnecting", "counting")
    machine.start()
    screen.shows("counting", without="reconnecting")

    screen.type("Home", "c")
    screen.shows("Cancel job 1 (counting)?")
    screen.type("y")
    screen.shows("Job 1 cancelled.", "counting  CA", "waiting   R ")
    assert machine.wait_job(counting)["state"] == "Cancelled"
    screen.type("Down")
    screen.shows(f"job {waiting} waiting (R)", "it runs", without="counting  CA")

    screen.type("a")
    screen.shows(f"[gjob-{waiting}]", without="gflow top")
    screen.type("C-b", "d")
    screen.shows("gflow top")

    os.kill(machine.pid, signal.SIGSTOP)
    screen.type("h")
    screen.shows("asking gflowd")
    screen.type("q")
    screen.shows("left with 0")
    os.kill(machine.pid, signal.SIGCONT)
    screen.close()


def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(machine: Daemon) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        with Terminal(machine.command("gflow", "top"), machine.surroundings) as terminal:
            until(lambda: "q\x1b" in terminal.printed and "No jobs found." in terminal.printed, "the screen")
            terminal.process.send_signal(number)
            assert terminal.end() == 128 + number
            after = terminal.printed.rpartition("No jobs found.")[2]
            assert all(f"\x1b[?{mode}" in after for mode in ("1049l", "25h", "1000l"))
            assert "Traceback" not in terminal.printed
