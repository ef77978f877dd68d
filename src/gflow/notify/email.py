"""Mail: one to each recipient for each event, through an SMTP server.

`smtplib` blocks, so an attempt is made in a thread; when its time is up the socket is shut under it, so that the thread
ends too. Of several recipients those who were served are remembered over attempts: a retry is for the others.

Certificates are verified wherever there is TLS.
"""

import smtplib
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from gflow.notify.base import Delivery, DeliveryFailed
from gflow.notify.formats import one_line
from gflow.notify.letter import FAILURES, clean_tail, letter
from gflow.notify.payloads import MAIL_TO
from gflow.notify.secrets import digest
from gflow.notify.smtp_url import Server
from gflow.notify.subscription import Subscription

TAIL_BYTES = 16 * 1024
THREADS = 4
REMEMBERED = 1000


@dataclass(slots=True, eq=False)
class Email:
    """A target that is written to.

    - sender: as in a header; envelope_from: the address alone. to: addresses that get the events of the subscription.
    - jobs_too: this target also writes to whom a job names. Exactly one target does, so that nobody gets two.
    - log_path: where the log of a job is.
    """

    server: Server
    address: str = field(repr=False)
    subscription: Subscription = field(repr=False)
    sender: str = field(repr=False)
    envelope_from: str = field(repr=False)
    to: Sequence[str] = field(repr=False)
    prefix: str | None = None
    jobs_too: bool = False
    log_path: Callable[[int], Path] | None = field(default=None, repr=False)
    timeout_secs: float = 10.0
    max_retries: int = 3
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)
    kind: str = field(default="email", init=False)
    key: str = field(init=False)
    name: str = field(init=False)
    _limiter: trio.CapacityLimiter = field(init=False, repr=False)
    _served: OrderedDict[str, set[str]] = field(default_factory=OrderedDict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.key = digest(self.kind, self.address, *self.to)
        self.name = f"email {self.server.host} ({self.key[:4]})"
        self._limiter = trio.CapacityLimiter(THREADS)

    def wants(self, payload: Mapping[str, Any]) -> bool:
        """Whether this event is of interest to anybody it writes to."""
        return bool(self._recipients(payload))

    def _recipients(self, payload: Mapping[str, Any]) -> list[str]:
        subscribed = self.to if self.subscription.wants(payload) else ()
        asked = payload.get(MAIL_TO) or () if self.jobs_too else ()
        return list({address.lower(): address for address in (*asked, *subscribed)}.values())

    async def deliver(self, delivery: Delivery) -> None:
        """One attempt for all who have not been served yet. Raises DeliveryFailed."""
        served = self._served.setdefault(delivery.id, set())
        while len(self._served) > REMEMBERED:
            self._served.popitem(last=False)
        session = _Session(self, delivery, served)
        with trio.move_on_after(self.timeout_secs) as scope:
            try:
                await trio.to_thread.run_sync(session.run, abandon_on_cancel=True, limiter=self._limiter)
            finally:
                session.abandon()
        if scope.cancelled_caught:
            raise DeliveryFailed(f"the mail server did not take it within {self.timeout_secs:g} s")
        self._served.pop(delivery.id, None)

    def letters(self, delivery: Delivery, served: set[str]) -> list[tuple[str, bytes]]:
        """(address, message) for those who have not been served. Reads the log."""
        told = delivery.payload
        tail = self._tail(told) if told["event"] in FAILURES else []

        def written(to: str) -> bytes:
            mail = letter(told, sender=self.sender, to=to, prefix=self.prefix, delivery_id=delivery.id, tail=tail)
            return mail.as_bytes()

        return [(to, written(to)) for to in self._recipients(told) if to not in served]

    def _tail(self, payload: Mapping[str, Any]) -> list[str]:
        if self.log_path is None:
            return []
        try:
            with self.log_path(payload["job"]["id"]).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - TAIL_BYTES))
                return clean_tail(file.read(TAIL_BYTES), whole=size <= TAIL_BYTES)
        except OSError:
            return []

    async def aclose(self) -> None:
        """Nothing is kept open between mails."""


class _Session:
    """One connection to the server, in a thread of its own."""

    def __init__(self, target: Email, delivery: Delivery, served: set[str]) -> None:
        self._target = target
        self._delivery = delivery
        self._served = served
        self._smtp: smtplib.SMTP | None = None
        self._abandoned = False

    def abandon(self) -> None:
        """Wake the thread, wherever in the conversation it is; without a connection there is nothing to do."""
        self._abandoned = True
        sock = self._smtp.sock if self._smtp is not None else None
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Connect, send, and say in a DeliveryFailed what went wrong."""
        letters = self._target.letters(self._delivery, self._served)
        if not letters:
            return
        try:
            with self._connect() as smtp:
                self._smtp = smtp
                self._secure(smtp)
                self._send(smtp, letters)
        except smtplib.SMTPAuthenticationError as error:
            why = f"the mail server refused the user name or password ({error.smtp_code})"
            raise DeliveryFailed(why, final=error.smtp_code >= 500) from None
        except smtplib.SMTPResponseException as error:
            raise DeliveryFailed(_answer(error.smtp_code, error.smtp_error), final=error.smtp_code >= 500) from None
        except smtplib.SMTPNotSupportedError:
            raise DeliveryFailed("the mail server offers no STARTTLS, or no log-in", final=True) from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise DeliveryFailed(
                one_line(f"no conversation with the mail server: {str(error) or 'it hung up'}")
            ) from None

    def _connect(self) -> smtplib.SMTP:
        target, server = self._target, self._target.server
        here = one_line(socket.gethostname().encode("ascii", "replace").decode()).replace(" ", "-") or "localhost"
        if server.tls == "wrapper":
            return smtplib.SMTP_SSL(server.host, server.port, here, timeout=target.timeout_secs, context=self._tls())
        return smtplib.SMTP(server.host, server.port, here, timeout=target.timeout_secs)

    def _tls(self) -> ssl.SSLContext:
        return self._target.tls_context or ssl.create_default_context()

    def _secure(self, smtp: smtplib.SMTP) -> None:
        server = self._target.server
        smtp.ehlo_or_helo_if_needed()
        if server.tls == "required" or (server.tls == "opportunistic" and smtp.has_extn("starttls")):
            smtp.starttls(context=self._tls())
            smtp.ehlo()
        if server.login is not None:
            smtp.login(*server.login)

    def _send(self, smtp: smtplib.SMTP, letters: Sequence[tuple[str, bytes]]) -> None:
        """All of them, even if the server does not want some. Raises DeliveryFailed at the end if it did not."""
        refused: list[tuple[int, bytes | str]] = []
        for to, message in letters if not self._abandoned else ():
            code, text = self._send_one(smtp, to, message)
            if code:
                refused.append((code, text))
            if not code or code >= 500:  # then for this one trying again cannot help
                self._served.add(to)
        if refused:
            code, text = min(refused, key=lambda answer: answer[0])
            raise DeliveryFailed(f"{len(refused)} not taken: {_answer(code, text)}", final=code >= 500)

    def _send_one(self, smtp: smtplib.SMTP, to: str, message: bytes) -> tuple[int, bytes | str]:
        """The answer of the server if it does not take it, else 0."""
        try:
            smtp.sendmail(self._target.envelope_from, [to], message)
        except smtplib.SMTPRecipientsRefused as error:
            return error.recipients[to]
        except smtplib.SMTPDataError as error:
            return error.smtp_code, error.smtp_error
        return 0, b""


def _answer(code: int, text: bytes | str) -> str:
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return one_line(f"the mail server answered {code} {said}", 200)
