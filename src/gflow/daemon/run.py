"""The composition root: builds the daemon's parts, starts them in one nursery, and stops them in order.

This is the only module that knows the concrete launcher, probe and server.
"""

import contextlib
import logging
import os
import random
import resource
import secrets
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import trio

from gflow import __version__, clock
from gflow.api.app import create_app
from gflow.api.callers import user_name
from gflow.api.forecast import Forecast
from gflow.api.gauge import Gauge
from gflow.api.listing import Listing
from gflow.api.services import Services
from gflow.api.users import Users, unknown_groups
from gflow.config import DAY_SECS, Config, ConfigError, environment
from gflow.config import Daemon as DaemonConfig
from gflow.core import quotas, tokens
from gflow.core.engine import Engine
from gflow.core.errors import Impossible
from gflow.core.events import Event, EventKind
from gflow.core.gpu_list import format_gpu_list
from gflow.core.model import JobId
from gflow.core.outcome import Outcome
from gflow.core.placement import Shuffle, keep_order
from gflow.core.policy import Policy
from gflow.core.tokens import Tokens
from gflow.daemon.coming_back import come_back
from gflow.daemon.cycles import short_searches
from gflow.daemon.endpoints import ApiServer, SocketInUse, bind_unix
from gflow.daemon.gpus import GpuWatch
from gflow.daemon.handover import CannotReplace, HandedOver, replace, try_out
from gflow.daemon.health import health
from gflow.daemon.historian import Historian
from gflow.daemon.housekeeping import Housekeeping
from gflow.daemon.importing import first_start
from gflow.daemon.limits import NO_CGROUPS, Limits
from gflow.daemon.loopback import CannotListen, allowed_addresses, bind_tcp, is_loopback, own_names, why_inside
from gflow.daemon.memory_watch import MemoryWatch
from gflow.daemon.peer import Stranger
from gflow.daemon.persistence import Persistence
from gflow.daemon.reloading import Differences, differences, in_force
from gflow.daemon.runtime import Runtime
from gflow.daemon.scheduler import Scheduler
from gflow.daemon.signals import HEEDED, Terminal
from gflow.daemon.state_watch import StateWatch
from gflow.daemon.systemd import Given, Manager, adopt
from gflow.daemon.tally import Tally
from gflow.daemon.timeouts import TimeoutEnforcer
from gflow.daemon.tls import UnusableCertificate, names_of, server_context
from gflow.daemon.watcher import Watcher
from gflow.daemon.webhooks import WebhookPool
from gflow.gpu.base import Probe
from gflow.gpu.nvml import Nvml
from gflow.gpu.simulated import Simulated
from gflow.launch.adopted import Adopted, session_of
from gflow.launch.base import Launcher
from gflow.launch.cpu_sets import usable_cpus
from gflow.launch.processes import read_stat
from gflow.launch.routing import Launchers
from gflow.launch.script import render_environment
from gflow.launch.tmux import Tmux, session_name
from gflow.launch.tmux_server import TmuxUnusable
from gflow.notify.base import Target
from gflow.notify.outbox import Outbox, OutboxDamaged, OutboxError
from gflow.notify.payloads import payload
from gflow.store.disk import private_directory
from gflow.store.errors import Unreadable
from gflow.store.history import KEPT, History
from gflow.store.load import Loaded
from gflow.store.lock import DataLock, Held
from gflow.store.recovery.opening import Recovery, open_state
from gflow.store.snapshot import KEPT_EVENTS, SnapshotState
from gflow.store.spool import Spool
from gflow.users.launcher import PerUser
from gflow.users.places import Places, UnsafePlace, open_directory
from gflow.users.submitters import Submitters

log = logging.getLogger(__name__)

LAUNCH_SECS = 5.0
"""What launches under way get at shutdown, so that their outcome is recorded."""

DRAIN_SECS = 5.0
"""What deliveries get at shutdown; the rest goes out after the next start."""


