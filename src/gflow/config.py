"""The daemon's settings: flag over environment over file over default, each checked, none ignored.

Every error names the file or variable, the key, and what is allowed. Settings of gflow that this version does not act
on yet are accepted and named in `Config.unserved`, so that an existing gflow.toml starts the daemon.
"""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from gflow.core.gpu_list import parse_gpu_list
from gflow.core.limits import MAX_PROJECT
from gflow.core.zones import named

DEFAULT_ENV_DROP = ["GFLOW_TOKEN"]
"""Variables that are not stored with a job, whatever else the configuration leaves out."""

DEFAULT_HOST, DEFAULT_PORT = "localhost", 59000
"""Where TCP is served if only one of the two is set."""

DAY_SECS = 86400
MOST_QUOTA = 1_000_000


class ConfigError(Exception):
    """A setting is unknown or has a bad value; the message is one line."""


class FairShare(Struct, forbid_unknown_fields=True):
    """The `[daemon.fair_share]` table: whose turn it is."""

    enabled: bool = False
    """Whether, among jobs of one priority, those come first whose owner has had less of the machine lately."""
    half_life_secs: float = 604800
    """After so long, usage counts half."""


class HistoryKeep(Struct, forbid_unknown_fields=True):
    """The `[daemon.history_keep]` table: how many ended jobs stay in memory, and for how long. The others are in
    the history, where they are found too. For five minutes after its end every job stays."""

    jobs: int = 10_000
    """So many stay at hand."""
    days: float = 30
    """Those that ended so many days ago go, however few there are."""


class Daemon(Struct, forbid_unknown_fields=True):
    """The `[daemon]` table."""

    host: str | None = None
    """Name or address to listen on by TCP, beside the socket; without TLS only addresses of this machine are served.
    Where only the port is set: localhost."""
    port: int | None = None
    """Port for TCP. Where only the host is set: 59000."""
    auth: str | None = None
    """How whoever comes by TCP says who he is: `token`, which is the default, or `none`, which lets in every user of
    this machine under any name."""
    socket: str | None = None
    """Unix socket to listen on: an absolute path, or one in `~/`. By default
    `gflow/gflowd.sock` in `$XDG_RUNTIME_DIR`."""
    tls_cert: str | None = None
    """A PEM file: TLS is served by TCP with this certificate, and those between it and its authority."""
    tls_key: str | None = None
    """A PEM file with its key, which others may not read."""
    allow_plaintext: bool = False
    """Whether other machines are served without TLS, where nobody on the way can read along."""
    allowed_hosts: list[str] = []
    """More names by which TCP may be addressed, as `gpu.example.com` or `*.example.com`."""
    gpus: list[int] | None = None
    """Indices of the GPUs that jobs may have; `[]` for none. By default all."""
    gpu_allocation_strategy: str = "sequential"
    """Which of the free GPUs a job gets: `sequential`, the lower ones first, or `random`."""
    gpu_poll_interval_secs: float = 10
    """How often the GPUs are looked at."""
    idle_gpu_warn_mins: float | None = None
    """A job whose GPUs are all unused for so long makes a `gpu_idle` event. By default never."""
    max_bypass_secs: float = 3600
    """How long jobs may pass one that waits for room nobody knows the end of."""
    simulated_gpus: int = 0
    """Pretend to have so many GPUs (up to 64), for demonstrations and tests."""
    simulated_gpu_memory_mb: int = 24576
    """What each of these has."""
    kill_grace_secs: float = 10
    """From Ctrl-C to SIGTERM when a job is stopped; up to a day."""
    env_drop: list[str] = field(default_factory=lambda: list(DEFAULT_ENV_DROP))
    """Variables that are never stored with a job, besides `GFLOW_TOKEN`; patterns such as `*_SECRET` are allowed."""
    fair_share: FairShare = field(default_factory=FairShare)
    history_keep: HistoryKeep = field(default_factory=HistoryKeep)

    def __post_init__(self) -> None:
        if self.gpus is not None:
            self.gpus = sorted(set(self.gpus))  # in order, each once, for all who read it


