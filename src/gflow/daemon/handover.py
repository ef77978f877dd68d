"""Another program in place of this one, in the same process: its sockets stay open, so callers only wait.

What is handed over is said in one variable of the environment, as JSON: descriptors of listening sockets and of
connections between two requests, what is listened on, and what systemd told the first program about itself. The lock,
the log and all else is taken up anew.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Never

from gflow.daemon.systemd import Given

VARIABLE = "GFLOWD_HANDED_OVER"
TRY_SECS = 60.0
_TRY = "import gflow.cli.gflowd, gflow.daemon.process"


class CannotReplace(Exception):
    """The program that is installed now would not start; the message is one line."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Sockets of the program before: the Unix socket, whether systemd made it, those for TCP at `tcp`, connections.

    terminal: whether it was to end with its terminal; None: there was none before.
    """

    unix: socket.socket
    of_systemd: bool
    tcp: tuple[str, int] | None = None
    tcp_sockets: tuple[socket.socket, ...] = ()
    connections: list[socket.socket] = field(default_factory=list)
    terminal: bool | None = None

    def close(self) -> None:
        """Those for TCP are not wanted any more."""
        for sock in (*self.tcp_sockets, *self.connections):
            if sock.family != socket.AF_UNIX:
                sock.close()

    def take_connections(self) -> list[socket.socket]:
        """Those that are open; from now on they are the caller's."""
        taken = [sock for sock in self.connections if sock.fileno() >= 0]
        self.connections.clear()
        return taken


def take(environ: MutableMapping[str, str], pid: int) -> tuple[HandedOver, Given] | None:
    """What the program before has handed over to the process `pid`; it is removed from `environ`."""
    told = environ.pop(VARIABLE, "")
    if not told:
        return None
    said = json.loads(told)
    if said["pid"] != pid:
        return None  # somebody started from there inherited it
    sockets, connections = _opened(said["sockets"]), _opened(said.get("connections", []))
    tcp = tuple(said["tcp"]) if said["tcp"] is not None else None
    given = Given(said["notify"], said["watchdog_secs"], unit=said["unit"])
    listening = tuple(sockets[:-1])
    return HandedOver(sockets[-1], said["of_systemd"], tcp, listening, connections, said.get("terminal")), given


def _opened(descriptors: Iterable[int]) -> list[socket.socket]:
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for sock in sockets:
        sock.set_inheritable(False)
    return sockets


def try_out() -> None:
    """See whether the program that is installed now can be loaded. Blocks. Raises CannotReplace."""
    try:
        words = [sys.executable, "-P", "-c", _TRY]  # what lies in the working directory may be anybody's
        done = subprocess.run(words, capture_output=True, text=True, timeout=TRY_SECS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotReplace(f"the program that is installed now cannot be run: {error}") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise CannotReplace(f"the program that is installed now cannot be loaded: {last}")


def replace(handed: HandedOver, given: Given, *, terminal: bool) -> Never:
    """Become the program that is installed now, with the command line of this one.

    terminal: whether it is to end with its terminal, as this one was.

    Raises OSError if that cannot be.
    """
    listening = [*handed.tcp_sockets, handed.unix]
    for sock in (*listening, *handed.connections):
        sock.set_inheritable(True)  # as they are: their numbers may be beyond the limit that jobs are to have
    said = {
        "pid": os.getpid(),
        "sockets": [sock.fileno() for sock in listening],
        "connections": [sock.fileno() for sock in handed.connections],
        "tcp": handed.tcp,
        "of_systemd": handed.of_systemd,
        "notify": given.notify,
        "watchdog_secs": given.watchdog_secs,
        "unit": given.unit,
        "terminal": terminal,
    }
    words = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, words, {**os.environ, VARIABLE: json.dumps(said)})  # noqa: S606 - no shell is wanted
