"""Which clients are gone, though nothing can be read that says so.

The end of what a client sends is no hang-up: it may have shut down that direction only, and wait for its answer. And
while a connection holds what it cannot take yet, nobody reads up to that end. The kernel tells the two apart: a Unix
socket whose other end is closed has EPOLLHUP. One epoll looks at the connections in such a state, and at no others.

Over TCP nothing tells them apart before something is sent, so there the end of what a client sends counts as a hang-up.
"""

import contextlib
import select
from collections.abc import Iterator
from typing import Self

import trio


class Departures:
    """Ends what waits for a client when that hangs up, as long as `run` runs."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, trio.CancelScope] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._epoll.close()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, _events in self._epoll.poll(0):
                if (scope := self._waiting.get(descriptor)) is not None:
                    scope.cancel()

    @contextlib.contextmanager
    def ending(self, descriptor: int, *, tcp: bool = False) -> Iterator[trio.CancelScope]:
        """A cancel scope that is cancelled when the peer of this socket has closed it (-1: at once)."""
        with trio.CancelScope() as scope:
            if descriptor < 0:
                scope.cancel()
                yield scope
                return
            self._waiting[descriptor] = scope
            asked = select.EPOLLRDHUP if tcp else 0  # a hang-up is told whatever one asks for
            self._epoll.register(descriptor, select.EPOLLONESHOT | asked)
            try:
                yield scope
            finally:
                self._forget(descriptor, scope)

    def _forget(self, descriptor: int, scope: trio.CancelScope) -> None:
        """The socket may be closed by now, and its number somebody else's."""
        if self._waiting.get(descriptor) is scope:
            del self._waiting[descriptor]
            with contextlib.suppress(OSError, ValueError):
                self._epoll.unregister(descriptor)
