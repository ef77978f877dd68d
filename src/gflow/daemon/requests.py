"""The tasks that answer requests: one for each, and what it gets to hear from its connection.

hypercorn's own has channels whose every use is a step of the event loop for both sides. Here a message is put where the
application finds it when it asks, and a task waits only for what is not there yet.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

import trio
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, HTTPScope

from gflow.core.errors import Refused
from gflow.daemon.hangup import HANG_UP

log = logging.getLogger(__name__)

MAX_WAITING = 2
"""So many pieces of a body (of 64 KiB at most) are taken in before the application asks for them."""

WhileThere = Callable[[], AbstractContextManager[None]]
"""What is done inside ends when the client hangs up."""

Send = Callable[[ASGISendEvent | None], Awaitable[None]]


class Requests:
    """Starts the application for each request of a connection. Stands in for hypercorn's task group."""

    def __init__(self, nursery: trio.Nursery, while_there: WhileThere) -> None:
        self._nursery = nursery
        self._while_there = while_there

    async def spawn_app(
        self, app: AppWrapper, _config: Config, scope: HTTPScope, send: Send
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start answering; returns what takes the messages for the application."""
        inbox = _Inbox(self._while_there)
        scope["extensions"][HANG_UP] = inbox.cancel_on_hang_up  # type: ignore[assignment]
        self._nursery.start_soon(_answer, app, scope, inbox, send)
        return inbox.put


async def _answer(app: AppWrapper, scope: HTTPScope, inbox: "_Inbox", send: Send) -> None:
    try:
        await app(scope, inbox.receive, send, trio.to_thread.run_sync, trio.from_thread.run)
    except Refused as refused:
        log.info("an answer under way was broken off: %s", refused)
    except Exception:
        log.exception("a request failed in the framework")
    finally:
        inbox.close()
        await send(None)  # hypercorn's sign for the end: what is not answered by now gets a 500


class _Inbox:
    """Messages for the application that answers one request."""

    def __init__(self, while_there: WhileThere) -> None:
        self._while_there = while_there
        self._messages: deque[ASGIReceiveEvent] = deque()
        self._changed = trio.Event()
        self._closed = False
        self._hung_up = False
        self._to_cancel: trio.CancelScope | None = None

    def cancel_on_hang_up(self, scope: trio.CancelScope) -> None:
        """What the extension is."""
        self._to_cancel = scope
        if self._hung_up:
            scope.cancel()

    async def put(self, message: ASGIReceiveEvent) -> None:
        """Add a message; wait while there are many. Nobody reads them any more once the application has ended."""
        if message["type"] == "http.disconnect":
            self._hung_up = True
            if self._to_cancel is not None:
                self._to_cancel.cancel()
        elif len(self._messages) >= MAX_WAITING:
            with self._while_there():  # nobody reads on meanwhile, up to the end that a hang-up is
                while len(self._messages) >= MAX_WAITING and not self._closed:
                    await self._change()
        if not self._closed:
            self._messages.append(message)
            self._changed.set()

    async def receive(self) -> ASGIReceiveEvent:
        """The next message."""
        while not self._messages:
            await self._change()
        self._changed.set()
        return self._messages.popleft()

    async def _change(self) -> None:
        self._changed = trio.Event()
        await self._changed.wait()

    def close(self) -> None:
        """The application has ended."""
        self._closed = True
        self._messages.clear()
        self._changed.set()