class Client(Struct, forbid_unknown_fields=True):
    """The `[client]` table: what commands read to find a daemon, as one on another machine."""

    url: str | None = None
    """Where the daemon is, as `https://gpu.example.com:59000`; `GFLOW_URL` and `--url` come first."""
    cacert: str | None = None
    """A PEM file with the authorities to trust; `GFLOW_CACERT` and `--cacert` come first. By default the system's."""
    ssh_host: str | None = None
    """What ssh calls the machine, for `gjob attach`; `GFLOW_SSH_HOST` comes first. By default the host of the URL."""
    allow_plaintext: bool = False
    """Whether a token may be sent to another machine without TLS."""


class Projects(Struct, forbid_unknown_fields=True):
    """The `[projects]` table: what jobs are for. Codes are trimmed, and blank ones are none."""

    known_projects: list[str] = []
    """The codes that jobs may have; empty: any."""
    require_project: bool = False
    """Whether every job must have one."""

    def __post_init__(self) -> None:
        self.known_projects = [code for code in map(str.strip, self.known_projects) if code]


class Executor(Struct, forbid_unknown_fields=True):
    """The `[executor]` table."""

    type: str = "tmux"
    """What jobs run in: `tmux`, and nothing else; the key is there for files of gflow 0.4."""


class Webhook(Struct, forbid_unknown_fields=True):
    """One target of webhooks."""

    url: str
    """Where to post; `${NAME}` is a variable of the daemon's environment."""
    events: list[str] = field(default_factory=lambda: ["*"])
    """Names of events; `*` is all of them."""
    filter_users: list[str] = []
    """Only what is theirs; empty: everybody's."""
    headers: dict[str, str] = {}
    """Sent along; `${NAME}` as in `url`."""
    format: str = "json"
    """`json`, `slack` or `discord`."""
    secret: str | None = None
    """What the signature is made with. Without it, and without a file, there is none."""
    secret_file: str | None = None
    """A file with it, instead."""
    timeout_secs: float = 10
    """For one attempt, up to 3600."""
    max_retries: int = 3
    """Attempts after the first, up to 100."""

    def __repr__(self) -> str:
        return "Webhook(…)"  # addresses, headers and secrets are for nobody's log


class Email(Struct, forbid_unknown_fields=True, rename={"sender": "from"}, kw_only=True):
    """One way mail is sent."""

    smtp_url: str
    """Server, as `smtps://USER:PASSWORD@HOST` or `smtp://HOST`; `${NAME}` is a variable of the daemon's environment."""
    sender: str
    """Address it is from."""
    to: list[str]
    """Addresses it goes to; may be empty where only jobs name addresses."""
    events: list[str] = field(default_factory=lambda: ["*"])
    """Names of events; `*` is all of them."""
    filter_users: list[str] = []
    """Only what is theirs; empty: everybody's."""
    subject_prefix: str | None = None
    """What subjects begin with. By default `[gflow HOST]`."""
    timeout_secs: float = 10
    """For one attempt, up to 3600."""
    max_retries: int = 3
    """Attempts after the first, up to 100."""

    def __repr__(self) -> str:
        return "Email(…)"  # the address of a server may have a password in it


class Command(Struct, forbid_unknown_fields=True, kw_only=True):
    """A program that is run for events: `argv` as it is, or `command` by a shell."""

    argv: list[str] | None = None
    """Program and arguments, run as they are; this or `command`."""
    command: str | None = None
    """A line for `/bin/sh`."""
    events: list[str] = field(default_factory=lambda: ["*"])
    """Names of events; `*` is all of them."""
    filter_users: list[str] = []
    """Only what is theirs; empty: everybody's."""
    timeout_secs: float = 10
    """For one run, up to 3600."""
    max_retries: int = 3
    """Attempts after the first, up to 100."""

    def __repr__(self) -> str:
        return "Command(…)"  # arguments may be secrets


