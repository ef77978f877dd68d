"""A daemon that hangs: every command says so in time, and waits go on when it comes back."""

import os
import signal
import subprocess
from typing import IO

from support.daemon import Daemon

ENDLESS = "waiting until it does; jobs run on without it"
LIMITED = "still waiting, for up to 60 s"


def first_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def finished(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_silence_is_told_of_and_survived(daemon: Daemon):
    job_id = str(daemon.gbatch("sh", "-c", "echo begun; until [ -e go ]; do sleep 0.05; done; echo done; exit 4"))
    daemon.wait_log(int(job_id))
    follows = daemon.spawn("gjob", "log", "-f", job_id)
    assert first_line(follows.stdout) == "begun\n", "it has begun before the daemon hangs"
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        waits = [daemon.spawn("gjob", "wait", job_id), daemon.spawn("gjob", "wait", "--any", job_id)]
        asks = daemon.spawn("gcancel", "--dry-run", job_id)
        said = f"gflowd at unix:{daemon.socket} does not answer"
        asked = [
            (follows, "gjob log", ENDLESS),
            *((wait, "gjob wait", ENDLESS) for wait in waits),
            (asks, "gcancel", LIMITED),
        ]
        for process, command, what in asked:
            assert first_line(process.stderr) == f"{command}: {said}; {what}\n"
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert finished(asks)[0] == 0
    (daemon.work / "go").touch()
    assert finished(follows) == (0, "done\n", "")
    for wait in waits:
        assert finished(wait) == (4, f"Job {job_id} Failed (exit code 4)\n", "")
