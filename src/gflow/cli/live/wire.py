"""Streams of the daemon that a thread reads until it is told to stop, and its being told."""

from __future__ import annotations

import os
import select
import threading
import time
from typing import TYPE_CHECKING

from gflow.client import unix
from gflow.client.errors import ConnectionLost
from gflow.client.http import accepted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Stopped(Exception):
    """Nobody wants to know any more."""


class Bell:
    """Wakes a thread that waits for a socket. `ring` may be called from any thread."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._guard = threading.Lock()
        self._stopped = self._closed = False

    def ring(self) -> None:
        """Have the thread look around."""
        with self._guard:
            if not self._closed:
                os.eventfd_write(self._fd, 1)

    def stop(self) -> None:
        """Have the thread end: each wait raises `Stopped` from now on."""
        self._stopped = True
        self.ring()

    def wait(self, other: int | None, secs: float | None) -> tuple[bool, bool]:
        """Whether the bell rang, and whether there is something to read at `other`; neither after `secs`."""
        poller = select.poll()
        for fd in (self._fd, *([] if other is None else [other])):
            poller.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poller.poll(None if secs is None else 1000 * secs)}
        if self._stopped:
            raise Stopped
        if self._fd in ready:
            os.eventfd_read(self._fd)
        return self._fd in ready, other in ready

    def close(self) -> None:
        """When the thread is done with it."""
        with self._guard:
            self._closed = True
            os.close(self._fd)


def stream(
    path: str, resource: str, bell: Bell, before_wait: Callable[[unix.Answer], None]
) -> tuple[dict[str, str], Iterator[bytes]]:
    """The headers of an answer that may have no end, and its body as it comes.

    before_wait(answer) is called whenever the next byte has yet to come. Raises ClientError and `Stopped`.
    """
    question = unix.ask(path, "GET", resource, timeout_secs=None)
    try:
        until = time.monotonic() + SILENCE_SECS
        while not bell.wait(question.fileno(), max(0.0, until - time.monotonic()))[1]:
            if time.monotonic() >= until:
                raise ConnectionLost("gflowd does not answer")
    except BaseException:
        question.close()
        raise
    answer = accepted(question)
    return answer.headers, answer.chunks(before_wait)


SILENCE_SECS = 40.0
"""A daemon says something every 15 seconds; one that does not is as good as gone."""
