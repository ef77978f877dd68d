"""Mail: one to each recipient for each event, through an SMTP server.

An attempt is made in a thread, as `smtplib` blocks; when its time is up the line is cut under it, so that the thread
ends too. Of several recipients those who were served are remembered over attempts: a retry is for the others.

To addresses that only a job names so many mails go as its user is allowed, see `allowance.py`.

Certificates are verified wherever there is TLS.
"""

import os
import smtplib
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import trio

from gflow.notify.allowance import Allowance
from gflow.notify.base import Delivery, DeliveryFailed
from gflow.notify.formats import one_line
from gflow.notify.letter import FAILURES, clean_tail, letter
from gflow.notify.payloads import MAIL_TO, user_of
from gflow.notify.secrets import digest
from gflow.notify.smtp import Conversation, Line
from gflow.notify.smtp_url import Server
from gflow.notify.subscription import TEST, Subscription

TAIL_BYTES = 16 * 1024
THREADS = 4
TAIL_SECS = 2.0
REMEMBERED = 1000

Answer = tuple[int, bytes | str]


@dataclass(slots=True)
class _Progress:
    """What became of a delivery so far: addresses that were served, and those that the server wants no mail for.

    - withheld: addresses that get none, for the user's jobs have had too many sent; None until that is decided.
    """

    withheld: set[str] | None = None
    served: set[str] = field(default_factory=set)
    refused: dict[str, Answer] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Email:
    """A target that is written to.

    - sender: as `headers.mailbox` writes it; envelope_from: the address alone.
    - to: addresses that get the events of the subscription.
    - jobs_too: this target also writes to whom a job names. Exactly one target does, so that nobody gets two.
    - may_mail: and to which addresses then, in which `*` is anything.
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
    may_mail: Sequence[str] = ("*",)
    log_path: Callable[[int], Path] | None = field(default=None, repr=False)
    timeout_secs: float = 10.0
    max_retries: int = 3
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)
    kind: str = field(default="email", init=False)
    key: str = field(init=False)
    name: str = field(init=False)
    allowance: Allowance = field(init=False, repr=False)
    _limiter: trio.CapacityLimiter = field(init=False, repr=False)
    _readers: trio.CapacityLimiter = field(init=False, repr=False)
    _progress: OrderedDict[str, _Progress] = field(default_factory=OrderedDict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.key = digest(self.kind, self.address, *self.to)
        self.name = f"email {self.server.host} ({self.key[:4]})"
        self.allowance = Allowance(self.name)
        self._limiter, self._readers = trio.CapacityLimiter(THREADS), trio.CapacityLimiter(THREADS)

    def wants(self, payload: Mapping[str, Any]) -> bool:
        """Whether this event is of interest to anybody it writes to."""
        return bool(self._recipients(payload))

    def _recipients(self, payload: Mapping[str, Any]) -> list[str]:
        asked = filter(self.may_write_to, payload.get(MAIL_TO) or ())
        return list({address.lower(): address for address in (*asked, *self._subscribed(payload))}.values())

    def _subscribed(self, payload: Mapping[str, Any]) -> Sequence[str]:
        return self.to if self.subscription.wants(payload) else ()

    def _withheld(self, payload: Mapping[str, Any], served: Collection[str]) -> set[str]:
        """Addresses that only the job names, and that may not be written to any more; the others are counted."""
        free, user = {address.lower() for address in self._subscribed(payload)}, user_of(payload) or ""
        asked = [to for to in self._recipients(payload) if to.lower() not in free and to not in served]
        return {to for to in asked if not self.allowance.take(user, trio.current_time())}

    def may_write_to(self, address: str) -> bool:
        """Whether a job may have this address written to."""
        return self.jobs_too and any(fnmatchcase(address.lower(), allowed.lower()) for allowed in self.may_mail)

    def withheld(self) -> Mapping[str, int]:
        """Mails that were not sent lately because a user's jobs had too many sent, by user."""
        return self.allowance.withheld(trio.current_time())

    async def deliver(self, delivery: Delivery) -> str | None:
        """One attempt for all who have not been served yet. Raises DeliveryFailed.

        A test where there is nobody to write to sees whether the server would take mail, and says so.
        """
        session = _Session(self, delivery, self._so_far(delivery), await self._tail_in_time(delivery.payload))
        with trio.move_on_after(self.timeout_secs) as scope:
            try:
                await trio.to_thread.run_sync(session.run, abandon_on_cancel=True, limiter=self._limiter)
            finally:
                session.line.cut()
        if scope.cancelled_caught:
            raise DeliveryFailed(f"the mail server did not take it within {self.timeout_secs:g} s")
        self._progress.pop(delivery.id, None)
        return None if self.wants(delivery.payload) else "nobody was written to, for 'to' is empty"

    def _so_far(self, delivery: Delivery) -> _Progress:
        """A first attempt is one for those, too, who were refused before: somebody asked for it anew."""
        progress = self._progress.setdefault(delivery.id, _Progress())
        if delivery.attempt == 1:
            progress.refused = {}
        if delivery.attempt == 1 or progress.withheld is None:
            progress.withheld = self._withheld(delivery.payload, progress.served)
        while len(self._progress) > REMEMBERED:
            self._progress.popitem(last=False)
        return progress

    def letters(self, delivery: Delivery, done: Collection[str], tail: Sequence[str]) -> list[tuple[str, bytes]]:
        """(address, message) for all but those who are done with. tail: the last lines of the log."""
        told = delivery.payload

        def written(to: str) -> bytes:
            return letter(told, sender=self.sender, to=to, prefix=self.prefix, delivery_id=delivery.id, tail=tail)

        return [(to, written(to)) for to in self._recipients(told) if to not in done]

    async def _tail_in_time(self, payload: Mapping[str, Any]) -> list[str]:
        """The last lines of a log, for those it is for; none where it hangs, as on a disk that does."""
        if payload["event"] in FAILURES and self.log_path is not None:
            with trio.move_on_after(TAIL_SECS):
                return await trio.to_thread.run_sync(self._tail, payload, abandon_on_cancel=True, limiter=self._readers)
        return []

    def _tail(self, payload: Mapping[str, Any]) -> list[str]:
        if self.log_path is None:
            return []
        try:
            with open(self.log_path(payload["job"]["id"]), "rb", opener=_without_waiting) as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - TAIL_BYTES))
                return clean_tail(file.read(TAIL_BYTES), whole=size <= TAIL_BYTES)
        except OSError:
            return []

    async def aclose(self) -> None:
        """Nothing is kept open between mails."""


