"""Variables of a process are read of one's own, and of those no more than there can be."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gflow.launch import surroundings
from gflow.launch.surroundings import variables_of
from support.wait import until


@contextmanager
def sleeper(**how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has begun: in the moment of its execve it has no environment."""
    with subprocess.Popen(["sleep", "600"], **how) as child:
        until(Path(f"/proc/{child.pid}/environ").read_bytes, "an environment")
        yield child
        child.kill()


def test_variables_are_told_by_their_whole_names() -> None:
    environment = {"TMUX_PANE": "%7", "XTMUX": "no", "TMUX": "/a/b,1,2", "EMPTY": ""}
    with sleeper(env=environment) as child:
        assert variables_of(child.pid, ("TMUX", "TMUX_PANE", "EMPTY", "NONE", "X")) == {
            "TMUX": "/a/b,1,2",
            "TMUX_PANE": "%7",
            "EMPTY": "",
        }
    assert variables_of(child.pid, ("TMUX",)) == {}


@pytest.mark.skipif(os.getuid() != 0, reason="only root could look at another user's")
def test_another_user_s_are_not_read() -> None:
    with sleeper(env={"TMUX": "x"}, user=4242) as child:
        assert variables_of(child.pid, ("TMUX",)) == {}


def test_one_that_does_not_answer_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(surroundings, "_SECS", 0.01)
    monkeypatch.setattr(surroundings, "_environ", lambda _: gate.wait() and b"TMUX=x")
    assert variables_of(os.getpid(), ("TMUX",)) == {}
    gate.set()


def test_a_large_one_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_MOST_BYTES", 4000)
    with sleeper(env={"TMUX": "x" * 100_000}) as child:
        assert len(variables_of(child.pid, ("TMUX",))["TMUX"]) == 4000 - len("TMUX=")
