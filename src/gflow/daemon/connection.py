"""One connection: hypercorn's, made cheaper and narrower.

- HTTP/1.1 and nothing else: a client that asks for cleartext HTTP/2 is hung up on.
- hypercorn starts and cancels a task around every request to close idle connections; here a connection remembers since
  when it is idle, and one task of the server looks at all of them.
- The head of an answer waits for its body, so that a small answer is one system call instead of two.
"""

import math

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError
from hypercorn.trio import tcp_server
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import LifespanState


class _Http1Only(ProtocolWrapper):
    async def handle(self, event: Event) -> None:
        try:
            await self.protocol.handle(event)
        except (H2ProtocolAssumedError, H2CProtocolRequiredError):
            raise ConnectionAbortedError("cleartext HTTP/2 is not spoken here") from None


# The server looks the class up in its module; there is no parameter for it.
tcp_server.ProtocolWrapper = _Http1Only  # type: ignore[attr-defined]


class _IdleSince:
    """Stands in for hypercorn's idle task: it only notes when the idle time began (trio time; never: busy)."""

    def __init__(self) -> None:
        self.since = trio.current_time()

    async def restart(self, *_ignored: object) -> None:
        self.since = trio.current_time()

    async def stop(self) -> None:
        self.since = math.inf


class Connection(tcp_server.TCPServer):
    """Serves one accepted stream when awaited."""

    def __init__(
        self,
        app: ASGIWrapper,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        stream: trio.SocketStream,
    ) -> None:
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]
        self.idle = _IdleSince()
        self.idle_task = self.idle  # type: ignore[assignment]
        self.socket = stream.socket
        self._head: bytes | None = None

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if self._head is None and _waits_for_body(event.data):
                self._head = event.data
                return
            event = RawData((self._head or b"") + event.data)
            self._head = None
            if not event.data:
                return  # the end of a message of known length has no bytes of its own
        elif self._head is not None:
            head, self._head = self._head, None
            await super().protocol_send(RawData(head))
        await super().protocol_send(event)


def _waits_for_body(data: bytes) -> bool:
    """Whether this is the head of an answer of known length; hypercorn hands it over with its body or its end."""
    return data.startswith(b"HTTP/1.1 ") and b"\r\ncontent-length: " in data and data.endswith(b"\r\n\r\n")
