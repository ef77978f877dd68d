"""Whose turn it is to start or stop the daemon: one command at a time, and nobody waits for ever."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.daemon import one_at_a_time
from gflow.daemon.hosting import HostingFailed
from gflow.daemon.one_at_a_time import turn

HOLD = """
import sys
from pathlib import Path
from gflow.daemon.one_at_a_time import turn
with turn(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process whose turn it is."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        yield process
        process.kill()


def test_who_waits_too_long_says_for_whom(
    tmp_path: Path, other: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_at_a_time, "TURN_SECS", 0.1)
    says = rf"^another gflowd \(pid {other.pid}\) starts or stops the daemon of {tmp_path}, .*; end it, or try again"
    with pytest.raises(HostingFailed, match=says), turn(tmp_path):
        pytest.fail("it is the other's turn")


def test_it_ends_with_who_had_it_and_is_not_inherited(tmp_path: Path, other: "subprocess.Popen[str]") -> None:
    other.kill()
    with turn(tmp_path):
        outlives = subprocess.Popen(["sleep", "1000"], close_fds=False)
    try:
        with turn(tmp_path):
            assert outlives.poll() is None
    finally:
        outlives.kill()
        outlives.wait()


def test_without_a_directory_there_is_nobody_to_wait_for(tmp_path: Path) -> None:
    with turn(tmp_path / "none"):
        assert not (tmp_path / "none").exists()
