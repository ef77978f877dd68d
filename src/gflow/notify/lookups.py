"""Looking up the names of hosts in threads that nobody else waits for.

A name server that does not answer holds a thread for as long as the system cares to wait, also when we do not wait any
more. In trio's own threads, which are few, that would keep the disk and the GPUs from being asked.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import trio

_threads: ContextVar[trio.CapacityLimiter | None] = ContextVar("threads for look-ups", default=None)


@contextmanager
def in_threads_of(limiter: trio.CapacityLimiter) -> Iterator[None]:
    """Within it, names are looked up in threads of `limiter`; look-ups for which it has no room wait."""
    trio.socket.set_custom_hostname_resolver(_RESOLVER)  # trio has one for a run; it asks who looks up
    token = _threads.set(limiter)
    try:
        yield
    finally:
        _threads.reset(token)


class _Resolver(trio.abc.HostnameResolver):
    """The system's own, in the threads of whoever asks; without such in trio's."""

    async def getaddrinfo(self, *asked: Any, **more: Any) -> Any:
        look_up = partial(socket.getaddrinfo, *asked, **more)
        return await trio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=_threads.get())

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        look_up = partial(socket.getnameinfo, sockaddr, flags)
        return await trio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=_threads.get())


_RESOLVER = _Resolver()
