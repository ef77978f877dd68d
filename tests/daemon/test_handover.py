"""What one program hands over to the next in the same process."""

import json
import socket
import subprocess

import pytest

from gflow.daemon import handover, hosting
from gflow.daemon.handover import VARIABLE, CannotReplace, take, try_out
from gflow.daemon.systemd import Given


def told(pid, *sockets, **more):
    said = {"pid": pid, "sockets": [sock.detach() for sock in sockets], "tcp": None, "of_systemd": False}
    return json.dumps({**said, "notify": "", "watchdog_secs": None, "unit": False, **more})


def test_nothing_is_handed_over_to_the_first():
    assert take({"PATH": "/bin"}, 7) is None


def test_what_is_handed_over_is_taken_once():
    unix, tcp, *connections = (socket.socket(kind) for kind in (socket.AF_UNIX, socket.AF_INET) * 2)
    open_ones = [sock.detach() for sock in connections]
    said = told(
        7,
        tcp,
        unix,
        connections=open_ones,
        tcp=["localhost", 59000],
        of_systemd=True,
        notify="@n",
        watchdog_secs=60.0,
        unit=True,
    )
    environ = {VARIABLE: said, "PATH": "/bin"}
    found = take(environ, 7)
    assert environ == {"PATH": "/bin"}
    handed, given = found
    with handed.unix:
        assert (handed.unix.family, handed.unix.get_inheritable()) == (socket.AF_UNIX, False)
        assert (handed.of_systemd, handed.tcp, len(handed.tcp_sockets)) == (True, ("localhost", 59000), 1)
        assert given == Given("@n", 60.0, unit=True)
        handed.close()
        assert handed.tcp_sockets[0].fileno() == -1
        (kept,) = handed.take_connections()
        with kept:
            assert (kept.fileno(), kept.get_inheritable()) == (open_ones[0], False)
        assert handed.take_connections() == [], "they are given once"


def test_what_another_process_was_handed_is_left_alone():
    with socket.socket(socket.AF_UNIX) as ours:
        kept = ours.dup()
        assert take({VARIABLE: told(6, kept)}, 7) is None


def test_the_program_that_is_installed_can_be_loaded():
    try_out()


@pytest.mark.parametrize("why", ["ImportError: no such thing", None])
def test_one_that_cannot_be_loaded_is_said_in_one_line(tmp_path, monkeypatch, why):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho Traceback >&2\necho '{why or ''}' >&2\nexit 1\n")
    program.chmod(0o755 if why else 0o644)
    monkeypatch.setattr(handover.sys, "executable", str(program))
    with pytest.raises(CannotReplace) as caught:
        try_out()
    assert "\n" not in str(caught.value)
    assert (why or "Permission denied") in str(caught.value)


def test_an_end_comes_to_its_time(monkeypatch):
    def slow(*_words, timeout, **_more):
        raise subprocess.TimeoutExpired("python", timeout)

    monkeypatch.setattr(handover.subprocess, "run", slow)
    with pytest.raises(CannotReplace, match="cannot be run"):
        try_out()


def test_what_lies_where_the_daemon_was_started_is_not_loaded(tmp_path, monkeypatch):
    (tmp_path / "gflow").mkdir()
    (tmp_path / "gflow" / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    monkeypatch.chdir(tmp_path)
    try_out()
    assert not (tmp_path / "ran").exists()
    subprocess.run([*hosting.program(), "--help"], check=True, capture_output=True)
    assert not (tmp_path / "ran").exists()
