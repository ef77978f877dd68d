"""One webhook: a POST with a signature, and what its answer means.

The exchange, from the name look-up to the last byte of the answer that is read, takes `timeout_secs` at most. TLS
is verified against the machine's certificates. Redirects are not followed: an address that moved is to be configured.
No proxy is taken from the environment, as that of a daemon is whatever the shell that started it had.

Addresses can be secrets (those of chat services are), so only the host is ever shown.
"""

import hashlib
import hmac
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import trio

from gflow import __version__
from gflow.notify.base import Delivery, DeliveryFailed
from gflow.notify.exchange import Exchange
from gflow.notify.formats import FORMATS, addressed
from gflow.notify.secrets import digest
from gflow.notify.subscription import Subscription

MAX_PAUSE_SECS = 86400.0

_WORTH_RETRYING = (408, 425, 429)
"""Answers below 500 that say "not now" instead of "not so"."""

_MEETS_ALL = (401, 402, 403, 404, 405, 407, 410)
"""Refusals that say nothing about the delivery: the next one would be refused, too."""


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What `X-Gflow-Signature` says of a body sent at `timestamp` (seconds since the epoch, as text)."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def retry_after_secs(text: str | None, now: float) -> float | None:
    """The pause a `Retry-After` asks for (RFC 9110, section 10.2.3): seconds, or a date; None if it says neither."""
    if text is None:
        return None
    given = text.strip()
    if given.isascii() and given.isdigit():
        return min(float(given[:9]), MAX_PAUSE_SECS)
    try:
        at = parsedate_to_datetime(given).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, at - now), MAX_PAUSE_SECS)


@dataclass(slots=True, eq=False)
class Webhook:
    """A target that is told by HTTP. `address` is what tells it from others: the address as it was configured."""

    url: httpx.URL = field(repr=False)
    address: str = field(repr=False)
    subscription: Subscription = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: bytes | None = field(default=None, repr=False)
    format: str = "json"
    timeout_secs: float = 10.0
    max_retries: int = 3
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    kind: str = field(default="webhook", init=False)
    key: str = field(init=False)
    name: str = field(init=False)
    _exchange: Exchange = field(init=False, repr=False)
    _fixed: httpx.Headers = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._exchange = Exchange(self.url, self.tls)
        self._fixed = _merged(self.url, self.headers)
        self.key = digest(self.kind, self.address)
        self.name = f"webhook {self.url.host} ({self.key[:4]})"

    def wants(self, payload: Mapping[str, Any]) -> bool:
        """Whether this event is of interest."""
        return self.subscription.wants(payload)

    async def deliver(self, delivery: Delivery) -> None:
        """One attempt. Raises DeliveryFailed."""
        body = FORMATS[self.format](addressed(delivery.payload, delivery.id))
        with trio.move_on_after(self.timeout_secs) as scope:
            status, pause = await self._exchange.post(body, self._headers(delivery, body))
        if scope.cancelled_caught:
            raise DeliveryFailed(f"no complete answer within {self.timeout_secs:g} s")
        _judge(status, retry_after_secs(pause, time.time()))

    def _headers(self, delivery: Delivery, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        ours = {
            **self._fixed,
            "X-Gflow-Event": delivery.event,
            "X-Gflow-Delivery": delivery.id,
            "X-Gflow-Timestamp": timestamp,
        }
        if self.secret is not None:
            ours["X-Gflow-Signature"] = signature(self.secret, timestamp, body)
        return ours

    def may_write_to(self, _address: str, /) -> bool:
        """No: it writes no mail."""
        return False

    def withheld(self) -> Mapping[str, int]:
        """None: it is told of what its administrator wants it to be."""
        return {}

    async def aclose(self) -> None:
        """Close what connections are kept."""
        await self._exchange.aclose()


def _merged(url: httpx.URL, configured: Mapping[str, str]) -> httpx.Headers:
    """Those that all requests have; those of the configuration come first."""
    headers = httpx.Headers(
        {
            "User-Agent": f"gflow/{__version__}/webhooks",
            "Content-Type": "application/json",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
    )
    if url.userinfo:
        headers["Authorization"] = "Basic " + b64encode(f"{url.username}:{url.password}".encode()).decode()
    headers.update(dict(configured))
    return headers


def _judge(status: int, pause: float | None) -> None:
    """Raise DeliveryFailed for an answer that does not say that all is well."""
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise DeliveryFailed(f"answered {status}, a redirect, which is not followed: configure the new url", final=True)
    final = 400 <= status < 500 and status not in _WORTH_RETRYING
    fine = final and status not in _MEETS_ALL
    raise DeliveryFailed(
        f"answered {status}", final=final, retry_after_secs=None if final else pause, target_is_fine=fine
    )
