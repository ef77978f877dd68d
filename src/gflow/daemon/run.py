"""The composition root: builds the daemon's parts, starts them in one nursery, and stops them in order.

This is the only module that knows the concrete launcher, probe and server.
"""

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import trio

from gflow import __version__, clock
from gflow.api.app import create_app
from gflow.api.forecast import Forecast
from gflow.api.gauge import Gauge
from gflow.api.listing import Listing
from gflow.api.services import Services
from gflow.api.users import Users, unknown_groups
from gflow.config import DAY_SECS
from gflow.core import tokens
from gflow.core.engine import Engine
from gflow.core.errors import Impossible
from gflow.core.events import Event, EventKind
from gflow.core.gpu_list import format_gpu_list
from gflow.core.model import JobId
from gflow.core.outcome import Outcome
from gflow.core.tokens import Tokens
from gflow.daemon import configured
from gflow.daemon.coming_back import come_back
from gflow.daemon.configured import CannotStart, Prepared
from gflow.daemon.endpoints import ApiServer
from gflow.daemon.going_down import GoingDown, Left, machine_stops, note_left, noted
from gflow.daemon.gpus import GpuWatch
from gflow.daemon.handover import HandedOver
from gflow.daemon.health import health
from gflow.daemon.historian import Historian
from gflow.daemon.housekeeping import Housekeeping
from gflow.daemon.importing import first_start
from gflow.daemon.in_force import InForce
from gflow.daemon.last_seen import LastSeen
from gflow.daemon.leaving import Leaving
from gflow.daemon.limits import Limits
from gflow.daemon.listening import Listening
from gflow.daemon.memory_watch import MemoryWatch
from gflow.daemon.persistence import Persistence
from gflow.daemon.reloading import Differences
from gflow.daemon.runtime import Runtime
from gflow.daemon.scheduler import Scheduler
from gflow.daemon.service import Service, Started
from gflow.daemon.settings import Settings
from gflow.daemon.signals import HEEDED, Terminal
from gflow.daemon.state_watch import StateWatch
from gflow.daemon.systemd import Manager
from gflow.daemon.tally import Tally
from gflow.daemon.telling import Telling, told
from gflow.daemon.timeouts import TimeoutEnforcer
from gflow.daemon.watcher import Watcher
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
from gflow.notify.base import Target
from gflow.notify.outbox import Outbox
from gflow.store.history import KEPT, History
from gflow.store.load import Loaded
from gflow.store.recovery.opening import Recovery, open_state
from gflow.store.snapshot import KEPT_EVENTS, SnapshotState
from gflow.store.spool import Spool
from gflow.users.confining import Confining
from gflow.users.launcher import PerUser
from gflow.users.submitters import Submitters

log = logging.getLogger(__name__)

LAUNCH_SECS = 5.0
"""What launches under way get at shutdown, so that their outcome is recorded."""

DRAIN_SECS = 5.0
"""What deliveries get at shutdown; the rest goes out after the next start."""