class Notifications(Struct, forbid_unknown_fields=True):
    """The `[notifications]` table: who is told of events."""

    enabled: bool = False
    """Nothing is told without it."""
    max_concurrent_deliveries: int = 16
    """Attempts at one time, over all targets."""
    jobs_may_mail: list[str] = field(default_factory=lambda: ["*"])
    """Addresses that jobs may have written to, as `*@example.org`; empty: none."""
    webhooks: list[Webhook] = []
    emails: list[Email] = []
    commands: list[Command] = []


class QuotaLimits(Struct, forbid_unknown_fields=True):
    """Limits of a user or project, as `[quota.users.alice]`; without one there is none. Jobs over a running limit wait,
    one that would make the queue too long is refused."""

    max_running_jobs: int | None = None
    """Jobs that run at one time."""
    max_running_gpus: int | None = None
    """GPUs that they hold together."""
    max_queued_jobs: int | None = None
    """Waiting and held jobs."""


class Quota(Struct, forbid_unknown_fields=True):
    """The `[quota]` table."""

    default_user: QuotaLimits | None = None
    """Of every user without an entry."""
    default_project: QuotaLimits | None = None
    """Of every project without an entry."""
    users: dict[str, QuotaLimits] = {}
    """By name."""
    projects: dict[str, QuotaLimits] = {}
    """By code."""


class Access(Struct, forbid_unknown_fields=True):
    """The `[access]` table: who may do what."""

    admins: list[str] = []
    """Users who may act on everything, besides the daemon's own and root; by name, or as `uid:1234`."""
    admin_groups: list[str] = []
    """Groups whose members may."""
    visibility: str = "all"
    """`own` shows only the owner and administrators what a job runs and prints."""


class Config(Struct, forbid_unknown_fields=True):
    """All settings."""

    daemon: Daemon = field(default_factory=Daemon)
    timezone: str | None = None
    """Of the times of reservations, as `Europe/Berlin`; commands read it, too. By default that of the machine."""
    projects: Projects = field(default_factory=Projects)
    executor: Executor = field(default_factory=Executor)
    notifications: Notifications = field(default_factory=Notifications)
    quota: Quota = field(default_factory=Quota)
    client: Client = field(default_factory=Client)
    access: Access = field(default_factory=Access)

    def tcp(self) -> tuple[str, int] | None:
        """Host and port to listen on beside the Unix socket, None for neither."""
        daemon = self.daemon
        if daemon.host is None and daemon.port is None:
            return None
        return daemon.host or DEFAULT_HOST, daemon.port or DEFAULT_PORT

    def tls(self) -> tuple[Path, Path] | None:
        """The files of certificate and key, None for plain TCP. Raises ConfigError if there is only one of them."""
        daemon = self.daemon
        if daemon.tls_cert is None and daemon.tls_key is None:
            return None
        if not daemon.tls_cert or not daemon.tls_key:
            raise ConfigError("daemon.tls_cert and daemon.tls_key go together: give both, or neither")
        return Path(daemon.tls_cert).expanduser(), Path(daemon.tls_key).expanduser()

    def auth(self) -> str:
        """How whoever comes over TCP says who he is: "token", unless it is said otherwise."""
        return self.daemon.auth or "token"

    def unserved(self) -> list[str]:
        """Settings that are understood but that this version does not act on, in words for the log."""
        notes = {
            "daemon.auth: TCP is not opened without daemon.host or daemon.port": (
                self.daemon.auth is not None and self.tcp() is None
            ),
        }
        return [note for note, applies in notes.items() if applies]


def load(path: Path, environ: Mapping[str, str], *, must_exist: bool = False) -> Config:
    """The settings in `path`, overridden by `GFLOW_DAEMON_…` and `GFLOW_DAEMON__…` variables. Raises ConfigError."""
    config = _from_file(path, must_exist=must_exist)
    _check(config, str(path))
    for variable in sorted(environ, reverse=True):  # the spelling that commands look at first comes last, and wins
        if variable.startswith(_PREFIX):
            name = variable.removeprefix(_PREFIX).removeprefix("_").lower()
            if name == "gpus" and not environ[variable].strip():
                continue  # an empty one is as good as none; it must not lift what the file says
            if name not in FROM_TEXT:
                allowed = ", ".join(_PREFIX + known.upper() for known in FROM_TEXT)
                raise ConfigError(f"{variable}: there is no such setting; allowed: {allowed}")
            config = with_daemon(config, {name: environ[variable]}, variable)
    return config


