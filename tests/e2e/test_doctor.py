"""`gflowd doctor` beside a daemon that runs, that hangs, and that is gone while its jobs run on."""

import json
import os
import signal

import pytest

from support.daemon import Daemon

pytestmark = pytest.mark.once


def findings(daemon: Daemon, level: str) -> list[str]:
    done = daemon.cli("gflowd", "doctor", "-o", "json")
    told = json.loads(done.stdout)["findings"]
    assert done.returncode == (1 if any(one["level"] == "problem" for one in told) else 0)
    return [one["what"] for one in told if one["level"] == level]


def test_what_it_says_of_a_daemon(daemon: Daemon):
    job = daemon.submit("sleep 600")
    daemon.wait_running(job)
    assert findings(daemon, "problem") == []
    assert f"gflowd is well (pid {daemon.pid})" in findings(daemon, "ok")
    shown = daemon.cli("gflowd", "doctor")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert {line.split()[0] for line in shown.stdout.splitlines() if not line.startswith(" ")} <= {"ok", "note"}
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        assert findings(daemon, "problem") == [f"gflowd (pid {daemon.pid}) does not answer on {daemon.socket}"]
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    daemon.kill9()
    assert "terminals of jobs are open without a daemon: gjob-1" in findings(daemon, "note")