def _without_waiting(path: str, flags: int) -> int:
    """Open what might be a pipe that nobody writes to."""
    return os.open(path, flags | os.O_NONBLOCK)


class _Session:
    """One attempt, in a thread of its own. Whoever cuts its `line` ends it."""

    def __init__(self, target: Email, delivery: Delivery, progress: _Progress, tail: Sequence[str]) -> None:
        self.line = Line()
        self._target = target
        self._delivery = delivery
        self._progress = progress
        self._tail = tail
        self._later: dict[str, Answer] = {}

    def run(self) -> None:
        """Connect, send, and say in a DeliveryFailed what went wrong."""
        done = {*self._progress.served, *self._progress.refused, *(self._progress.withheld or ())}
        letters = self._target.letters(self._delivery, done, self._tail)
        if letters or self._delivery.payload["event"] == TEST:
            try:
                self._converse(letters)
            finally:
                self.line.release()
        self._conclude()

    def _converse(self, letters: Sequence[tuple[str, bytes]]) -> None:
        try:
            smtp = self._connect()
            try:
                self._secure(smtp)
                self._send(smtp, letters)
            finally:
                smtp.leave()
        except smtplib.SMTPAuthenticationError as error:
            why = f"the mail server refused the user name or password ({error.smtp_code})"
            raise DeliveryFailed(why, final=error.smtp_code >= 500) from None
        except smtplib.SMTPResponseException as error:
            why = _said([(error.smtp_code, error.smtp_error)])
            raise DeliveryFailed(why, final=error.smtp_code >= 500) from None
        except smtplib.SMTPNotSupportedError:
            raise DeliveryFailed("the mail server offers no STARTTLS, or no log-in", final=True) from None
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryFailed(
                one_line(f"no conversation with the mail server: {str(error) or 'it hung up'}")
            ) from None
        except ValueError as error:  # whose text might have a part of the password
            raise DeliveryFailed(f"no conversation with the mail server: {type(error).__name__}") from None

    def _connect(self) -> Conversation:
        target = self._target
        here = one_line(socket.gethostname().encode("ascii", "replace").decode()).replace(" ", "-") or "localhost"
        return Conversation(target.server, here, line=self.line, tls=self._tls(), timeout_secs=target.timeout_secs)

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
        """All of them, even if the server does not want some."""
        if not letters:
            code, text = smtp.noop()
            if code >= 400:
                raise smtplib.SMTPResponseException(code, text)
        for to, message in letters:
            if smtp.sock is None or self.line.is_cut:
                raise smtplib.SMTPServerDisconnected("it hung up")
            self._note(to, self._send_one(smtp, to, message))

    def _note(self, to: str, answer: Answer) -> None:
        """What the server said about one mail; 421 is about all of them."""
        code, text = answer
        if not code:
            self._progress.served.add(to)
        elif code == 421:
            raise smtplib.SMTPResponseException(code, text)
        elif code >= 500:  # trying again cannot help
            self._progress.refused[to] = answer
        else:
            self._later[to] = answer

    def _send_one(self, smtp: smtplib.SMTP, to: str, message: bytes) -> Answer:
        """The answer of the server if it does not take it, else 0."""
        try:
            smtp.sendmail(self._target.envelope_from, [to], message)
        except smtplib.SMTPRecipientsRefused as error:
            return error.recipients[to]
        except smtplib.SMTPDataError as error:
            return error.smtp_code, error.smtp_error
        return 0, b""

    def _conclude(self) -> None:
        """Raises DeliveryFailed if there is anybody who was not served. The server itself is well if it said so."""
        answers = [*self._progress.refused.values(), *self._later.values()]
        if answers:
            why = f"{len(answers)} not taken: {_said(answers)}"
            raise DeliveryFailed(why, final=not self._later, target_is_fine=not self._later)


def _said(answers: Iterable[Answer]) -> str:
    """Each answer once."""
    return f"the mail server answered {', and '.join(dict.fromkeys(map(_shown, answers)))}"


def _shown(answer: Answer) -> str:
    code, text = answer
    return one_line(f"{code} {text.decode(errors='replace') if isinstance(text, bytes) else text}", 160)
