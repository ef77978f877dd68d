"""A real SMTP server in a thread; `mails` has what it took."""

import asyncio
import email
import email.policy
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Mail:
    """One message as it was taken."""

    sender: str
    recipients: list[str]
    message: email.message.EmailMessage
    encrypted: bool

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        return self.message.get_content().replace("\r\n", "\n")


@dataclass
class MailServer:
    """`refuse` answers a recipient with a line, as "550 no such user"; `refuse_text` what is sent to one.

    `login` is (user, password), after STARTTLS.
    """

    starttls: ssl.SSLContext | None = None
    wrapper: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None
    refuse: dict[str, str] = field(default_factory=dict)
    refuse_text: dict[str, str] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)
    said_hello: int = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        serving = self._loop.create_server(self._conversation, "127.0.0.1", 0, ssl=self.wrapper)
        self._server = self._loop.run_until_complete(serving)
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # what was closed says so to its peers

    def _conversation(self) -> SMTP:
        options: dict[str, Any] = {"tls_context": self.starttls, "hostname": "localhost", "loop": self._loop}
        if self.login is not None:
            options |= {"authenticator": self._authenticate, "auth_required": True}
        return SMTP(self, **options)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        return AuthResult(success=(data.login.decode(), data.password.decode()) == self.login, handled=False)

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list
    ) -> list:
        self.said_hello += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if envelope.rcpt_tos[0] in self.refuse_text:
            return self.refuse_text[envelope.rcpt_tos[0]]
        message = email.message_from_bytes(envelope.content, policy=email.policy.SMTP)
        encrypted = session.ssl is not None or self.wrapper is not None
        self.mails.append(Mail(envelope.mail_from, list(envelope.rcpt_tos), message, encrypted))
        return "250 OK"