def with_daemon(config: Config, settings: Mapping[str, str], source: str) -> Config:
    """`config` with `[daemon]` settings given as text, as flags and variables have them. Raises ConfigError."""
    table = msgspec.to_builtins(config.daemon)
    for name, text in settings.items():
        try:
            table[name] = FROM_TEXT[name](text)
        except ValueError as error:
            raise ConfigError(f"{source}: daemon.{name}: {error}") from None
    daemon = _convert(table, Daemon, source, "daemon")
    changed = msgspec.structs.replace(config, daemon=daemon)
    _check(changed, source)
    return changed


def _gpus(text: str) -> list[int] | None:
    return None if text.strip() == "all" else parse_gpu_list(text)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _switch(text: str) -> bool:
    if text.strip().lower() not in ("true", "false"):
        raise ValueError(f"invalid switch '{text}': use true or false")
    return text.strip().lower() == "true"


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"invalid number '{text}': use a whole number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"invalid number '{text}': use a number of seconds") from None


_PREFIX = "GFLOW_DAEMON_"
FROM_TEXT: dict[str, Callable[[str], object]] = {
    "host": str,
    "port": _whole,
    "auth": str,
    "tls_cert": str,
    "tls_key": str,
    "allow_plaintext": _switch,
    "allowed_hosts": _list,
    "socket": str,
    "gpus": _gpus,
    "gpu_allocation_strategy": str,
    "gpu_poll_interval_secs": _seconds,
    "idle_gpu_warn_mins": _seconds,
    "max_bypass_secs": _seconds,
    "simulated_gpus": _whole,
    "simulated_gpu_memory_mb": _whole,
    "kill_grace_secs": _seconds,
    "env_drop": _list,
}
"""How the settings of `[daemon]` are written in variables and flags. Nested tables are for the file only."""


def _fields(kind: type[Struct]) -> tuple[str, ...]:
    return kind.__struct_encode_fields__


def _from_file(path: Path, *, must_exist: bool) -> Config:
    try:
        if not must_exist and path.is_fifo():  # only who names one means it; nobody may write to it
            raise ConfigError(f"{path}: it is a pipe")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"{path}: no such configuration file") from None
        return Config()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    config: Config = _convert(table, Config, str(path), "")
    return config


def _convert(table: dict[str, Any], kind: type[Any], source: str, prefix: str) -> Any:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = (f"{prefix}{where.rstrip('`')}").strip(".")
        allowed = ""
        if "unknown field" in what:
            allowed = f"; allowed here: {', '.join(_allowed(kind, where.rstrip('`')))}"
        raise ConfigError(f"{source}: {key + ': ' if key else ''}{what[:1].lower()}{what[1:]}{allowed}") from None


def _allowed(kind: type[Any], where: str) -> tuple[str, ...]:
    for part in (name.partition("[")[0] for name in where.strip(".").split(".")):
        found = {f.name: f.type for f in msgspec.structs.fields(kind)}.get(part)
        nested = [t for t in getattr(found, "__args__", (found,)) if isinstance(t, type) and issubclass(t, Struct)]
        if nested:
            kind = nested[0]
    return _fields(kind)


