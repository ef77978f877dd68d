"""Looks at the GPUs: at an interval, when it is asked to, and soon after a job on some has ended.

The driver may hang, so it is called from one thread and never a second time before it has answered; a daemon that is to
stop leaves that thread behind. While no answer comes nothing new is put on any GPU. What was seen is handed to the
engine, which decides what follows from it.
"""

import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping

import trio

from gflow.core.errors import Unavailable
from gflow.core.events import OUTCOMES, Event
from gflow.core.model import GpuStatus, Job, JobId
from gflow.core.placement import UNSEEN
from gflow.daemon.alarm import Alarm
from gflow.daemon.attribution import Attribution, status_of
from gflow.daemon.gpu_news import GpuNews
from gflow.daemon.runtime import Runtime
from gflow.daemon.wake import Bell, Wake
from gflow.gpu.base import Probe
from gflow.launch.base import Owner

DEADLINE_SECS = 5.0
"""How long the driver may take for an answer before it counts as hanging."""

SOON_SECS = 1.0
"""The ends of jobs, and processes that may be dead, make nobody look more often than this."""

CLOSE_SECS = 1.0
"""What letting go of the driver may take when the daemon leaves."""

SILENT = "the driver does not answer"
UNREPORTED = "not reported by the driver any more"

_ENDS = frozenset(OUTCOMES.values())

Owners = Callable[[Collection[int]], Awaitable[Mapping[int, Owner]]]
"""Whose processes are, by id, as `launch.base.Launcher.owners` tells."""


