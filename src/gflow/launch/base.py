"""What the daemon asks of a launcher. `tmux.Tmux` is the real one; tests have a fake that passes the same contract.

A launch is named by `job.run_id`. Everything a launcher must find again after the daemon was killed follows from the
job alone, so none of these calls needs memory of an earlier one.
"""

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import trio

from gflow.core.model import Exit, Job, JobId


class LaunchFailed(Exception):
    """The job could not be started; the message is what its owner reads."""


class CannotLaunch(Exception):
    """Nothing can be started just now, which is no fault of the job; nothing of this launch runs, ever.

    The message is a sentence without its end. whose: this concerns jobs of this owner, None: all.
    """

    def __init__(self, why: str, whose: str | None = None) -> None:
        super().__init__(why)
        self.whose = whose


class Trace(enum.Enum):
    """What is left of a launch when the daemon comes back."""

    ALIVE = "alive"
    ENDED = "ended"
    NEVER_STARTED = "never started"


@dataclass(frozen=True, slots=True)
class Start:
    """When the first instruction ran: seconds since the epoch, and of CLOCK_BOOTTIME."""

    at: float
    boot: float


class Owner(NamedTuple):
    """Whose a process is: a launch's, or nobody's of ours (None). It started so many clock ticks after boot."""

    start_ticks: int
    run_id: str | None


class Consumption(NamedTuple):
    """One process. Times in seconds: `cpu_secs` in all its threads since it started, `started_boot` of CLOCK_BOOTTIME.

    memory_bytes: what it has in memory; pages it shares with others count in each. state: one letter, as of ps.
    """

    pid: int
    parent: int
    command: str
    state: str
    cpu_secs: float
    memory_bytes: int
    threads: int
    started_boot: float


class Launcher(Protocol):
    """Starts jobs, watches them end, and stops them."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started()` once `launch` can be called. Never ends a job when it is cancelled."""

    async def launch(self, job: Job) -> Start:
        """Start `job`; return once it has started.

        Raises LaunchFailed or CannotLaunch; then nothing of it runs, ever.
        """

    async def wait(self, job: Job) -> Exit:
        """Wait until the job's main process is gone and its log is complete; any number of callers, any time."""

    async def wait_stranded(self, job: Job) -> str:
        """Wait until the job has lost its terminal, though it may run on; return a sentence about that."""

    def is_over(self, job: Job) -> bool:
        """Whether its main process is seen to be gone, though `wait` may not have told so yet. Does not wait."""

    async def survivors(self, job: Job) -> bool:
        """Whether processes of the job outlive its main process, which is gone."""

    async def wait_gone(self, job: Job) -> None:
        """Wait until no process of the job is left."""

    async def interrupt(self, job: Job) -> None:
        """Type Ctrl-C at the job's terminal."""

    async def send_signal(self, job: Job, signal: int) -> int:
        """Signal every process of the job, wherever it moved to; return how many there were."""

    async def owners(self, pids: Collection[int]) -> Mapping[int, Owner]:
        """Whose these processes are, by id; one that cannot be seen is left out."""

    async def trace(self, job: Job) -> Trace:
        """What became of a launch of an earlier daemon. NEVER_STARTED is a promise that it never will."""

    def started(self, job: Job) -> Start | None:
        """When the first instruction ran, None if that is not known to have happened."""

    async def discard(self, job: Job) -> None:
        """The end of `job` is on disk: drop the traces of the launch. The log stays, and a kept terminal too."""

    async def sweep(self, running: Iterable[Job]) -> None:
        """Drop the traces of all launches but those of these jobs; before the first launch."""

    async def processes(self, job: Job) -> list[Consumption]:
        """The processes of the job, and what each of them takes of the machine."""

    async def memory_over(self, job: Job) -> int | None:
        """Hold the job to its present memory limit, `memory_mb`: what it has in memory (bytes) if that is more.

        None: it is not, or the kernel sees to it; then the job ends by itself.
        """

    def report(self, job: Job) -> tuple[bytes, float] | None:
        """The end of what the job has written about how far it is, and when (seconds since the epoch). Blocks."""

    async def close_terminal(self, job: Job) -> bool:
        """Close the terminal of a job that has ended, whoever looks at it; whether there was one."""

    def attach_argv(self, job: Job, *, read_only: bool = False) -> list[str] | None:
        """The command that opens the job's terminal, None if it has none."""

    def terminals(self, running: Iterable[Job]) -> set[JobId]:
        """The jobs that have a terminal, also kept ones of jobs that have ended. `running` are all that run. Blocks."""

    async def close(self) -> None:
        """The daemon leaves: let go of what is not needed by jobs."""
