"""Runs gflow's programs many times: a process that has loaded them once and is copied for each command line.

`Forker(daemon)` starts it; `run(program, argv)` is how that ended. Commands find the daemon, and have its working
directory for theirs. Those that wait are killed after a moment. `gctl resume` only looks, so that a drained daemon
stays so.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

from support.daemon import Daemon

WAITS_SECS = 2.0
CRASHED = 99
"""The exit status where an exception came out of a command."""

PROGRAMS = "gbatch gqueue ginfo gjob gcancel gctl gstats gflowd gflow".split()


@dataclass(frozen=True)
class Ended:
    """`status` is None for a command that was still waiting, `err` and `out` are what it said."""

    status: int | None
    out: str
    err: str


class Forker:
    def __init__(self, daemon: Daemon) -> None:
        source = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.forker"],
            cwd=daemon.work,
            env={**daemon.surroundings, "PYTHONPATH": source, "COLUMNS": "80"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def run(self, program: str, argv: list[str]) -> Ended:
        """Run a command line to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([program, argv]), file=self._process.stdin, flush=True)
        return Ended(**json.loads(self._process.stdout.readline()))


def _serve() -> None:
    from gflow.cli import full  # noqa: F401 - loaded once for all, and asyncclick with it
    from gflow.client.http import Client

    Client.resume = lambda self: {"changed": False, "drained": None, "running_jobs": 0}  # type: ignore[method-assign]
    mains = {name: import_module(f"gflow.cli.{'umbrella' if name == 'gflow' else name}").main for name in PROGRAMS}
    for line in sys.stdin:
        program, argv = json.loads(line)
        sys.stdout.write(json.dumps(_run(program, argv, mains[program])) + "\n")
        sys.stdout.flush()


def _run(program: str, argv: list[str], main: Any) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _be(program, argv, main, out.fileno(), err.fileno())
        status = _wait(child)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
        return {"status": status, "out": said[0], "err": said[1]}


def _wait(child: int) -> int | None:
    """The exit status; None if it had to be killed."""
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, WAITS_SECS)
    _, status = os.waitpid(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGKILL else code


def _be(program: str, argv: list[str], main: Any, out: int, err: int) -> None:
    """What the copy does: become the command."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, out, err)):
        os.dup2(descriptor, number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as it lives
    sys.argv = [program, *argv]
    code: Any = 0
    try:
        main()
    except SystemExit as left:
        code = left.code
    except BaseException:
        traceback.print_exc()
        code = CRASHED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1 if code else 0)


if __name__ == "__main__":
    _serve()
