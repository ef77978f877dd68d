"""Commands that start or stop the daemon of one data directory take turns.

Between the end of a daemon and the start of the next there is nobody whose flags could be told: a second
`gflowd restart` that looked just then would start one without them.

The turn is a lock of its own. That of the daemon (`gflow.store.lock`) is free in that moment, and must be for the next.
"""

import contextlib
import fcntl
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

from gflow.daemon.hosting import HostingFailed

NAME = "gflowd.turn"
TURN_SECS = 90.0
"""More than it takes to stop a daemon and start one."""


@contextlib.contextmanager
def turn(data_dir: Path) -> Iterator[None]:
    """Hold it, once all who came before have had theirs. Raises HostingFailed if that takes too long.

    The kernel gives it back when the command ends, however it does; nothing that is started inherits it. Where there is
    no directory yet, or nothing can be written, there is none to wait for: whoever is started says what is wrong.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(data_dir / NAME, flags, 0o600)
    except OSError:
        yield
        return
    try:
        _wait(descriptor, data_dir)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, data_dir: Path) -> None:
    deadline = time.monotonic() + TURN_SECS
    while not _taken(descriptor):
        if time.monotonic() > deadline:
            pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            who = f"another gflowd (pid {pid})" if pid.isdigit() else "another gflowd"
            raise HostingFailed(
                f"{who} starts or stops the daemon of {data_dir}, and has not come to an end for {TURN_SECS:.0f} s;"
                " end it, or try again later"
            )
        select.select([], [], [], 0.05)
    with contextlib.suppress(OSError):  # a full disk is no reason to do nothing
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some file systems have no locks
        return True
    return True
