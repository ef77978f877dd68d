"""Daemons forked from a process that has loaded their modules already.

A daemon that starts takes most of its time to load modules, and the tests start hundreds. What a fork runs is the same
as `python -m gflow.cli.gflowd`, in a process of its own.

Run as a program, this file is the parent of the forks: it reads one request, a JSON object, from each line of its
standard input, and writes what it has started and what has ended.
"""

import atexit
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

_MODULES = ["gflow.cli.gflowd", "gflow.daemon.process", "gflow.daemon.run", "gflow.daemon.settings"]


class Parent:
    """The process that forks. `environment` is the one it starts in, `prepare` is called in it first."""

    def __init__(self, environment: dict[str, str], prepare: Callable[[], None]) -> None:
        self._mine, its = socket.socketpair()
        self._said = self._mine.makefile("rb", buffering=0)
        self.ended: dict[int, int] = {}
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__],
                env=environment,
                stdin=its,
                stdout=its,
                preexec_fn=prepare,  # noqa: PLW1509 - no threads here
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._said.close()
        self._mine.close()
        self._process.wait()

    def start(self, **request: Any) -> int:
        """Fork; the process id."""
        self._mine.sendall(json.dumps(request).encode() + b"\n")
        while "started" not in (told := self._next()):
            pass
        return int(told["started"])

    def listen(self, timeout_secs: float) -> None:
        """Hear what has ended since, and for so long wait for more."""
        while select.select([self._said], [], [], timeout_secs)[0]:
            self._next()
            timeout_secs = 0

    def _next(self) -> dict[str, int]:
        told = json.loads(self._said.readline())
        if "ended" in told:
            self.ended[told["ended"]] = told["status"]
        return told


class Child:
    """A daemon, with what the tests need of a `subprocess.Popen`."""

    def __init__(self, parent: Parent, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self._parent = parent
        self._status: int | None = None
        self.pid = parent.start(arguments=arguments, environment=environment, log=os.fspath(log))

    def poll(self) -> int | None:
        if self._status is None:
            self._parent.listen(0)
            self._status = self._parent.ended.pop(self.pid, None)
        return self._status

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutExpired(f"gflowd ({self.pid})", timeout)
            self._parent.listen(max(0.0, deadline - time.monotonic()))
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _serve() -> dict[str, Any] | None:
    """Fork whenever asked to. Returns the request in each fork, and None at the end of the requests."""
    for name in _MODULES:
        importlib.import_module(name)
    asked, told = sys.stdin.buffer.raw, sys.stdout.buffer.raw
    wake, woken = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    rest = b""
    while True:
        ready = select.select([asked, woken], [], [])[0]
        if woken in ready:
            woken.recv(4096)
            while (ended := _reaped()) is not None:
                told.write(json.dumps(ended).encode() + b"\n")
        if asked in ready:
            piece = asked.read(1 << 20)
            if not piece:
                return None
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if (pid := os.fork()) == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    wake.close()
                    woken.close()
                    return json.loads(line)
                told.write(json.dumps({"started": pid}).encode() + b"\n")


def _reaped() -> dict[str, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return {"ended": pid, "status": os.waitstatus_to_exitcode(status)} if pid else None


def _live(arguments: Sequence[str], environment: dict[str, str], log: str) -> None:
    """Be what a new interpreter would be."""
    from gflow.cli import gflowd

    os.chdir(Path(log).parent)
    os.environ.clear()
    os.environ.update(environment)
    nothing, opened = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND)
    for source, number in ((nothing, 0), (opened, 1), (opened, 2)):
        os.dup2(source, number)
    os.close(nothing)
    os.close(opened)
    sys.argv = [gflowd.__file__, *arguments]
    sys.orig_argv = [sys.executable, "-m", gflowd.__name__, *arguments]
    gflowd.main()


if __name__ == "__main__":
    request = _serve()
    if request is not None:
        _live(**request)
