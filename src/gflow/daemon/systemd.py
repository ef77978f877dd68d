"""systemd as the daemon's host: which sockets it hands over, and what it is told.

The protocols are sd_listen_fds(3) and sd_notify(3): variables of the environment, and datagrams of NAME=value lines to
the socket that NOTIFY_SOCKET names. The variables are for this process only, so they are taken out of the environment.
"""

import logging
import os
import socket
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

import trio

from gflow.core.model import State
from gflow.daemon.wake import Wake

log = logging.getLogger(__name__)

FIRST_DESCRIPTOR = 3
"""Where the sockets that were handed over begin (SD_LISTEN_FDS_START)."""

STATUS_SECS = 1.0
"""How often the status line changes, at most."""

_TOLD = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Given:
    """What systemd told this process.

    - notify: the address of the socket to tell it things, "" for none.
    - watchdog_secs: it ends a daemon that gives no sign of life for so long; None: it does not.
    - sockets: descriptors of listening sockets.
    - unit: whether the process is the main one of a unit, so that its cgroup is not for jobs.
    """

    notify: str = ""
    watchdog_secs: float | None = None
    sockets: tuple[int, ...] = ()
    unit: bool = False


def take(environ: MutableMapping[str, str], pid: int) -> Given:
    """What `environ` tells the process `pid`; it is removed from there. Values that make no sense count as unset."""
    told = {name: environ.pop(name, "") for name in _TOLD}
    mine = str(pid)
    watchdog = _number(told["WATCHDOG_USEC"]) / 1e6 if told["WATCHDOG_PID"] in ("", mine) else 0
    sockets = _number(told["LISTEN_FDS"]) if told["LISTEN_PID"] == mine else 0
    return Given(
        notify=told["NOTIFY_SOCKET"],
        watchdog_secs=watchdog or None,
        sockets=tuple(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + sockets)),
        unit=environ.pop("SYSTEMD_EXEC_PID", "") == mine,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def adopt(given: Given, path: Path) -> socket.socket | None:
    """The listening Unix socket at `path`, if systemd handed it over. Others that it handed over are closed."""
    found: socket.socket | None = None
    for descriptor in given.sockets:
        os.set_inheritable(descriptor, False)
        handed = socket.socket(fileno=descriptor)
        if found is None and _is_at(handed, path):
            handed.setblocking(False)
            found = handed
        else:
            log.warning("systemd handed over a socket that is not %s; it is not used", path)
            handed.close()
    return found


def _is_at(handed: socket.socket, path: Path) -> bool:
    listens = handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return (
        handed.family == socket.AF_UNIX
        and bool(listens)
        and os.path.realpath(str(handed.getsockname())) == os.path.realpath(path)
    )


class Manager:
    """The service that keeps systemd informed.

    It tells the number of jobs in each state, and at each half of the watchdog's time that the scheduler lives: it
    wakes the scheduler, and the sign of life is sent by that one's next pass (`beat`). `counts` are jobs by state.
    """

    def __init__(self, given: Given, wake: Wake, counts: Callable[[], Mapping[State, int]]) -> None:
        self._watchdog_secs = given.watchdog_secs
        self._wake = wake
        self._counts = counts
        self._socket = _connected(given.notify)
        self._due = False
        self._moved = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_status)
            if self._watchdog_secs is not None:
                nursery.start_soon(self._ask_for_beats, self._watchdog_secs / 2)
            task_status.started()

    def beat(self) -> None:
        """The scheduler made a pass."""
        self._moved.set()
        if self._due:
            self._due = False
            self.tell("WATCHDOG=1")

    def tell(self, *lines: str) -> None:
        """Send it, if there is somebody to tell; whether it arrives is not our concern."""
        if self._socket is not None:
            try:
                self._socket.send("\n".join(lines).encode())
            except OSError as error:
                log.debug("systemd cannot be told %s: %s", lines[0], error)

    def close(self) -> None:
        """Nothing more will be told."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _ask_for_beats(self, every_secs: float) -> None:
        while True:
            self._due = True
            self._wake.set()
            await trio.sleep(every_secs)

    async def _tell_status(self) -> None:
        said = ""
        while True:
            self._moved = trio.Event()
            now = status_line(self._counts())
            if now != said:
                said = now
                self.tell(f"STATUS={now}")
            await trio.sleep(STATUS_SECS)
            await self._moved.wait()


def status_line(counts: Mapping[State, int]) -> str:
    """The jobs that are not over, in words: `2 running, 5 queued, 1 on hold`."""
    words = ((State.RUNNING, "running"), (State.QUEUED, "queued"), (State.HOLD, "on hold"))
    return ", ".join(f"{counts[state]} {word}" for state, word in words if counts.get(state)) or "no jobs"


def _connected(address: str) -> socket.socket | None:
    if not address.startswith(("/", "@")):
        return None
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.setblocking(False)
    except OSError as error:
        sender.close()
        log.warning("systemd cannot be told how we are: %s: %s", address, error.strerror)
        return None
    return sender