class Daemon:
    """The parts of one daemon."""

    def __init__(
        self, settings: Settings, terminal: Terminal, heard: Sequence[int] = (), handed: HandedOver | None = None
    ) -> None:
        """`heard`: signals that came between the daemon before, if there was one, and this one."""
        self._settings = settings
        self.leaving = Leaving(terminal, heard, self._reload_by_signal)
        self._listening = Listening(settings, handed)
        if not settings.system:  # an older gflow had no such mode, and left nothing there
            first_start(settings.data_dir)
        way_out = None if settings.system else come_back(settings.data_dir)
        targets = configured.targets(settings.config, self._log_path)
        outbox = Outbox(settings.data_dir)
        kept = told(outbox) if targets else None
        opened = open_state(settings.data_dir, clock.read().wall, told=kept, way_out=way_out)
        self._loaded = opened.loaded
        self._recovery = opened.recovery
        self._boot_id = clock.boot_id()
        for warning in self._loaded.warnings:
            log.warning("%s", warning)
        self._spool = Spool(settings.data_dir / "spool")
        self._history = History(settings.data_dir)
        self._turn = trio.Lock()
        self._runtime = self._make_runtime(self._loaded)
        self._limits = Limits(settings.data_dir)
        self._launcher = self._make_launcher()
        self._memory = MemoryWatch(self._runtime, self._launcher)
        left = noted(settings.data_dir)
        self._watcher = Watcher(
            self._runtime,
            self._launcher,
            self._log_path,
            recovering=self.recovering,
            watching=self._memory.watching,
            going_down=GoingDown(left if left is not None and left.boot_id != self._boot_id else None),
            last_seen=LastSeen(settings.data_dir),
        )
        self._gpus = self._make_gpu_watch()
        self._manager = Manager(settings.given, self._runtime.schedule_wake, lambda: self._runtime.engine.counts)
        self._tally = Tally()
        self._telling = Telling(self._runtime, outbox, lambda: self._watcher.launching > 0)
        most = settings.config.notifications.max_concurrent_deliveries
        self._pool = self._telling.pool(targets, most, self._loaded.events, self._loaded.next_event_id)
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
        self._in_force = InForce(settings, self._log_path, self._manager.tell)
        self._started: dict[str, Started] = {}
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
                Confining(settings.data_dir, self._limits.of, own_unit=settings.given.unit),
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
            grace_secs=daemon.kill_grace_secs,
            shuffle=configured.shuffle(daemon),
            policy=configured.policy(self._settings.config),
        )
        engine.kept.size_of = self._spool.size
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
        tls, listening = configured.tls_context(self._settings.config), self._listening
        listening.open()
        self._services = self._make_services()
        self._server = server = ApiServer(
            create_app(self._services),
            listening.sockets,
            stranger=configured.stranger(self._settings.config, tls, outside=listening.seen_outside),
            tls=tls,
            connections=listening.connections(),
        )
        try:
            with trio.open_signal_receiver(*HEEDED) as signals:
                async with trio.open_nursery() as nursery:
                    await self._start_and_serve(nursery, server, signals)
        finally:
            if not self._runtime.stopping and self.leaving.replacement is None:
                listening.unlink()
            listening.close()
            self._manager.close()
        return self.leaving.again

    async def _start_and_serve(self, nursery: trio.Nursery, server: ApiServer, signals: Any) -> None:
        self._nursery, start = nursery, self._start
        await start("persistence", self._persistence)
        await start("webhooks", self._pool)
        await start("launcher", self._launcher)
        await start("watcher", self._watcher)
        await start("memory", self._memory)
        await start("gpus", self._gpus)
        await start("scheduler", Scheduler(self._runtime, self._manager.beat))
        await start("timeouts", TimeoutEnforcer(self._runtime, self._launcher.is_over))
        if self._recovery is not None:
            await start("state watch", self._state_watch(self._recovery))
        else:
            await start("housekeeping", Housekeeping(self._runtime, self._spool))
            await start("historian", self._historian)
        self._tell_online()
        await start("api", server)
        self._warn_of_missing_gpus()
        self._listening.tell(outside=server.stranger.outside)
        await start("manager", self._manager)
        self._manager.tell("READY=1")
        nursery.start_soon(self.leaving.heed, signals, nursery)
        await self.leaving.asked.wait()
        self.leaving.say()
        if self.leaving.for_good:
            self._manager.tell("STOPPING=1")
        await self._stop(server)
        if self.leaving.again and not self._persistence.clean:
            raise CannotStart("the disk does not answer, so the state cannot be taken up; start gflowd again")
        nursery.cancel_scope.cancel()

    async def _start(self, name: str, service: Service) -> None:
        self._started[name] = Started(service)
        await self._nursery.start(self._started[name].run)

    def _tell_online(self) -> None:
        """An event by itself: no state changes by it, but it is kept, numbered and told as all are."""
        online = Outcome()
        online.tell(EventKind.SCHEDULER_ONLINE, None, clock.read().wall, {"version": __version__})
        self._runtime.commit(online)

    async def _reload_by_signal(self) -> None:
        if self.leaving.asked.is_set():
            return
        with contextlib.suppress(Impossible):  # the log has it
            if not any(await self.reload()):
                log.info("configuration: nothing has changed")

    def _state_watch(self, recovery: Recovery) -> StateWatch:
        take_up = self.leaving.for_another_daemon
        return StateWatch(self._settings.data_dir, recovery, take_up, lambda: self._persistence.healthy)

    async def _stop(self, server: ApiServer) -> None:
        """Close the inputs, stop deciding, let deliveries end, write what is left, leave. Jobs live on."""
        started, replacement, left_at = self._started, self.leaving.replacement, clock.read().wall
        self._runtime.stopping = replacement is None  # else nobody is refused: what has come in is still done
        if replacement is None:
            self._listening.unlink()  # while it is surely ours
        self._runtime.bus.close()
        if replacement is None:
            await server.close()
        else:
            replacement.connections.extend(await server.hand_over())
        self._runtime.stopping = True
        for name in ("manager", "state watch", "scheduler", "timeouts", "memory", "gpus", "housekeeping", "historian"):
            if name in started:
                await started[name].stop()
        with trio.move_on_after(LAUNCH_SECS):
            await started["watcher"].stop()
        if self.leaving.for_good:
            await trio.to_thread.run_sync(self._note_leave, left_at)
        self._pool.drain()
        with trio.move_on_after(DRAIN_SECS):
            await self._pool.drained.wait()
        await started["webhooks"].stop()  # what is left is in the outbox
        await self._persistence.close()
        await started["launcher"].stop()
        await self._launcher.close()
        self._history.close()

    def _note_leave(self, at: float) -> None:
        note_left(self._settings.data_dir, Left(at, self._boot_id, machine_stops()))

    # -- other settings ----------------------------------------------------------------------------------------------

    async def reload(self) -> Differences:
        """Read the configuration anew and go by it; what changed. Raises Impossible, and then nothing has changed."""
        return await self._in_force.reload(self._go_by)

    async def replace(self) -> None:
        """Leave, and let the program that is installed now go on in this process. Raises Impossible, and goes on."""
        await self._in_force.check_next()
        self._runtime.check_open()
        if self.leaving.replacement is None:
            self._in_force.tell_reloading()
            self.leaving.for_another_program(self._listening.handed_on())

    async def _go_by(self, new: Prepared) -> None:
        config, daemon = new.config, new.config.daemon
        runtime, services, server = self._runtime, self._services, self._server
        policy, shuffle = configured.policy(config), configured.shuffle(daemon)
        runtime.engine.configure(policy, daemon.kill_grace_secs, shuffle, clock.read())
        self._gpus.configure(interval_secs=daemon.gpu_poll_interval_secs)
        self._historian.configure(keep_jobs=daemon.history_keep.jobs, keep_secs=daemon.history_keep.days * DAY_SECS)
        services.env_drop = configured.env_drop(daemon)
        server.tls = new.tls
        server.stranger = configured.stranger(config, new.tls, outside=server.stranger.outside)
        services.known_environments.clear()
        services.users.configure(config.access.admins, config.access.admin_groups)
        services.own_only = config.access.visibility == "own"
        services.status |= {"gpu_allocation_strategy": daemon.gpu_allocation_strategy, "timezone": config.timezone}
        runtime.schedule_wake.set()
        if config.notifications != self._in_force.now.notifications:
            await self._tell_others(new.targets, config.notifications.max_concurrent_deliveries)

    async def _tell_others(self, targets: Sequence[Target], most: int) -> None:
        """Another pool takes over: what the one before has not delivered is in the outbox, or is kept for it."""
        await self._started["webhooks"].stop()
        self._pool = self._telling.pool(targets, most, self._kept_events(), self._runtime.bus.last_id + 1)
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
            env_drop=configured.env_drop(daemon),
            status={
                "version": __version__,
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "boot_id": self._boot_id,
                "started_at": clock.read().wall,
                "executor": "tmux",
                "endpoint": f"unix:{self._settings.socket}",
                "tcp": configured.url(config),
                "auth": None if config.tcp() is None else config.auth(),
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
