"""A target that is told by HTTP POST, with the payload as JSON.

One exchange per attempt has `timeout_secs` from the first packet to the last. TLS is verified, redirects are failures,
and of an answer no more than a little is read.
"""

import functools
import hashlib
import json
import math
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import trio

from gflow import __version__
from gflow.notify.base import Delivery, DeliveryFailed

if TYPE_CHECKING:
    from gflow import config

MOST_ANSWER_BYTES = 64 << 10
"""More of an answer is not read: nobody looks at it."""

_WORTH_ANOTHER_TRY = frozenset({408, 425, 429})
"""Among the answers that say that it is the sender's fault, those that may be different next time."""


class Webhook:
    """One `[[notifications.webhooks]]`. `where` names it in errors. Raises ValueError with one line."""

    kind = "webhook"

    def __init__(self, settings: "config.Webhook", *, where: str) -> None:
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{where}.url: '{parts.scheme}://…' is no address of a webhook; use http:// or https://")
        self.key = hashlib.sha256(f"webhook {settings.url}".encode()).hexdigest()[:12]
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self.max_retries = settings.max_retries
        self._settings = settings
        self._events = None if "*" in settings.events else frozenset(settings.events)
        self._users = frozenset(user.lower() for user in settings.filter_users)
        limits = httpx.Limits(max_connections=2, max_keepalive_connections=1)
        verify = _trusted() if parts.scheme == "https" else False  # there is nothing to verify
        self._client = httpx.AsyncClient(
            timeout=settings.timeout_secs, limits=limits, verify=verify, follow_redirects=False, trust_env=False
        )

    def wants(self, payload: Mapping[str, Any]) -> bool:
        """Whether the event, and whose it is, is among those asked for."""
        if self._events is not None and payload["event"] not in self._events:
            return False
        about = payload.get("job") or payload.get("reservation") or {}
        return not self._users or str(about.get("user", "")).lower() in self._users

    async def deliver(self, delivery: Delivery) -> None:
        """POST once. Raises DeliveryFailed."""
        body = json.dumps(delivery.payload).encode()
        try:
            with trio.fail_after(self._settings.timeout_secs):
                await self._post(body, self._headers(delivery))
        except trio.TooSlowError:
            raise DeliveryFailed(f"no answer within {self._settings.timeout_secs:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise DeliveryFailed(str(error) or type(error).__name__) from error

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": f"gflow/{__version__}/webhooks",
            "X-Gflow-Delivery": delivery.id,
            "X-Gflow-Event": delivery.event,
            **self._settings.headers,
        }

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        async with self._client.stream("POST", self._settings.url, content=body, headers=headers) as answer:
            received = 0
            async for chunk in answer.aiter_raw():
                received += len(chunk)
                if received > MOST_ANSWER_BYTES:
                    break
        _judge(answer)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Reading the authorities there are takes long: once for all targets, and never while jobs wait for it."""
    return ssl.create_default_context()


def _judge(answer: httpx.Response) -> None:
    """Raise DeliveryFailed unless the answer says that all is well."""
    status = answer.status_code
    if 200 <= status < 300:
        return
    final = 300 <= status < 500 and status not in _WORTH_ANOTHER_TRY
    what = "a redirect, which is not followed" if 300 <= status < 400 else answer.reason_phrase
    raise DeliveryFailed(
        f"answered {status} ({what})", final=final, retry_after_secs=_retry_after(answer.headers.get("Retry-After"))
    )


def _retry_after(said: str | None) -> float | None:
    """Seconds; a date counts from now. What makes no sense is as good as nothing."""
    if said is None:
        return None
    try:
        secs = float(said) if said.strip().isdigit() else parsedate_to_datetime(said).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return max(0.0, secs) if math.isfinite(secs) else None
