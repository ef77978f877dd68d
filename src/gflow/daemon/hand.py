"""One thread that does the blocking work of one task, piece after piece.

`trio.to_thread` looks for a thread, names it and reports back through the queue of the event loop; for a short write
that takes as long as the write. Here the thread stays, and an eventfd (eventfd(2)) wakes the very task that waits.
"""

import os
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

import trio

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Hand:
    """A thread by this name, there from the first piece of work until `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[_Piece | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._done = -1
        self._piece: _Piece | None = None

    async def do(self, work: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """What `work(*args)` returns or raises.

        If the caller is cancelled meanwhile the thread is left behind: it may never come back, and takes nothing more.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._piece is not None:
            raise RuntimeError(f"the thread {self._name} is busy, or was left behind")
        self._start()
        self._piece = piece = _Piece(partial(work, *args))
        self._work.put(piece)
        await trio.lowlevel.wait_readable(self._done)
        os.eventfd_read(self._done)
        self._piece = None
        if piece.error is not None:
            raise piece.error
        result: _T = piece.result
        return result

    def _start(self) -> None:
        if self._thread is None:
            self._done = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (piece := self._work.get()) is not None:
            piece.do()
            os.eventfd_write(self._done, 1)

    def close(self) -> None:
        """End the thread; one that was left behind is not waited for, and keeps its descriptor."""
        self._work.put(None)
        if self._thread is not None and self._piece is None:
            self._thread.join()
            os.close(self._done)


class _Piece:
    """A piece of work, and what became of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self.result: Any = None
        self.error: BaseException | None = None

    def do(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised by whoever waits for the result
            self.error = error
