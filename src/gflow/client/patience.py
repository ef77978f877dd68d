"""How long a command waits for the daemon, and what it says meanwhile: a silence is told of once, on stderr.

A daemon that hangs still has its socket, so a request reaches it and nothing comes back. What may take as long as
a job is watched over with questions that any daemon answers at once. Whoever shows silence in a way of its own, as
full-screen views do, says `be_quiet`.
"""

from __future__ import annotations

from gflow.client.voice import say

HINT_SECS = 3.0
"""After so long without an answer a command says so."""

PROBE_SECS = 2.0
"""How long a daemon that is well may take to say that it is."""

_LONGEST_SECS = 30.0
_QUIET_SECS = 1.0
_told: set[str] = set()
_quiet: list[bool] = []


def be_quiet() -> None:
    """Say nothing from now on, and do not wait for room in the queue of a listener for longer than a second."""
    _quiet.append(True)


def connecting(name: str, limit_secs: float) -> Patience:
    """For connecting to the endpoint called `name`."""
    return Patience(name, min(limit_secs, _QUIET_SECS) if _quiet else limit_secs)


class Patience:
    """`secs` is how long to wait now; `more` is for when that has passed, and False once the limit is reached."""

    __slots__ = ("_left", "_limit", "_name", "secs")

    def __init__(self, name: str, limit_secs: float) -> None:
        self.secs = min(HINT_SECS, limit_secs)
        self._left = limit_secs - self.secs
        self._limit = limit_secs
        self._name = name

    def more(self) -> bool:
        """Say that there is no answer, once, and wait for the rest."""
        if self._left <= 0:
            return False
        _tell(self._name, f"still waiting, for up to {self._limit:g} s")
        self.secs, self._left = self._left, 0.0
        return True


class Vigil:
    """Patience without an end, for what a job's end brings: in ever longer intervals the daemon is asked how it is."""

    __slots__ = ("_name", "_path", "secs")

    def __init__(self, path: str, name: str) -> None:
        self.secs = HINT_SECS - PROBE_SECS
        self._path = path
        self._name = name

    def more(self) -> bool:
        """See whether the daemon answers, and say if it does not."""
        if not _quiet and self._name not in _told and _hangs(self._path):
            _tell(self._name, "waiting until it does; jobs run on without it")
        self.secs = min(2 * self.secs, _LONGEST_SECS)
        return True


def _tell(name: str, what_now: str) -> None:
    if not _quiet and name not in _told:
        _told.add(name)
        say(f"gflowd at {name} does not answer; {what_now}")


def _hangs(path: str) -> bool:
    """Whether a daemon has the socket and says nothing; one that is gone does not hang."""
    from gflow.client import unix
    from gflow.client.errors import ClientError, NoAnswer

    try:
        unix.ask(path, "GET", "/health", timeout_secs=PROBE_SECS).answer().close()
    except NoAnswer:
        return True
    except ClientError:
        return False
    return False