class Service(Protocol):
    """A task of the daemon: serves until cancelled, `started()` once it is usable."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a daemon lives, its configuration, how to read that anew (raises ConfigError), and what systemd gave it.

    system: it is root's, and serves all users of the machine.
    """

    config: Config
    data_dir: Path
    socket: Path
    reread: Callable[[], Config] | None = None
    given: Given = field(default_factory=Given)
    system: bool = False

    @property
    def places(self) -> Places | None:
        """Where the files of users are, if there are several."""
        return Places.beside(self.data_dir, self.socket) if self.system else None

    @property
    def logs(self) -> Path:
        """Where the output of jobs goes."""
        return self.places.logs if self.places is not None else self.data_dir / "logs"

    handed_over: HandedOver | None = None


class CannotStart(Exception):
    """There cannot be a daemon here; the message is one line that says why."""


def check(config: Config, *, system: bool = False) -> None:
    """Raise CannotStart for what is right by itself and would keep a daemon from starting.

    As a variable for a target that is not set, a certificate that cannot be read, an address that may not be served.
    """
    _targets(config, lambda job_id: Path(str(job_id)))
    tls_context(config)
    if system:
        _check_auth(config)
    tcp = config.tcp()
    if tcp is not None:
        try:
            allowed_addresses(*tcp, inside=_inside(config))
        except CannotListen as error:
            raise CannotStart(str(error)) from error


def _inside(config: Config) -> str | None:
    """Why none but loopback addresses may be served, None if all may."""
    return why_inside(
        anybody=config.auth() == "none", tls=config.tls() is not None, plaintext=config.daemon.allow_plaintext
    )


def _check_auth(config: Config) -> None:
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


def serve(settings: Settings) -> None:
    """Run a daemon until SIGTERM, SIGINT, or its terminal is gone. Raises CannotStart."""
    try:
        _serve(settings)
    except (Held, SocketInUse, CannotListen, TmuxUnusable, Unreadable, UnsafePlace) as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        what = f"{error.filename}: " if error.filename is not None else ""
        raise CannotStart(f"{what}{error.strerror or error}") from error


def _serve(settings: Settings) -> None:
    os.umask(0o077)
    if settings.system:
        _check_system(settings)
    else:
        private_directory(settings.socket.parent)
    handed = settings.handed_over
    if handed is None and (sock := adopt(settings.given, settings.socket)) is not None:
        handed = HandedOver(sock, of_systemd=True)
    daemon = _serve_locked(settings, handed)
    if daemon.replacement is not None:
        of_systemd = handed is not None and handed.of_systemd
        replace(daemon.replacement, settings.config.tcp(), of_systemd, settings.given)


def _serve_locked(settings: Settings, handed: HandedOver | None) -> "_Daemon":
    """Daemons one after the other, the last of which is returned when it has left."""
    with DataLock(settings.data_dir, socket=str(settings.socket), started=clock.read().wall):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        terminal, heard = Terminal(), list[int]()
        again = True
        while again and not any(map(terminal.asks_to_stop, heard)):
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            daemon = _Daemon(settings, terminal, heard, handed)
            _raise_descriptor_limit()  # after the launcher has noted the limit that jobs are to have
            for number in HEEDED:  # between two daemons, too, one is heard
                signal.signal(number, lambda number, _: heard.append(number))
            again = _run(daemon)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    return daemon


def _check_system(settings: Settings) -> None:
    """What one daemon for all users needs. Raises CannotStart, UnsafePlace."""
    if os.geteuid() != 0:
        raise CannotStart(
            "--system is for root: it runs every job as its submitter; leave it out for a daemon of your own"
        )
    _check_auth(settings.config)
    open_directory(settings.socket.parent, 0o755)
    assert settings.places is not None
    private_directory(settings.data_dir)
    settings.places.prepare()


