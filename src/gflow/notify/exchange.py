"""One POST over HTTP/1.1 and the beginning of its answer; what goes wrong is said in our own words.

What the peer sent is never quoted: it may be an echo of the request, with a secret address or header in it.

A transport of httpx without a client around it: that one would keep cookies, look at where redirects lead to and take
proxies from the environment.
"""

import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio

from gflow.notify.base import DeliveryFailed
from gflow.notify.formats import one_line
from gflow.notify.lookups import in_threads_of

for _name in ("httpx", "httpcore"):  # their lines have whole addresses and headers in them
    logging.getLogger(_name).setLevel(logging.WARNING)

MAX_ANSWER_BYTES = 64 * 1024

LOOK_UPS = 2
"""At one time, for one target: one for its deliveries, and one for a test beside them."""

_HUNG_UP = "Server disconnected"
"""How httpcore begins when a connection ends before the head of an answer. Its other complaints quote the peer."""


@dataclass(slots=True, eq=False)
class Exchange:
    """Posts to one address, over a connection that is kept. `tls` says who is trusted."""

    url: httpx.URL = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    _transport: httpx.AsyncHTTPTransport | None = field(default=None, init=False, repr=False)
    _look_ups: trio.CapacityLimiter = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._look_ups = trio.CapacityLimiter(LOOK_UPS)

    async def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None]:
        """The status of the answer and its `Retry-After`. Raises DeliveryFailed if there is no whole answer."""
        try:
            with in_threads_of(self._look_ups):
                answer = await self._send(body, headers)
            try:
                await _skim(answer)
            finally:
                await answer.aclose()
        except httpx.ConnectError as error:
            raise DeliveryFailed(one_line(f"cannot connect: {_reason(error)}")) from None
        except httpx.RemoteProtocolError as error:
            raise DeliveryFailed(_unanswered(error)) from None
        except httpx.LocalProtocolError:
            raise DeliveryFailed("this address and these headers make no request of HTTP", final=True) from None
        except httpx.HTTPError as error:
            raise DeliveryFailed(one_line(f"the connection broke: {_reason(error)}")) from None
        return answer.status_code, answer.headers.get("Retry-After")

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """The head of the answer.

        Many servers close a connection after an answer without having said so. One that was kept and turns out to be
        closed says nothing about the target, so the request is made once more, over a new one.
        """
        call = _Call(self.url, body, headers)
        try:
            return await self._open().handle_async_request(call.request())
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            if call.connected or not _hung_up(error):
                raise
        return await self._open().handle_async_request(call.request())

    def _open(self) -> httpx.AsyncHTTPTransport:
        if self._transport is None:
            self._transport = httpx.AsyncHTTPTransport(
                verify=self.tls if self.tls is not None else ssl.create_default_context(),
                trust_env=False,
                limits=httpx.Limits(max_keepalive_connections=1),
            )
        return self._transport

    async def aclose(self) -> None:
        """Close the connection that is kept."""
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None


@dataclass(slots=True)
class _Call:
    """What is to be posted; `connected`: it took a new connection."""

    url: httpx.URL
    body: bytes
    headers: Mapping[str, str]
    connected: bool = False

    def request(self) -> httpx.Request:
        return httpx.Request(
            "POST", self.url, content=self.body, headers=dict(self.headers), extensions={"trace": self._trace}
        )

    async def _trace(self, step: str, _about: Mapping[str, Any]) -> None:
        self.connected = self.connected or step.startswith("connection.connect_tcp")


async def _skim(answer: httpx.Response) -> None:
    """Read to its end, so that the connection can be used again, but not for ever."""
    read = 0
    with trio.CancelScope() as reading:  # leaving the loop instead would leave generators half-way
        async for chunk in answer.aiter_raw():
            read += len(chunk)
            if read > MAX_ANSWER_BYTES:
                reading.cancel()


def _hung_up(error: httpx.HTTPError) -> bool:
    return not isinstance(error, httpx.RemoteProtocolError) or str(error).startswith(_HUNG_UP)


def _unanswered(error: httpx.RemoteProtocolError) -> str:
    if _hung_up(error):
        return "it hung up without an answer"
    if str(error).startswith("peer closed connection"):
        return "it hung up in the middle of its answer"
    return "what it answered is no HTTP"


def _reason(error: BaseException) -> str:
    """What the system said at the bottom of it; the layers above keep it to themselves."""
    below: BaseException | None = error
    found = ""
    while below is not None:
        if isinstance(below, OSError):
            number = 0 if isinstance(below, ssl.SSLError) else below.errno or 0  # TLS has numbers of its own
            found = os.strerror(number) if number > 0 else str(below.strerror or below)
        below = _first_of(below) or below.__cause__ or below.__context__
    return found or type(error).__name__


def _first_of(error: BaseException) -> BaseException | None:
    """Of a group, which has an error for each address of a host, the first."""
    return error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