class GpuWatch:
    """Hands what `probe` sees to the engine. `allowed`: the indices there are for gflow, None for all."""

    def __init__(
        self,
        runtime: Runtime,
        probe: Probe,
        owners: Owners,
        *,
        interval_secs: float,
        allowed: Collection[int] | None = None,
        deadline_secs: float = DEADLINE_SECS,
    ) -> None:
        self._runtime = runtime
        self._probe = probe
        self._owners = owners
        self._interval_secs = interval_secs
        self._allowed = allowed
        self._deadline_secs = deadline_secs
        self._wake = Wake()
        self._one_thread = trio.CapacityLimiter(1)
        self._attribution = Attribution(self._running())
        self._news = GpuNews()
        known = runtime.engine.resources.gpus  # of an earlier daemon
        self._gpus = {index: gpu for index, gpu in known.items() if self._may_have(index)}
        self._seen_well = False
        self._status: Mapping[int, GpuStatus] = {}
        self._trouble: str | None = None
        self._due_boot = self._began_boot = -math.inf
        self._busy = False
        self._calling = False
        self._silent = False
        self._looked = False

    def configure(self, *, interval_secs: float) -> None:
        """Look as often as that from now on."""
        self._interval_secs = interval_secs
        self.look()

    # -- for others ------------------------------------------------------------------------------------------------

    @property
    def trouble(self) -> str | None:
        """Why no GPU can be seen just now, in a line; None if they can."""
        if self._silent:
            secs = self._runtime.clock().boot - self._began_boot
            return f"{SILENT}, for {secs:.0f} s now; until it does nothing is put on a GPU"
        return self._trouble

    def look(self) -> None:
        """Look at once; if that is being done just now, once more right after it."""
        self._look_at(-math.inf)

    def _look_at(self, boot: float) -> None:
        self._due_boot = min(self._due_boot, boot)
        self._wake.set()

    # -- the service -----------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once the GPUs have been looked at, or were found to keep us waiting."""
        alarm = Alarm(time.CLOCK_BOOTTIME)
        bell = Bell(alarm, self._wake)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bell.run)
                nursery.start_soon(self._follow_ends)
                while not self._looked:
                    await self._step(nursery, bell)
                task_status.started()
                while True:
                    await self._step(nursery, bell)
        finally:
            alarm.close()
            await self._let_go()

    async def _step(self, nursery: trio.Nursery, bell: Bell) -> None:
        self._wake.clear()
        boot = self._runtime.clock().boot
        if not self._busy and boot >= self._due_boot:
            self._busy = self._calling = True
            self._began_boot, self._due_boot = boot, boot + self._interval_secs
            nursery.start_soon(self._round)
        elif self._overdue_boot() <= boot:
            self._fall_silent()
        bell.set(self._next_boot())
        await self._wake.wait()

    def _overdue_boot(self) -> float:
        """When the driver counts as hanging, if it has not answered by then."""
        return self._began_boot + self._deadline_secs if self._calling and not self._silent else math.inf

    def _next_boot(self) -> float | None:
        moment = self._overdue_boot() if self._busy else self._due_boot
        return moment if moment < math.inf else None

    async def _follow_ends(self) -> None:
        bus = self._runtime.bus
        seen = bus.last_id
        while not bus.closed:
            await bus.wait_for_more(seen)
            _, events = bus.since(seen)
            seen = bus.last_id
            for _, event in events:
                self._note_end(_ended(event))

    def _note_end(self, job: Job | None) -> None:
        if job is not None and job.run_id is not None:
            self._attribution.ended(job.run_id, self._runtime.clock().boot)
            if job.gpu_ids:
                self._look_at(self._began_boot + SOON_SECS)

    async def _let_go(self) -> None:
        """Close the probe, unless it is being used: then it may hang, and the kernel closes all in the end."""
        if not self._calling:
            with trio.move_on_after(CLOSE_SECS, shield=True):
                await trio.to_thread.run_sync(self._probe.close, limiter=self._one_thread, abandon_on_cancel=True)

    # -- a round ---------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        reading = await trio.to_thread.run_sync(self._probe.read, limiter=self._one_thread, abandon_on_cancel=True)
        self._calling = False
        seen = {one.gpu.index: one for one in reading.readings if self._may_have(one.gpu.index)}
        pids = {process.pid for one in seen.values() for process in one.processes}
        owners = await self._owners(pids) if pids else {}
        whose = self._attribution.sort(pids, owners, self._running(), self._runtime.clock().boot)
        if whose.may_go:
            self._look_at(self._began_boot + SOON_SECS)
        if reading.trouble is None and not self._seen_well:
            self._seen_well = True  # what an earlier daemon saw counts until the driver shows what there is
            held = self._runtime.engine.resources.holders
            self._gpus = {index: gpu for index, gpu in self._gpus.items() if index in seen or held(index)}
        self._gpus.update((index, one.gpu) for index, one in seen.items())
        self._trouble, self._silent, self._busy = reading.trouble, False, False
        gone = GpuStatus(fault=UNREPORTED)
        self._hand_over({i: status_of(seen[i], whose) if i in seen else gone for i in sorted(self._gpus)})

    def _may_have(self, index: int) -> bool:
        return self._allowed is None or index in self._allowed

    def _fall_silent(self) -> None:
        self._silent = True
        self._hand_over({i: GpuStatus(fault=SILENT, foreign=self._status.get(i, UNSEEN).foreign) for i in self._gpus})

    def _hand_over(self, status: Mapping[int, GpuStatus]) -> None:
        """Tell the engine, and wake the scheduler: what could not be used before may be free now."""
        self._status, self._looked = status, True
        gpus = [self._gpus[index] for index in status]
        self._news.tell(gpus, status, SILENT if self._silent else self._trouble)
        runtime = self._runtime
        with contextlib.suppress(Unavailable):  # the daemon leaves, and the next one looks for itself
            runtime.commit(runtime.engine.observe_gpus(gpus, status, runtime.clock()))
        runtime.schedule_wake.set()
        self._wake.set()

    def _running(self) -> dict[str, JobId]:
        """The launches of the running jobs."""
        engine = self._runtime.engine
        return {run_id: job_id for job_id in engine.running if (run_id := engine.jobs[job_id].run_id) is not None}


def _ended(event: Event) -> Job | None:
    """The job that has ended, if that is what the event is about."""
    return event.job if event.kind in _ENDS else None