def _run(daemon: "_Daemon") -> bool:
    """Whether another daemon is to take over in this process: in a recovery, once the state can be read again."""
    try:
        with short_searches():
            return trio.run(daemon.run, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise _first_cause(group) from group


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What one service fell over; a nursery wraps even a single error."""
    first = group.exceptions[0]
    return _first_cause(first) if isinstance(first, BaseExceptionGroup) else first


def _raise_descriptor_limit() -> None:
    """Each running job costs two descriptors; the usual soft limit of 1024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Started:
    """A service that runs, and can be stopped by itself."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the service until it ends or is stopped."""
        try:
            with self._scope:
                await self._service.run(task_status=task_status)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Cancel the service and wait until it has ended."""
        self._scope.cancel()
        await self._ended.wait()


class _Daemon:
    """The parts of one daemon."""

    def __init__(
        self, settings: Settings, terminal: Terminal, heard: Sequence[int] = (), handed: HandedOver | None = None
    ) -> None:
        """`heard`: signals that came between the daemon before, if there was one, and this one."""
        self._settings = settings
        self._handed = handed
        self._terminal = terminal
        self._heard = heard
        self._leave = trio.Event()
        self._again = False
        self.replacement: list[socket.socket] | None = None
        """The listening sockets, if another program is to take this one's place."""
        if not settings.system:  # an older gflow had no such mode, and left nothing there
            first_start(settings.data_dir)
        way_out = None if settings.system else come_back(settings.data_dir)
        targets = _targets(settings.config, self._log_path)
        outbox = Outbox(settings.data_dir)
        opened = open_state(
            settings.data_dir, clock.read().wall, told=_told(outbox) if targets else None, way_out=way_out
        )
        self._loaded = opened.loaded
        self._recovery = opened.recovery
        self._boot_id = clock.boot_id()
        for warning in self._loaded.warnings:
            log.warning("%s", warning)
        self._spool = Spool(settings.data_dir / "spool")
        self._history = History(settings.data_dir)
        self._turn = trio.Lock()
        self._runtime = self._make_runtime(self._loaded)
        self._limits = Limits(settings.data_dir, NO_CGROUPS if settings.system else None)
        self._launcher = self._make_launcher()
        self._memory = MemoryWatch(self._runtime, self._launcher)
        self._watcher = Watcher(
            self._runtime, self._launcher, self._log_path, recovering=self.recovering, watching=self._memory.watching
        )
        self._gpus = self._make_gpu_watch()
        self._manager = Manager(settings.given, self._runtime.schedule_wake, lambda: self._runtime.engine.counts)
        self._tally = Tally()
        self._outbox = outbox
        self._pool = self._make_pool(targets, self._loaded.events, self._loaded.next_event_id)
        self._persistence = Persistence(
            settings.data_dir,
            self._loaded,
            self._snapshot_state,
            self._runtime.on_durable,
            mark=opened.mark,
            recovery=opened.recovery,
        )
        self._runtime.connect(self._persistence, self._watcher.perform, self._tell)
        if self._loaded.boot_id != self._boot_id:
            self._runtime.commit(self._runtime.engine.machine_restarted(clock.read()), self._boot_id)
        self._log_start()
        self._history_trouble = self._look_at_history()
        self._config = settings.config
        self._one_reload = trio.Lock()
        self._started: dict[str, _Started] = {}
        self._nursery: trio.Nursery
        self._services: Services
        self._server: ApiServer
        self._historian = self._make_historian()

    @property
    def recovering(self) -> bool:
        """Whether the state could not be read: then nothing may be removed that jobs we do not know of may need."""
        return self._recovery is not None

    def _make_launcher(self) -> Launcher:
        settings, spool = self._settings, self._spool
        if settings.places is not None:
            return PerUser(
                settings.places,
                clock.read,
                lambda digest: spool.path("env", digest).read_bytes(),
                lambda digest: spool.path("script", digest).read_bytes(),
                own_units=settings.given.unit,
            )
        tmux = Tmux(
            settings.data_dir,
            settings.socket.parent,
            clock.read,
            lambda digest: spool.path("env", digest),
            lambda digest: spool.path("script", digest),
            cgroups=self._limits.of,
            own_unit=settings.given.unit,
        )
        return Launchers(tmux, Adopted(settings.data_dir / "logs", clock.read))

    def _make_runtime(self, loaded: Loaded) -> Runtime:
        daemon = self._settings.config.daemon
        engine = Engine(
            grace_secs=daemon.kill_grace_secs, shuffle=_shuffle(daemon), policy=_policy(self._settings.config)
        )
        engine.set_machine((), _memory_total_mb(), len(usable_cpus()))  # the watch tells of GPUs before any pass
        engine.restore(loaded.jobs.values(), loaded.groups.values(), loaded.next_job_id, clock.read(), loaded.settings)
        return Runtime(
            engine,
            clock.read,
            _run_ids(),
            next_seq=loaded.seq + 1,
            next_event_id=loaded.next_event_id,
            past_events=list(loaded.events),
            settings=loaded.settings,
        )

    def _make_gpu_watch(self) -> GpuWatch:
        daemon = self._settings.config.daemon
        simulated = daemon.simulated_gpus > 0
        probe: Probe = Simulated(daemon.simulated_gpus, daemon.simulated_gpu_memory_mb) if simulated else Nvml()
        return GpuWatch(
            self._runtime,
            probe,
            self._launcher.owners,
            interval_secs=daemon.gpu_poll_interval_secs,
            allowed=daemon.gpus,
        )

    def _tell(self, number: int, event: Event) -> None:
        if event.job is not None and log.isEnabledFor(logging.DEBUG):
            log.debug("Job %d: %s", event.job.id, event.kind.value.removeprefix("job_"))
        self._tally.count(event)
        self._pool.offer(number, event)

    def _make_pool(
        self, targets: Sequence[Target], past: Sequence[tuple[int, Event]], next_event_id: int, most: int | None = None
    ) -> WebhookPool:
        return WebhookPool(
            targets,
            most or self._settings.config.notifications.max_concurrent_deliveries,
            self._outbox,
            payload=self._payload,
            test_payload=self._test_payload,
            past=tuple(past),
            next_event_id=next_event_id,
            wall=lambda: clock.read().wall,
            launching=lambda: self._watcher.launching > 0,
        )

    def _payload(self, event: Event) -> Mapping[str, Any]:
        group_id = event.job.spec.group_id if event.job is not None else None
        group = self._runtime.engine.groups.get(group_id) if group_id is not None else None
        limit = group.max_concurrent if group is not None else None
        return payload(event, host=socket.gethostname(), version=__version__, max_concurrent=limit)

    @staticmethod
    def _test_payload() -> Mapping[str, Any]:
        host = socket.gethostname()
        now = datetime.fromtimestamp(clock.read().wall, UTC)
        return {
            "event": "test",
            "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "text": f"A test of the notifications of gflow on {host}",
            "scheduler": {"host": host, "version": __version__},
        }

    def _snapshot_state(self) -> SnapshotState:
        engine = self._runtime.engine
        return SnapshotState(
            jobs=tuple(engine.jobs.values()),
            groups=tuple(engine.groups.values()),
            settings=dict(self._runtime.settings),
            events=self._kept_events(),
            next_job_id=engine.next_job_id,
            next_event_id=self._runtime.next_event_id,
            boot_id=self._boot_id,
        )

    def _kept_events(self) -> tuple[tuple[int, Event], ...]:
        """The latest, and before those all that the outbox has not got: the log has them no more after a snapshot."""
        latest = self._runtime.latest_events(KEPT_EVENTS)
        first = latest[0][0] if latest else self._runtime.next_event_id
        return (*(pair for pair in self._pool.untold() if pair[0] < first), *latest)

    def _log_start(self) -> None:
        counts = self._runtime.engine.counts
        log.info("gflowd %s, pid %d, data in %s", __version__, os.getpid(), self._settings.data_dir)
        known = ", ".join(f"{state.value} {count}" for state, count in counts.items() if count)
        log.info("%s", f"{sum(counts.values())} jobs known: {known}" if known else "no jobs known")
        for note in self._settings.config.unserved():
            log.warning("configured, but not acted on by this version: %s", note)
        for group in unknown_groups(self._settings.config.access.admin_groups):
            log.warning("access.admin_groups: this machine has no group %s", group)

    def _warn_of_missing_gpus(self) -> None:
        there = self._runtime.engine.resources.gpus
        missing = set(self._settings.config.daemon.gpus or ()) - there.keys()
        if missing and self._gpus.trouble is None:  # else nothing is known of any
            has = f"it has {format_gpu_list(there)} of those" if there else "it has none of those"
            log.warning("daemon.gpus names GPUs that this machine does not have: %s; %s", format_gpu_list(missing), has)

    def _look_at_history(self) -> str | None:
        """What is wrong with the history, in a line."""
        trouble = self._history.shortfall(self._runtime.settings.get(KEPT, 0))
        if trouble is not None:
            log.warning("%s", trouble)
        return trouble

    def _make_historian(self) -> Historian:
        keep = self._settings.config.daemon.history_keep
        return Historian(
            self._runtime, self._history, keep_jobs=keep.jobs, keep_secs=keep.days * DAY_SECS, turn=self._turn
        )

    # -- life ------------------------------------------------------------------------------------------------------

    async def run(self) -> bool:
        """Start every service, serve until a signal, stop in order.

        Returns whether another daemon is to go on in this process, with a state that can be read again.
        """
        tls = tls_context(self._settings.config)
        self._listeners = listeners = self._listen()
        self._services = self._make_services()
        stranger = _stranger(self._settings.config, tls, outside=any(map(_is_seen_outside, listeners)))
        self._server = server = ApiServer(create_app(self._services), listeners, stranger=stranger, tls=tls)
        try:
            with trio.open_signal_receiver(*HEEDED) as signals:
                async with trio.open_nursery() as nursery:
                    await self._start_and_serve(nursery, server, signals)
        finally:
            if not self._runtime.stopping:
                self._unlink_socket()
            for listener in listeners:
                listener.close()
            self._manager.close()
        return self._again

    def _listen(self) -> list[socket.socket]:
        """The Unix socket comes last: where it is, the daemon is about to answer."""
        config = self._settings.config
        tcp = config.tcp()
        handed = self._handed
        if handed is not None and handed.tcp == tcp:
            listeners = [sock.dup() for sock in handed.tcp_sockets]
        else:
            if handed is not None:
                handed.close()
            listeners = [] if tcp is None else bind_tcp(*tcp, inside=_inside(config))
        try:
            return [*listeners, handed.unix.dup() if handed is not None else self._bind()]
        except BaseException:
            for listener in listeners:
                listener.close()
            raise

    def _bind(self) -> socket.socket:
        return bind_unix(self._settings.socket, 0o666 if self._settings.system else 0o600)

    def _unlink_socket(self) -> None:
        """A socket of systemd's, or one that is handed on, stays: whoever calls next is answered by the next daemon."""
        if self.replacement is None and not (self._handed is not None and self._handed.of_systemd):
            self._settings.socket.unlink(missing_ok=True)

    def _log_endpoints(self, server: ApiServer) -> None:
        log.info("listening on %s", self._settings.socket)
        config = self._settings.config
        tcp = config.tcp()
        if tcp is None:
            return
        url = _url(*tcp, secure=config.tls() is not None)
        whom = "" if config.auth() == "none" else ", for whoever has a token (gctl token create)"
        log.info("listening on %s%s", url, whom)
        if config.auth() == "none":
            log.warning(
                'on %s there is no authentication (daemon.auth = "none"): every user of this machine can run'
                " programs as %s there, and act on every job, reservation and quota under any name",
                url,
                user_name(os.geteuid()),
            )
        elif server.stranger.outside and config.tls() is None:
            log.warning(
                "on %s there is no TLS (daemon.allow_plaintext = true): whoever is on the way to a client can read its"
                " token, its jobs and their environments, and act under that token",
                url,
            )

    async def _start_and_serve(self, nursery: trio.Nursery, server: ApiServer, signals: Any) -> None:
        self._nursery, start = nursery, self._start
        await start("persistence", self._persistence)
        await start("webhooks", self._pool)
        await start("launcher", self._launcher)
        await start("watcher", self._watcher)
        await start("memory", self._memory)
        await start("gpus", self._gpus)
        await start("scheduler", Scheduler(self._runtime, self._manager.beat))
        await start("timeouts", TimeoutEnforcer(self._runtime))
        if self._recovery is not None:
            await start("state watch", self._state_watch(self._recovery))
        else:
            await start("housekeeping", Housekeeping(self._runtime, self._spool))
            await start("historian", self._historian)
        self._tell_online()
        await start("api", server)
        self._warn_of_missing_gpus()
        self._log_endpoints(server)
        await start("manager", self._manager)
        self._manager.tell("READY=1")
        nursery.start_soon(self._wait_for_signals, signals)
        await self._leave.wait()
        if self.replacement is not None:
            log.info("another program takes this one's place; running jobs go on")
        else:
            log.info("%s; running jobs go on", "starting anew" if self._again else "stopping")
        if not self._again and self.replacement is None:
            self._manager.tell("STOPPING=1")
        await self._stop(server)
        if self._again and not self._persistence.clean:
            raise CannotStart("the disk does not answer, so the state cannot be taken up; start gflowd again")
        nursery.cancel_scope.cancel()

    async def _start(self, name: str, service: Service) -> None:
        self._started[name] = _Started(service)
        await self._nursery.start(self._started[name].run)

    def _tell_online(self) -> None:
        """An event by itself: no state changes by it, but it is kept, numbered and told as all are."""
        online = Outcome()
        online.tell(EventKind.SCHEDULER_ONLINE, None, clock.read().wall, {"version": __version__})
        self._runtime.commit(online)

    async def _wait_for_signals(self, signals: Any) -> None:
        for number in self._heard:
            self._heed(number)
        async for number in signals:
            self._heed(number)

    def _heed(self, number: int) -> None:
        """Go by the configuration as it is now, or leave. Further signals must not kill us half-way out, which trio
        would do with those not taken."""
        if not self._terminal.asks_to_stop(number):
            self._nursery.start_soon(self._reload_by_signal)
            return
        self._again = False
        self.replacement = None
        self._leave.set()
        for heeded in HEEDED:
            signal.signal(heeded, lambda *_: None)  # not SIG_IGN: programs started from here would inherit that

    async def _reload_by_signal(self) -> None:
        if self._leave.is_set():
            return
        with contextlib.suppress(Impossible):  # the log has it
            if not any(await self.reload()):
                log.info("configuration: nothing has changed")

    def _state_watch(self, recovery: Recovery) -> StateWatch:
        def take_up() -> None:
            self._again = not self._leave.is_set()
            self._leave.set()

        return StateWatch(self._settings.data_dir, recovery, take_up, lambda: self._persistence.healthy)

    async def _stop(self, server: ApiServer) -> None:
        """Close the inputs, stop deciding, let deliveries end, write what is left, leave. Jobs live on."""
        started = self._started
        self._runtime.stopping = self.replacement is None  # else nobody is refused: what has come in is still done
        self._unlink_socket()  # while it is surely ours
        self._runtime.bus.close()
        await server.close()
        self._runtime.stopping = True
        for name in ("manager", "state watch", "scheduler", "timeouts", "memory", "gpus", "housekeeping", "historian"):
            if name in started:
                await started[name].stop()
        with trio.move_on_after(LAUNCH_SECS):
            await started["watcher"].stop()
        self._pool.drain()
        with trio.move_on_after(DRAIN_SECS):
            await self._pool.drained.wait()
        await started["webhooks"].stop()  # what is left is in the outbox
        await self._persistence.close()
        await started["launcher"].stop()
        await self._launcher.close()
        self._history.close()

    # -- other settings ----------------------------------------------------------------------------------------------

    async def reload(self) -> Differences:
        """Read the configuration anew and go by it; what changed. Raises Impossible, and then nothing has changed."""
        reread = self._settings.reread
        if reread is None:
            raise Impossible("This daemon was started without a configuration that could be read again")
        async with self._one_reload:
            self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                found = await self._found(reread)
                changed = differences(self._config, found)
                await self._go_by(in_force(self._config, found))
            except (ConfigError, CannotStart) as error:
                log.error("the configuration stays as it is: %s", error)
                raise Impossible(f"{error}; the configuration stays as it is") from error
            finally:
                self._manager.tell("READY=1")
        for line in changed.applied:
            log.info("configuration: %s", line)
        for line in changed.later:
            log.warning("configuration, with the next start: %s", line)
        return changed

    async def replace(self) -> None:
        """Leave, and let the program that is installed now go on in this process. Raises Impossible, and goes on."""
        reread = self._settings.reread
        if reread is None:
            raise Impossible("This daemon is part of another program, and has no program of its own to be replaced by")
        try:
            await self._found(reread)
            await trio.to_thread.run_sync(try_out)
        except (ConfigError, CannotStart, CannotReplace) as error:
            raise Impossible(f"{error}; this program goes on") from error
        self._runtime.check_open()
        if self.replacement is None:
            self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self.replacement = [listener.dup() for listener in self._listeners]
            self._leave.set()

    async def _found(self, reread: Callable[[], Config]) -> Config:
        """The configuration as it is now. Raises ConfigError, and CannotStart if a daemon would not start with it."""
        found = await trio.to_thread.run_sync(reread)
        await trio.to_thread.run_sync(partial(check, found, system=self._settings.system))
        return found

    async def _go_by(self, config: Config) -> None:
        told_otherwise = config.notifications != self._config.notifications
        targets = _targets(config, self._log_path) if told_otherwise else []
        tls = tls_context(config)  # the files may be new
        self._config, daemon = config, config.daemon
        runtime, services = self._runtime, self._services
        runtime.engine.configure(_policy(config), daemon.kill_grace_secs, _shuffle(daemon), clock.read())
        self._gpus.configure(interval_secs=daemon.gpu_poll_interval_secs)
        self._historian.configure(keep_jobs=daemon.history_keep.jobs, keep_secs=daemon.history_keep.days * DAY_SECS)
        services.env_drop = tuple(daemon.env_drop)
        self._server.tls = tls
        self._server.stranger = _stranger(config, tls, outside=self._server.stranger.outside)
        services.known_environments.clear()
        services.users.configure(config.access.admins, config.access.admin_groups)
        services.own_only = config.access.visibility == "own"
        services.status |= {"gpu_allocation_strategy": daemon.gpu_allocation_strategy, "timezone": config.timezone}
        runtime.schedule_wake.set()
        if told_otherwise:
            await self._tell_others(targets, config.notifications.max_concurrent_deliveries)

    async def _tell_others(self, targets: Sequence[Target], most: int) -> None:
        """Another pool takes over: what the one before has not delivered is in the outbox, or is kept for it."""
        await self._started["webhooks"].stop()
        self._pool = self._make_pool(targets, self._kept_events(), self._runtime.bus.last_id + 1, most)
        self._services.notifications = self._pool
        await self._start("webhooks", self._pool)

    # -- for the API -----------------------------------------------------------------------------------------------

    def _make_services(self) -> Services:
        config = self._settings.config
        daemon = config.daemon
        return Services(
            runtime=self._runtime,
            listing=Listing(self._runtime.engine, self._history),
            launcher=self._launcher,
            spool=self._spool,
            logs_dir=self._settings.logs,
            env_drop=tuple(daemon.env_drop),
            status={
                "version": __version__,
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "boot_id": self._boot_id,
                "started_at": clock.read().wall,
                "executor": "tmux",
                "endpoint": f"unix:{self._settings.socket}",
                "tcp": None if (tcp := config.tcp()) is None else _url(*tcp, secure=config.tls() is not None),
                "auth": None if tcp is None else config.auth(),
                "data_dir": str(self._settings.data_dir),
                "gpu_allocation_strategy": daemon.gpu_allocation_strategy,
                "timezone": config.timezone,
            },
            limits=lambda: self._limits.told,
            health=self._health,
            gpu_trouble=lambda: self._gpus.trouble,
            render_environment=render_environment,
            session=self._session,
            compact=self._persistence.compact,
            recovering=self.recovering,
            turn=self._turn,
            forecast=Forecast(self._runtime),
            gauge=Gauge(self._runtime, self._log_path, self._launcher.report),
            configured_gpus=daemon.gpus,
            look_at_gpus=self._gpus.look,
            start_ticks=_start_ticks,
            reload=self.reload,
            replace=self.replace,
            notifications=self._pool,
            tally=self._tally,
            submitters=Submitters() if self._settings.system else None,
            users=Users(config.access.admins, config.access.admin_groups),
            tokens=Tokens(self._runtime.settings.get(tokens.SETTING)),
            auth=config.auth(),
            own_only=config.access.visibility == "own",
        )

    def _log_path(self, job_id: JobId) -> Path:
        return self._settings.logs / f"{job_id}.log"

    def _session(self, job_id: JobId) -> str:
        job = self._runtime.engine.jobs.get(job_id)
        return (session_of(job) if job is not None else None) or session_name(job_id)

    def _health(self) -> tuple[dict[str, Any], bool]:
        body, well = health(os.getpid(), self._settings.data_dir, self._recovery, self._persistence.last_error)
        return (body if self._history_trouble is None else {"detail": self._history_trouble, **body}), well


def _shuffle(daemon: DaemonConfig) -> Shuffle:
    """The order in which GPUs are chosen."""
    return keep_order if daemon.gpu_allocation_strategy == "sequential" else random.SystemRandom().shuffle


def _targets(config: Config, log_path: Callable[[JobId], Path]) -> list[Target]:
    """Who is told of events. Raises CannotStart."""
    if not config.notifications.enabled:
        return []
    from gflow.notify import make  # and with it an HTTP client, which takes its time

    try:
        return make.targets(config.notifications, environment(), log_path=lambda job_id: log_path(JobId(job_id)))
    except ValueError as error:
        raise CannotStart(str(error)) from error


def _told(outbox: Outbox) -> int | None:
    """The last event that need not be kept for the outbox; None: no event needs to be."""
    try:
        return outbox.taken()
    except OutboxDamaged:
        return None
    except OutboxError:
        return 0  # it may be readable soon


def _policy(config: Config) -> Policy:
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


def _stranger(config: Config, tls: ssl.SSLContext | None, *, outside: bool) -> Stranger:
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


def _url(host: str, port: int, *, secure: bool) -> str:
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_seen_outside(listener: socket.socket) -> bool:
    return listener.family != socket.AF_UNIX and not is_loopback(listener.getsockname()[0])


def _run_ids() -> Iterator[str]:
    """Names for launches that nobody can guess or meet twice."""
    while True:
        yield secrets.token_hex(8)


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none."""
    stat = read_stat(pid)
    return None if stat is None else stat.process.start_ticks


def _memory_total_mb() -> int | None:
    """Memory of this machine in MiB (sysconf), None if it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    except (ValueError, OSError):
        return None
