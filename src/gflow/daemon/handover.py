"""Another program in place of this one, in the same process: the listening sockets stay open, so callers only wait.

What is handed over is said in one variable of the environment, as JSON: descriptors of listening sockets, what they
listen on, and what systemd told the first program about itself. The lock, the log and all else is taken up anew.
"""

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Never

from gflow.daemon.systemd import Given

VARIABLE = "GFLOWD_HANDED_OVER"
TRY_SECS = 60.0
_TRY = "import gflow.cli.gflowd, gflow.daemon.run"
_FIRST = 3


class CannotReplace(Exception):
    """The program that is installed now would not start; the message is one line."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Sockets of the program before: the Unix socket, whether systemd made it, and those for TCP at `tcp`."""

    unix: socket.socket
    of_systemd: bool
    tcp: tuple[str, int] | None = None
    tcp_sockets: tuple[socket.socket, ...] = ()

    def close(self) -> None:
        """Those for TCP are not wanted any more."""
        for sock in self.tcp_sockets:
            sock.close()


def take(environ: MutableMapping[str, str], pid: int) -> tuple[HandedOver, Given] | None:
    """What the program before has handed over to the process `pid`; it is removed from `environ`."""
    told = environ.pop(VARIABLE, "")
    if not told:
        return None
    said = json.loads(told)
    if said["pid"] != pid:
        return None  # somebody started from there inherited it
    sockets = [socket.socket(fileno=descriptor) for descriptor in said["sockets"]]
    for sock in sockets:
        sock.set_inheritable(False)
    tcp = tuple(said["tcp"]) if said["tcp"] is not None else None
    given = Given(said["notify"], said["watchdog_secs"], unit=said["unit"])
    return HandedOver(sockets[-1], said["of_systemd"], tcp, tuple(sockets[:-1])), given


def try_out() -> None:
    """See whether the program that is installed now can be loaded. Blocks. Raises CannotReplace."""
    try:
        words = [sys.executable, "-c", _TRY]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TRY_SECS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotReplace(f"the program that is installed now cannot be run: {error}") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise CannotReplace(f"the program that is installed now cannot be loaded: {last}")


def replace(sockets: Sequence[socket.socket], tcp: tuple[str, int] | None, of_systemd: bool, given: Given) -> Never:
    """Become the program that is installed now, with the command line of this one. `sockets`: the Unix socket is last.

    Raises OSError if that cannot be.
    """
    descriptors = list(range(_FIRST, _FIRST + len(sockets)))
    aside = [fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, descriptors[-1] + 1) for sock in sockets]
    for source, target in zip(aside, descriptors, strict=True):
        os.dup2(source, target, inheritable=True)
    said = {
        "pid": os.getpid(),
        "sockets": descriptors,
        "tcp": tcp,
        "of_systemd": of_systemd,
        "notify": given.notify,
        "watchdog_secs": given.watchdog_secs,
        "unit": given.unit,
    }
    words = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, words, {**os.environ, VARIABLE: json.dumps(said)})  # noqa: S606 - no shell is wanted
