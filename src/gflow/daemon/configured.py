"""What a configuration means for the parts of a daemon: who is told, how TCP is served, how the machine is shared.

What is right by itself and would keep a daemon from starting, as a variable for a target that is not set, a certificate
that cannot be read, or an address that may not be served, is found here: before a change, and for commands.
"""

import logging
import random
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from gflow.config import DEFAULT_ENV_DROP, Config, environment
from gflow.config import Daemon as DaemonConfig
from gflow.core import quotas
from gflow.core.model import JobId
from gflow.core.placement import Shuffle, keep_order
from gflow.core.policy import Policy
from gflow.daemon.loopback import CannotListen, allowed_addresses, own_names, why_inside
from gflow.daemon.peer import Stranger
from gflow.daemon.tls import UnusableCertificate, names_of, server_context
from gflow.notify.base import Target

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """There cannot be a daemon here; the message is one line that says why."""


class Prepared(NamedTuple):
    """A configuration that a daemon would start with, and what it took reading other files to make of it."""

    config: Config
    targets: list[Target]
    tls: ssl.SSLContext | None


def check(config: Config, *, system: bool = False) -> None:
    """Raise CannotStart if no daemon would start with this."""
    prepared(config, lambda job_id: Path(str(job_id)), system=system)


def prepared(config: Config, log_path: Callable[[JobId], Path], *, system: bool = False) -> Prepared:
    """What a daemon needs to go by this configuration. Raises CannotStart."""
    made = Prepared(config, targets(config, log_path), tls_context(config))
    if system:
        check_auth(config)
    tcp = config.tcp()
    if tcp is not None:
        try:
            allowed_addresses(*tcp, inside=inside(config))
        except CannotListen as error:
            raise CannotStart(str(error)) from error
    return made


def inside(config: Config) -> str | None:
    """Why none but loopback addresses may be served, None if all may."""
    return why_inside(
        anybody=config.auth() == "none", tls=config.tls() is not None, plaintext=config.daemon.allow_plaintext
    )


def check_auth(config: Config) -> None:
    """Raise CannotStart if this is not for a daemon of all users."""
    if config.daemon.auth == "none":
        raise CannotStart(
            'daemon.auth = "none" lets everybody submit under any name, and --system runs jobs as who submits them:'
            " use one or the other"
        )


def tls_context(config: Config) -> ssl.SSLContext | None:
    """What is put around TCP, if there is any. Raises CannotStart."""
    files = config.tls()
    try:
        return None if files is None or config.tcp() is None else server_context(*files)
    except UnusableCertificate as error:
        raise CannotStart(str(error)) from error


def stranger(config: Config, tls: ssl.SSLContext | None, *, outside: bool) -> Stranger:
    """Who comes over TCP, and by which names that may be addressed: those in the certificate among them."""
    tcp, files = config.tcp(), config.tls()
    if tcp is None:
        return Stranger(frozenset())
    names = own_names(tcp[0]) | {name.lower() for name in config.daemon.allowed_hosts}
    if tls is not None and files is not None:
        try:
            names |= names_of(files[0], tls)
        except UnusableCertificate as error:
            log.warning("%s", error)  # it may only be too old, and jobs are not to wait for a new one
    return Stranger(names, outside=outside)


def targets(config: Config, log_path: Callable[[JobId], Path]) -> list[Target]:
    """Who is told of events. Raises CannotStart."""
    if not config.notifications.enabled:
        return []
    from gflow.notify import make  # and with it an HTTP client, which takes its time

    try:
        return make.targets(config.notifications, environment(), log_path=lambda job_id: log_path(JobId(job_id)))
    except ValueError as error:
        raise CannotStart(str(error)) from error


def policy(config: Config) -> Policy:
    """What the configuration says about sharing the machine."""
    daemon, fair_share = config.daemon, config.daemon.fair_share
    return Policy(
        max_bypass_secs=daemon.max_bypass_secs,
        fair_share_half_life_secs=fair_share.half_life_secs if fair_share.enabled else None,
        quotas=quotas.table_from_map(msgspec.to_builtins(config.quota)),
        known_projects=frozenset(config.projects.known_projects),
        require_project=config.projects.require_project,
        idle_gpu_warn_secs=None if daemon.idle_gpu_warn_mins is None else daemon.idle_gpu_warn_mins * 60,
    )


def env_drop(daemon: DaemonConfig) -> tuple[str, ...]:
    """Which variables are never stored with a job: never a token, whatever the list says."""
    return (*daemon.env_drop, *DEFAULT_ENV_DROP)


def shuffle(daemon: DaemonConfig) -> Shuffle:
    """The order in which GPUs are chosen."""
    return keep_order if daemon.gpu_allocation_strategy == "sequential" else random.SystemRandom().shuffle


def url(config: Config) -> str | None:
    """Where clients of other machines find the daemon, None if nowhere."""
    tcp = config.tcp()
    if tcp is None:
        return None
    host, port = tcp
    return f"{'http' if config.tls() is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