def _check(config: Config, source: str) -> None:
    daemon = config.daemon
    unfit = next(filter(_unfit_project, config.projects.known_projects), "")
    rules = {
        "executor.type: only 'tmux' is supported; there is no process executor": config.executor.type == "tmux",
        f"daemon.gpu_allocation_strategy: '{daemon.gpu_allocation_strategy}' is unknown; use sequential or random": (
            daemon.gpu_allocation_strategy in ("sequential", "random")
        ),
        f"daemon.gpu_poll_interval_secs: use more than 0, at most {DAY_SECS}": (
            0 < daemon.gpu_poll_interval_secs <= DAY_SECS
        ),
        "daemon.max_bypass_secs: use 0 or more": daemon.max_bypass_secs >= 0,
        "daemon.idle_gpu_warn_mins: use more than 0": (
            daemon.idle_gpu_warn_mins is None or daemon.idle_gpu_warn_mins > 0
        ),
        "daemon.fair_share.half_life_secs: use more than 0": daemon.fair_share.half_life_secs > 0,
        f"daemon.kill_grace_secs: use 0 to {DAY_SECS}": 0 <= daemon.kill_grace_secs <= DAY_SECS,
        "daemon.simulated_gpus: use 0 to 64": 0 <= daemon.simulated_gpus <= 64,
        "daemon.simulated_gpu_memory_mb: use 1 or more": daemon.simulated_gpu_memory_mb >= 1,
        "daemon.gpus: indices are 0 or more": all(index >= 0 for index in daemon.gpus or ()),
        "daemon.history_keep.jobs: use 0 or more": daemon.history_keep.jobs >= 0,
        "daemon.history_keep.days: use 0 or more": daemon.history_keep.days >= 0,
        f"daemon.auth: '{daemon.auth}' is unknown; use 'token', or 'none' on addresses of this machine": (
            daemon.auth in (None, "none", "token")
        ),
        f"access.visibility: '{config.access.visibility}' is unknown; use all or own": (
            config.access.visibility in ("all", "own")
        ),
        "access.visibility: it cannot be own with daemon.auth = 'none', which lets in whoever comes under any name": (
            config.access.visibility == "all" or config.auth() != "none"
        ),
        "access.admins and access.admin_groups: use names of users and groups": all(
            name.strip() for name in (*config.access.admins, *config.access.admin_groups)
        ),
        "daemon.allowed_hosts: use names such as gpu.example.com or *.example.com, without a port": (
            all(name and not set(name) & set(":/ ") for name in daemon.allowed_hosts)
        ),
        "daemon.socket: use an absolute path, or one that begins with ~/": (
            not daemon.socket or os.path.isabs(os.path.expanduser(daemon.socket))
        ),
        "daemon.host: use a name or an address": daemon.host is None or bool(daemon.host.strip()),
        "daemon.port: use 1 to 65535": daemon.port is None or 1 <= daemon.port <= 65535,
        f"projects.known_projects: {unfit!r} is no project; use 1 to {MAX_PROJECT} printable characters": not unfit,
        "notifications.max_concurrent_deliveries: must be 1 or more": (
            config.notifications.max_concurrent_deliveries >= 1
        ),
        "notifications.jobs_may_mail: one of the addresses is empty": all(
            map(str.strip, config.notifications.jobs_may_mail)
        ),
    }
    for where, limits in _limits(config.quota):
        for name in _fields(QuotaLimits):
            value = getattr(limits, name)
            if value is not None and not 0 <= value <= MOST_QUOTA:
                raise ConfigError(f"{source}: quota.{where}.{name}: use 0 to {MOST_QUOTA}")
    for rule, holds in rules.items():
        if not holds:
            raise ConfigError(f"{source}: {rule}")
    if config.timezone is not None:
        try:
            named(config.timezone)
        except ValueError as error:
            raise ConfigError(f"{source}: timezone: {error}") from None


def _limits(quota: Quota) -> Iterator[tuple[str, QuotaLimits]]:
    """Every entry of the table, with where it stands."""
    for key in ("users", "projects"):
        yield from ((f"{key}.{name}", limits) for name, limits in getattr(quota, key).items())
    for key in ("default_user", "default_project"):
        if (limits := getattr(quota, key)) is not None:
            yield key, limits


def _unfit_project(code: str) -> bool:
    """Whether no job can be of this project."""
    return len(code) > MAX_PROJECT or not code.isprintable()


def environment() -> Mapping[str, str]:
    """The process's environment, read in this one place."""
    return os.environ
