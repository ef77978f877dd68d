"""What signals ask of the daemon: SIGTERM and SIGINT to stop; SIGHUP to read its configuration again, as daemons do.

A SIGHUP that the kernel sends because the terminal is gone, which the daemon was started in, asks it to stop: nobody
who closes a window wants to leave a daemon behind. The two are told apart by the terminal, which then is there no more.
To one that is to stay in the background (`hosting`, nohup) it means nothing: there SIGHUP is ignored at the start.

By itself SIGHUP ends a program. So it is kept back (blocked, which an exec leaves as it is) from the first line of a
program, and of the one that takes its place, until a handler is there: one that came meanwhile is heard then. What is
started from here before that is short-lived, or takes the block off (`launch/tmux_server.py`, `users/becoming.py`).
"""

import os
import signal

HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_had_terminal = False


def keep_back_hang_ups() -> None:
    """Let a SIGHUP wait until `let_hang_ups_in`, and note whether there is a terminal that can go until then."""
    global _had_terminal  # noqa: PLW0603 - of the process, as are its signals
    _had_terminal = _is_there()
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))


def let_hang_ups_in() -> None:
    """Have SIGHUP do what it does, one that has waited among them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))


class Terminal:
    """The controlling terminal at the start, if there is one whose end counts: under nohup it does not.

    To be made before SIGHUP is handled in any way. `counts`: what the program before, in this process, has found.
    """

    def __init__(self, counts: bool | None = None) -> None:
        if counts is None:
            counts = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and (_had_terminal or _is_there())
        self.counts = counts

    @property
    def has_gone(self) -> bool:
        """Whether it was there, and is no more."""
        return self.counts and not _is_there()

    def asks_to_stop(self, number: int) -> bool:
        """Whether this signal does, which has just come."""
        return number != signal.SIGHUP or self.has_gone


def _is_there() -> bool:
    """The kernel takes the terminal from the whole session before it sends SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
