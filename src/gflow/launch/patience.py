"""Reading what may never be given, without waiting for it longer than one has time.

Two kinds of files are read on behalf of a user and can keep the reader for ever: those of /proc that show the memory of
a process (cmdline, smaps_rollup), which is locked while a page fault or a system call of the process hangs, and those a
user may have put a file system of his own in the place of (FUSE), or that are on one that hangs (NFS).

They are read in threads that are left behind when they do not come back in time. So many of one user may be, and no
more: then nothing more of his is read until one comes back. Nobody else notices, nor does a daemon that is to stop.
"""

import errno
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import trio

from gflow.launch.processes import Process

AT_ONCE = 4
"""Threads for one user."""

_T = TypeVar("_T")


class Patience:
    """Has files read in threads. A `user` is whose they are: his id, or None where there is only one."""

    def __init__(self) -> None:
        self._threads: dict[int | None, trio.CapacityLimiter] = {}
        self._left: dict[int | None, list[_Try[Any]]] = {}
        self._rounds: list[_Round[Any]] = []

    async def within(self, secs: float, user: int | None, read: Callable[[], _T]) -> _T:
        """What `read` returns, or raises. Raises TimeoutError, at once if too many threads hang for this user."""
        left = self._left[user] = [attempt for attempt in self._left.get(user, ()) if attempt.hangs]
        if len(left) < AT_ONCE:
            attempt = _Try(read)
            threads = self._threads.setdefault(user, trio.CapacityLimiter(AT_ONCE))
            try:
                with trio.move_on_after(secs):
                    return await trio.to_thread.run_sync(attempt.run, abandon_on_cancel=True, limiter=threads)
            finally:
                if attempt.hangs:
                    self._left[user].append(attempt)
        raise TimeoutError(errno.ETIMEDOUT, "it does not answer")

    async def each(
        self, secs: float, user: int | None, processes: Iterable[Process], read: Callable[[Process], _T], together: int
    ) -> dict[Process, _T]:
        """What `read` returns for each of a user's processes; those where it does not in time are left out.

        `secs` are for so many of them `together`. One where it hangs is not tried again before it came back.
        """
        self._rounds = [earlier for earlier in self._rounds if earlier.at is not None]
        stuck = {earlier.at for earlier in self._rounds}
        waiting = deque(process for process in processes if process not in stuck)
        found: dict[Process, _T] = {}
        while waiting:
            batch = _Round(deque(waiting.popleft() for _ in range(min(together, len(waiting)))), read)
            try:
                await self.within(secs, user, batch.run)
            except TimeoutError:
                if batch.at is None:
                    return found | batch.found
                waiting.extendleft(batch.give_up())
            finally:
                if batch.at is not None:
                    batch.give_up()
                    self._rounds.append(batch)
            found |= batch.found
        return found


class _Try(Generic[_T]):
    """One reading. hangs: it has begun, and not come back yet."""

    def __init__(self, read: Callable[[], _T]) -> None:
        self._read = read
        self.hangs = False

    def run(self) -> _T:
        self.hangs = True
        try:
            return self._read()
        finally:
            self.hangs = False


class _Round(Generic[_T]):
    """Several processes, one after the other. at: the one it is at."""

    def __init__(self, processes: deque[Process], read: Callable[[Process], _T]) -> None:
        self._processes = processes
        self._read = read
        self._over = False
        self.at: Process | None = None
        self.found: dict[Process, _T] = {}

    def run(self) -> None:
        while self._processes and not self._over:
            self.at = self._processes.popleft()
            read = self._read(self.at)
            if not self._over:
                self.found[self.at] = read
        self.at = None

    def give_up(self) -> list[Process]:
        """Stop with the present one; the others that were to be read."""
        self._over = True
        return list(self._processes)
