"""The targets that a configuration asks for, each checked whole before the first event.

Every error is a ValueError of one line that names the key, and shows no secret.
"""

import re
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gflow import config
from gflow.core.notices import check_address
from gflow.notify.base import Target
from gflow.notify.command import Command
from gflow.notify.email import Email
from gflow.notify.formats import FORMATS
from gflow.notify.headers import mailbox
from gflow.notify.secrets import expand, secret_from
from gflow.notify.smtp_url import smtp_server
from gflow.notify.subscription import Subscription

if TYPE_CHECKING:
    from gflow.notify.webhook import Webhook

Environ = Mapping[str, str]
LogPath = Callable[[int], Path]

MAX_NAME = 100
MAX_TIMEOUT_SECS = 3600
MAX_RETRIES = 100

_MAILBOX = re.compile(r'(?:(?:"(?P<quoted>[^"\\]*)"|(?P<name>[^<>"@;\\]*))\s*<(?P<address>[^<>]*)>)|(?P<alone>[^<>]*)')
"""One address. A name with an @ that is not quoted is rather another address."""

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_OURS = ("content-length", "transfer-encoding", "host", "connection")


def targets(notifications: config.Notifications, environ: Environ, *, log_path: LogPath | None = None) -> list[Target]:
    """Webhooks, mail and programs, in this order; none if notifications are not enabled. Raises ValueError.

    `log_path` says where the log of a job is, for the mail that quotes it.
    """
    if not notifications.enabled:
        return []
    made: list[Target] = []
    for at, webhook in enumerate(notifications.webhooks):
        made.append(_webhook(webhook, environ, f"notifications.webhooks[{at}]"))
    for at, email in enumerate(notifications.emails):
        mail = _email(email, environ, f"notifications.emails[{at}]", jobs_too=at == 0, log_path=log_path)
        mail.may_mail = [text.strip() for text in notifications.jobs_may_mail]
        made.append(mail)
    for at, command in enumerate(notifications.commands):
        made.append(_command(command, environ, f"notifications.commands[{at}]"))
    _tell_apart(made)
    return made


def _tell_apart(made: list[Target]) -> None:
    """Give targets with one address keys and names of their own, by their order."""
    seen: dict[str, int] = {}
    for target in made:
        seen[target.key] = count = seen.get(target.key, 0) + 1
        if count > 1:
            target.key = f"{target.key}-{count}"
            target.name = f"{target.name.removesuffix(')')}-{count})"


def _subscription(found: config.Webhook | config.Email | config.Command, key: str) -> Subscription:
    """What all kinds of targets have in common, checked."""
    if not 0 < found.timeout_secs <= MAX_TIMEOUT_SECS:
        raise ValueError(f"{key}.timeout_secs: use more than 0, at most {MAX_TIMEOUT_SECS}")
    if not 0 <= found.max_retries <= MAX_RETRIES:
        raise ValueError(f"{key}.max_retries: use 0 to {MAX_RETRIES}")
    if not found.events:
        raise ValueError(f"{key}.events: it is empty; name events, or leave it out for all")
    if not all(map(str.strip, found.filter_users)):
        raise ValueError(f"{key}.filter_users: one of the names is empty")
    try:
        return Subscription(found.events, found.filter_users)
    except ValueError as error:
        raise ValueError(f"{key}.events: {error}") from None


# -- webhooks ----------------------------------------------------------------------------------------------------------


def _webhook(found: config.Webhook, environ: Environ, key: str) -> "Webhook":
    # with httpx, which costs a daemon without webhooks more than it is worth
    from gflow.notify.web_url import web_url
    from gflow.notify.webhook import Webhook

    subscription = _subscription(found, key)
    if found.format not in FORMATS:
        raise ValueError(f"{key}.format: {found.format!r} is unknown; use {', '.join(FORMATS)}")
    return Webhook(
        url=web_url(expand(found.url, environ, f"{key}.url"), f"{key}.url"),
        address=found.url,
        subscription=subscription,
        headers={name: _header(name, value, environ, key) for name, value in found.headers.items()},
        secret=secret_from(found.secret, found.secret_file, environ, key),
        format=found.format,
        timeout_secs=found.timeout_secs,
        max_retries=found.max_retries,
        tls=_system_tls(),
    )


def _header(name: str, value: str, environ: Environ, key: str) -> str:
    if not name or not _TOKEN.issuperset(name) or name.lower() in _OURS:
        raise ValueError(f"{key}.headers: {name!r} is no header that can be set here")
    text = expand(value, environ, f"{key}.headers.{name}").strip()
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{key}.headers.{name}: use printable ASCII characters")
    return text


@cache
def _system_tls() -> ssl.SSLContext:
    """Trusts whom the machine trusts; reading that takes a while, so all targets share it."""
    return ssl.create_default_context()


# -- mail --------------------------------------------------------------------------------------------------------------


def _email(found: config.Email, environ: Environ, key: str, *, jobs_too: bool, log_path: LogPath | None) -> Email:
    sender, envelope_from = _address(found.sender, f"{key}.from")
    return Email(
        server=smtp_server(expand(found.smtp_url, environ, f"{key}.smtp_url"), f"{key}.smtp_url"),
        address=found.smtp_url,
        subscription=_subscription(found, key),
        sender=sender,
        envelope_from=envelope_from,
        to=[_address(text, f"{key}.to")[1] for text in found.to],
        prefix=found.subject_prefix,
        jobs_too=jobs_too,
        log_path=log_path,
        timeout_secs=found.timeout_secs,
        max_retries=found.max_retries,
        tls_context=_system_tls(),
    )


def _address(text: str, key: str) -> tuple[str, str]:
    """The text of a header, and the address in it, of `a@b`, `Name <a@b>` or `"Name" <a@b>`."""
    found = _MAILBOX.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        address = check_address(found["address"] or found["alone"] or "")
    except ValueError:
        raise ValueError(f"{key}: {text!r} is no e-mail address; write NAME@HOST or 'Name <NAME@HOST>'") from None
    name = (found["quoted"] or found["name"] or "").strip()
    if not text.isprintable() or len(name) > MAX_NAME:
        raise ValueError(f"{key}: use printable characters, and at most {MAX_NAME} for the name")
    return mailbox(name, address), address


# -- programs ----------------------------------------------------------------------------------------------------------


def _command(found: config.Command, environ: Environ, key: str) -> Command:
    if (found.argv is None) == (found.command is None):
        raise ValueError(f"{key}: give argv (a program and its arguments) or command (a line for the shell)")
    argv = found.argv if found.argv is not None else ["/bin/sh", "-c", found.command or ""]
    program = found.command if found.argv is None else next(iter(argv), "")
    if not (program or "").strip():
        raise ValueError(f"{key}: the program has no name")
    if any("\0" in word for word in argv):
        raise ValueError(f"{key}: a word has a NUL character in it")
    return Command(
        argv=argv,
        subscription=_subscription(found, key),
        environ=environ,
        program=argv[0] if found.argv is not None else "shell",
        timeout_secs=found.timeout_secs,
        max_retries=found.max_retries,
    )
