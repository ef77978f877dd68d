"""What signals ask of the daemon: SIGTERM and SIGINT to stop; SIGHUP to read its configuration again, as daemons do.

A SIGHUP that the kernel sends because the terminal is gone, which the daemon was started in, asks it to stop: nobody
who closes a window wants to leave a daemon behind. The two are told apart by the terminal, which then is there no more.
To one that is to stay in the background (`hosting`, nohup) it means nothing: there SIGHUP is ignored at the start.
"""

import os
import signal

HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Terminal:
    """The controlling terminal at the start, if there is one whose end counts: under nohup it does not.

    To be made before SIGHUP is handled in any way.
    """

    def __init__(self) -> None:
        self._counts = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and _is_there()

    def asks_to_stop(self, number: int) -> bool:
        """Whether this signal does, which has just come."""
        return number != signal.SIGHUP or (self._counts and not _is_there())

    def hand_over(self) -> None:
        """Let a program that takes our place in this process find what we have found."""
        if not self._counts:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _is_there() -> bool:
    """The kernel takes the terminal from the whole session before it sends SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
