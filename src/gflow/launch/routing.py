"""Which launcher has which job: our own, or the one that looks after what an older gflow started."""

from collections.abc import Collection, Iterable, Mapping

import trio

from gflow.core.model import Exit, Job, JobId
from gflow.launch.adopted import is_adopted
from gflow.launch.base import Consumption, Launcher, Owner, Start, Trace


class Launchers:
    """See `base.Launcher`: each call goes to the launcher that has the job."""

    def __init__(self, own: Launcher, adopted: Launcher) -> None:
        self._own = own
        self._adopted = adopted

    def _of(self, job: Job) -> Launcher:
        return self._adopted if is_adopted(job) else self._own

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        await self._own.run(task_status=task_status)

    async def launch(self, job: Job) -> Start:
        """Start `job`. Raises LaunchFailed, CannotLaunch."""
        return await self._of(job).launch(job)

    async def wait(self, job: Job) -> Exit:
        """Wait for its end."""
        return await self._of(job).wait(job)

    async def wait_stranded(self, job: Job) -> str:
        """Wait until it has lost its terminal."""
        return await self._of(job).wait_stranded(job)

    def is_over(self, job: Job) -> bool:
        """Whether its main process is seen to be gone."""
        return self._of(job).is_over(job)

    async def survivors(self, job: Job) -> bool:
        """Whether processes outlive its main process."""
        return await self._of(job).survivors(job)

    async def wait_gone(self, job: Job) -> None:
        """Wait until no process of it is left."""
        await self._of(job).wait_gone(job)

    async def interrupt(self, job: Job) -> None:
        """Type Ctrl-C at its terminal."""
        await self._of(job).interrupt(job)

    async def send_signal(self, job: Job, signal: int) -> int:
        """Signal every process of it; return how many there were."""
        return await self._of(job).send_signal(job, signal)

    async def owners(self, pids: Collection[int]) -> Mapping[int, Owner]:
        """Whose these processes are. Only what is not our own launcher's may be the other one's."""
        owners = await self._own.owners(pids)
        nobodys = [pid for pid in pids if pid not in owners or owners[pid].run_id is None]
        return {**owners, **await self._adopted.owners(nobodys)}

    async def trace(self, job: Job) -> Trace:
        """What became of a launch of an earlier daemon."""
        return await self._of(job).trace(job)

    def started(self, job: Job) -> Start | None:
        """When its first instruction ran."""
        return self._of(job).started(job)

    async def discard(self, job: Job) -> None:
        """Drop the traces of the launch."""
        await self._of(job).discard(job)

    async def sweep(self, running: Iterable[Job]) -> None:
        """Drop the traces of all launches but these."""
        jobs = list(running)
        await self._own.sweep([job for job in jobs if not is_adopted(job)])
        await self._adopted.sweep([job for job in jobs if is_adopted(job)])

    async def processes(self, job: Job) -> list[Consumption]:
        """Its processes, and what they take."""
        return await self._of(job).processes(job)

    async def memory_over(self, job: Job) -> int | None:
        """What it has in memory, if that is too much."""
        return await self._of(job).memory_over(job)

    def report(self, job: Job) -> tuple[bytes, float] | None:
        """What it has written about how far it is."""
        return self._of(job).report(job)

    async def close_terminal(self, job: Job) -> bool:
        """Close the terminal of a job that has ended."""
        return await self._of(job).close_terminal(job)

    def attach_argv(self, job: Job, *, read_only: bool = False) -> list[str] | None:
        """The command that opens its terminal."""
        return self._of(job).attach_argv(job, read_only=read_only)

    def terminals(self, running: Iterable[Job]) -> set[JobId]:
        """The jobs that have a terminal."""
        jobs = list(running)
        older = [job for job in jobs if is_adopted(job)]
        return self._own.terminals(jobs) | (self._adopted.terminals(older) if older else set())

    async def close(self) -> None:
        """The daemon leaves."""
        await self._own.close()
        await self._adopted.close()
