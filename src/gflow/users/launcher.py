"""The launcher of system mode: every job runs as its submitter, on a tmux server of the submitter's own.

What touches files, sockets and programs of users is done by a helper process of each user (`agent`). What the machine
itself knows, which processes there are and whose, is looked up and acted on here, by root: so a job is stopped at its
limit, and is over when its processes are gone, whatever its user does to his helper. A process is taken for one of a
job only if its real user id is the job's user's; so no job can have another user's process signalled, or wait for one.
"""

import contextlib
import logging
import os
import resource
import signal as signals
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

import trio

from gflow.core.model import Exit, Job, JobId, Now
from gflow.launch.base import CannotLaunch, Consumption, LaunchFailed, Owner, Start, Trace
from gflow.launch.consumption import consumption_of
from gflow.launch.log import make_log
from gflow.launch.patience import Patience
from gflow.launch.processes import (
    Process,
    ProcessTable,
    is_alive,
    read_stat,
    real_user_of,
    send,
    signal_all,
    wait_all_gone,
    wait_process,
)
from gflow.launch.tmux_server import find_tmux
from gflow.users import frames
from gflow.users.accounts import Account, NoAccount, account_of, is_users
from gflow.users.confining import Confining
from gflow.users.helper import Declined, Helper, HelperLost, NoHelper, NotNow, closed_programs
from gflow.users.places import Places, UnsafePlace

log = logging.getLogger(__name__)

LAUNCH_SECS = 60.0
ANSWER_SECS = 20.0
SHORT_SECS = 3.0
REPORT_SECS, SULK_SECS = 0.5, 60.0
SAYS_HOW_SECS = 90.0
"""What a helper gets to say how a job ended that is gone."""

_BACKOFF_SECS = (0.0, 0.2, 1.0, 5.0, 30.0)
_SLACK_SECS = 1.0
_LAST_WORD_SECS = 1.0

NOBODY_SAID = "It ended, and the helper process of its user does not say how"

_T = TypeVar("_T")


class PerUser:
    """See `launch.base.Launcher`. `environment` and `script` give what the spool keeps under a digest; they block.

    own_units: systemd is to keep what users run apart from us. idle_secs: after that a helper that has nothing to do
    leaves.
    """

    def __init__(
        self,
        places: Places,
        clock: Callable[[], Now],
        environment: Callable[[str], bytes],
        script: Callable[[str], bytes],
        confining: Confining,
        *,
        own_units: bool = False,
        idle_secs: float = 600.0,
    ) -> None:
        self._places = places
        self._clock = clock
        self._environment = environment
        self._script = script
        self._confining = confining
        self._own_units = own_units
        self._idle_secs = idle_secs
        self._open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._helpers: dict[int, Helper] = {}
        self._starting: dict[int, trio.Lock] = {}
        self._failures: dict[int, tuple[int, float, str]] = {}
        self._to_sweep: dict[int, list[Job]] | None = None
        self._swept: set[int] = set()
        self._table = ProcessTable(_is_users, _is_users)
        self._patience = Patience()
        self._users: dict[str, int] = {}
        self._wrappers: dict[str, Process] = {}
        self._starts: dict[str, Start] = {}
        self._not_asked_until: dict[int, float] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the helpers until cancelled. Raises TmuxUnusable, UnsafePlace."""
        await trio.to_thread.run_sync(find_tmux)
        await trio.to_thread.run_sync(self._places.prepare)
        await trio.to_thread.run_sync(self._confining.begin)
        for closed in await trio.to_thread.run_sync(closed_programs):
            log.warning("users may not enter %s, where gflow or its Python is: only jobs of root can be run", closed)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                while True:
                    await trio.sleep(self._idle_secs / 2)
                    for helper in list(self._helpers.values()):
                        nursery.start_soon(self._let_go, helper)
            finally:
                self._nursery = None  # before the nursery closes

    async def _let_go(self, helper: Helper) -> None:
        """Have a helper leave that nobody has needed for long, and whose user has no terminal left."""
        needed = helper.account.uid in self._users.values() or helper.idle_secs < self._idle_secs
        if needed or not helper.alive:
            return
        with contextlib.suppress(HelperLost, Declined), trio.move_on_after(ANSWER_SECS):
            if await helper.ask(frames.ids_from, "terminals", []):
                return
        if helper.idle_secs >= self._idle_secs:  # still
            helper.hang_up()

    # Starting.

    async def launch(self, job: Job) -> Start:
        """Start `job`. Raises LaunchFailed, CannotLaunch."""
        asked = self._clock()
        try:
            account = await self._account(job)
            environment, script = await trio.to_thread.run_sync(self._contents, job)
            await trio.to_thread.run_sync(self._make_log, job, account)
            confined = await trio.to_thread.run_sync(self._confining.make, job, account.uid)
            told = [environment, script, [confined.cgroup, confined.cpus, confined.within]]
            start, process = await self._ask(job, frames.start_from, "launch", *told, secs=LAUNCH_SECS)
        except (NoAccount, UnsafePlace, Declined) as error:
            await self.send_signal(job, signals.SIGKILL)  # in case that is not true
            if isinstance(error, NotNow):
                raise CannotLaunch(str(error), job.spec.owner) from error
            raise LaunchFailed(str(error)) from error
        except OSError as error:
            raise LaunchFailed(f"Cannot use {os.fsdecode(error.filename or b'')}: {error.strerror}") from error
        except HelperLost as error:
            start, process = await self._after_loss(job, error)
        began = self._began(job, start, process, asked)
        if confined.within is not None:
            await self._admit(job)
        return began

    async def _admit(self, job: Job) -> None:
        """Have the wrapper go on, in the job's cgroup. Raises LaunchFailed, and sees to that."""
        wrapper = self._wrappers.get(job.run_id or "")
        try:
            if wrapper is not None:
                await trio.to_thread.run_sync(self._confining.admit, job, wrapper)
                return
            trouble = "nobody says which process is to enter it"
        except OSError as error:
            trouble = str(error.strerror)
        await self.send_signal(job, signals.SIGKILL)
        raise LaunchFailed(f"The cgroup that keeps its limits cannot be entered: {trouble}")

    async def _after_loss(self, job: Job, error: HelperLost) -> tuple[Start | None, Process | None]:
        """What became of a launch whose helper was lost. Raises LaunchFailed if nothing, and sees to that."""
        try:
            trace, start, process = await self._ask(job, frames.trace_from, "trace", secs=ANSWER_SECS)
        except (HelperLost, Declined, NoAccount):
            trace = Trace.NEVER_STARTED
        if trace is Trace.NEVER_STARTED:
            await self.send_signal(job, signals.SIGKILL)
            if isinstance(error, NoHelper):
                raise CannotLaunch(str(error), job.spec.owner) from error
            raise LaunchFailed(str(error)) from error
        return start, process

    async def _account(self, job: Job) -> Account:
        return await trio.to_thread.run_sync(account_of, job.spec.uid, job.spec.owner)

    def _contents(self, job: Job) -> tuple[bytes | None, bytes | None]:
        spec = job.spec
        environment = self._environment(spec.environment) if spec.environment is not None else None
        return environment, self._script(spec.script_digest) if spec.script_digest is not None else None

    def _make_log(self, job: Job, account: Account) -> None:
        """A log that is the user's, in a directory that is not. Somebody may have tidied up the runtime directory."""
        if not self._places.sockets_of(account.uid).exists():
            self._places.prepare()
            self._places.prepare_for(account)
        path = self._places.logs / f"{job.id}.log"
        make_log(path, self._clock().wall)
        os.chown(path, account.uid, account.gid, follow_symlinks=False)

    def _began(self, job: Job, start: Start | None, process: Process | None, asked: Now) -> Start:
        """When it started, within what can be; notes its processes."""
        self._note(job, process)
        now = self._clock()
        said = start or Start(now.wall, now.boot)
        at = min(max(said.at, asked.wall - _SLACK_SECS), now.wall)
        boot = min(max(said.boot, asked.boot - _SLACK_SECS), now.boot)
        self._starts[job.run_id or ""] = Start(at, boot)
        return self._starts[job.run_id or ""]

    def _note(self, job: Job, process: Process | None) -> None:
        run_id, uid = job.run_id or "", job.spec.uid
        if uid is None:
            return
        self._users[run_id] = uid
        if process is not None and _may_be_wrapper(process, uid):
            self._wrappers[run_id] = process
            self._table.register(run_id, uid, process.pid)

    # What becomes of it.

    async def wait(self, job: Job) -> Exit:
        """Wait for its end: as its helper tells it, but no longer than it can be true that it goes on."""
        found: list[Exit] = []
        async with trio.open_nursery() as nursery:

            async def settle(waiting: Callable[[Job], Any]) -> None:
                found.append(await waiting(job))
                nursery.cancel_scope.cancel()

            nursery.start_soon(settle, self._told_end)
            nursery.start_soon(settle, self._seen_end)
        return self._confining.judge(job, found[0])

    async def _told_end(self, job: Job) -> Exit:
        while True:
            with contextlib.suppress(HelperLost, Declined, NoAccount, UnsafePlace, OSError):
                how = await self._ask(job, frames.exit_from, "wait")
                earliest = job.started_at or job.submitted_at
                return Exit(how.code, min(max(how.at, earliest), self._clock().wall), how.text)
            await trio.sleep(ANSWER_SECS / 10)

    async def _seen_end(self, job: Job) -> Exit:
        wrapper = self._wrappers.get(job.run_id or "")
        if wrapper is not None:
            await wait_process(wrapper)
        at = self._clock().wall
        await trio.sleep(SAYS_HOW_SECS / 20)
        helper = self._helpers.get(job.spec.uid or 0)
        if helper is not None and helper.stopped:
            helper.hang_up()  # the next one can say it, too
        await trio.sleep(SAYS_HOW_SECS)
        while wrapper is None and await self._members(job):
            at = self._clock().wall
            await trio.sleep(ANSWER_SECS)
        return Exit(None, at, NOBODY_SAID)

    async def wait_stranded(self, job: Job) -> str:
        """Wait until it has lost its terminal."""
        while True:
            with contextlib.suppress(HelperLost, Declined, NoAccount, UnsafePlace, OSError):
                return await self._ask(job, frames.text, "wait_stranded")
            await trio.sleep(ANSWER_SECS)

    def is_over(self, job: Job) -> bool:
        """Whether its wrapper is gone, as far as it is known."""
        wrapper = self._wrappers.get(job.run_id or "")
        return wrapper is not None and not is_alive(wrapper)

    async def survivors(self, job: Job) -> bool:
        """Whether anything of the job but its wrapper runs."""
        return bool(await self._members(job))

    async def wait_gone(self, job: Job) -> None:
        """Wait for all that runs of the job."""
        await wait_all_gone(lambda: self._members(job))

    async def interrupt(self, job: Job) -> None:
        """Type Ctrl-C at its terminal; if its helper does not do that, SIGINT."""
        try:
            await self._ask(job, frames.nothing, "interrupt", secs=SHORT_SECS)
        except (HelperLost, Declined, NoAccount, UnsafePlace, OSError):
            await self.send_signal(job, signals.SIGINT)

    async def send_signal(self, job: Job, signal: int) -> int:
        """Signal the job's processes; the wrapper only when nothing else is left to be ended."""
        reached = await signal_all(partial(self._members, job), signal)
        wrapper = self._wrappers.get(job.run_id or "")
        if reached or wrapper is None or signal not in (signals.SIGTERM, signals.SIGKILL):
            return reached
        with trio.move_on_after(_LAST_WORD_SECS):
            await wait_process(wrapper)
        return int(is_users(real_user_of(wrapper.pid), job.spec.uid) and send(wrapper, signal))

    async def _members(self, job: Job) -> list[Process]:
        run_id, uid = job.run_id or "", job.spec.uid
        if uid is None:
            return []
        self._table.register(run_id, uid)
        found = await self._table.members(run_id)
        known, everything = set(found), self._confining.with_all_in_it(job, found, self._wrappers.get(run_id))
        return [process for process in everything if process in known or _is_users(process.pid, uid)]

    async def owners(self, pids: Collection[int]) -> Mapping[int, Owner]:
        """Whose these processes are; of a launch only if they are of its user."""
        return await self._table.owners(pids)

    async def processes(self, job: Job) -> list[Consumption]:
        """What its processes take."""
        return await consumption_of(await self._members(job), job.spec.uid, self._patience)

    async def memory_over(self, job: Job) -> int | None:
        """What its processes have in memory, if that is too much and no cgroup keeps them from that."""
        return await self._confining.memory_over(job, await self._members(job), self._patience)

    # After a restart.

    async def trace(self, job: Job) -> Trace:
        """What became of a launch of an earlier daemon; where its helper does not tell, what can be seen."""
        run_id = job.run_id or ""
        self._note(job, None)
        try:
            trace, start, process = await self._ask(job, frames.trace_from, "trace", secs=ANSWER_SECS)
        except (HelperLost, Declined, NoAccount, UnsafePlace, OSError) as error:
            log.warning("Job %d: %s", job.id, error)
            return Trace.ALIVE if await self._members(job) else Trace.ENDED
        self._note(job, process)
        await self._take_up(job)
        if trace is Trace.NEVER_STARTED and await self._members(job):
            return Trace.ALIVE
        if start is not None:
            now = self._clock()
            at = min(max(start.at, job.started_at or job.submitted_at), now.wall)
            self._starts[run_id] = Start(at, min(max(start.boot, 0.0), now.boot))
        return trace

    async def _take_up(self, job: Job) -> None:
        wrapper = self._wrappers.get(job.run_id or "")
        if wrapper is not None:
            try:
                await trio.to_thread.run_sync(self._confining.take_up, job, wrapper)
            except OSError as error:
                log.warning("Job %d: its cgroup cannot be entered: %s", job.id, error.strerror)

    def started(self, job: Job) -> Start | None:
        """As `launch` or `trace` has found it."""
        return self._starts.get(job.run_id or "")

    async def discard(self, job: Job) -> None:
        """Drop the traces of the launch; what its helper does not drop goes when the next one begins."""
        with contextlib.suppress(HelperLost, Declined, NoAccount, UnsafePlace, OSError):
            await self._ask(job, frames.nothing, "discard", secs=ANSWER_SECS)
        await trio.to_thread.run_sync(self._confining.drop, job)
        run_id = job.run_id or ""
        self._table.forget(run_id)
        self._users.pop(run_id, None)
        self._wrappers.pop(run_id, None)
        self._starts.pop(run_id, None)

    async def sweep(self, running: Iterable[Job]) -> None:
        """Have each user's first helper drop the traces of all launches but these."""
        self._to_sweep = {}
        jobs = list(running)
        await trio.to_thread.run_sync(self._confining.sweep, jobs)
        for job in jobs:
            if job.spec.uid is not None:
                self._to_sweep.setdefault(job.spec.uid, []).append(job)

    # Terminals.

    async def close_terminal(self, job: Job) -> bool:
        """Close the terminal of a job that has ended."""
        with contextlib.suppress(HelperLost, Declined, NoAccount, UnsafePlace, OSError):
            return await self._ask(job, frames.flag, "close_terminal", secs=ANSWER_SECS)
        return False

    def attach_argv(self, job: Job, *, read_only: bool = False) -> list[str] | None:
        """The command that opens its terminal. Call it in a thread."""

        async def ask() -> list[str] | None:
            return await self._ask(job, frames.words_from, "attach", read_only, secs=SHORT_SECS)

        with contextlib.suppress(HelperLost, Declined, NoAccount, UnsafePlace, OSError):
            return trio.from_thread.run(ask)
        return None

    def terminals(self, running: Iterable[Job]) -> set[JobId]:  # noqa: ARG002 - their tmux servers know
        """The jobs that have a terminal, of users who have a helper. Call it in a thread."""
        said = trio.from_thread.run(self._all_terminals)
        return {JobId(job_id) for uid, ids in said.items() for job_id in ids if self._places.is_of(job_id, uid)}

    async def _all_terminals(self) -> dict[int, list[int]]:
        """What the helpers say, by user."""
        there: dict[int, list[int]] = {}

        async def ask(helper: Helper) -> None:
            with contextlib.suppress(HelperLost, Declined):
                there[helper.account.uid] = await helper.ask(frames.ids_from, "terminals", [])

        with trio.move_on_after(SHORT_SECS):
            async with trio.open_nursery() as nursery:
                for helper in list(self._helpers.values()):
                    nursery.start_soon(ask, helper)
        return there

    def report(self, job: Job) -> tuple[bytes, float] | None:
        """What it has written about how far it is. Call it in a thread.

        A helper that takes too long is not asked again for a while: others are waiting to be looked at.
        """
        return trio.from_thread.run(self._told_report, job)

    async def _told_report(self, job: Job) -> tuple[bytes, float] | None:
        helper = self._helpers.get(job.spec.uid or 0)
        if helper is None or trio.current_time() < self._not_asked_until.get(helper.account.uid, 0.0):
            return None
        with contextlib.suppress(HelperLost, Declined), trio.move_on_after(REPORT_SECS):
            said = await helper.ask(frames.report_from, "report", [job])
            return None if said is None else (said[0], min(said[1], self._clock().wall))
        self._not_asked_until[helper.account.uid] = trio.current_time() + SULK_SECS
        return None

    async def close(self) -> None:
        """Let go of the cgroups. Helpers leave when `run` ends, and have their tmux servers end with the last job."""
        await trio.to_thread.run_sync(self._confining.close)

    # Helpers.

    async def _ask(
        self, job: Job, read: Callable[[Any], _T], method: str, *rest: object, secs: float | None = None
    ) -> _T:
        """Have the helper of the job's user do something. Raises HelperLost, Declined, NoAccount, UnsafePlace, OSError.

        secs: a helper that takes longer is given up.
        """
        helper = await self._helper(await self._account(job))
        with trio.move_on_after(secs if secs is not None else float("inf")) as waiting:
            return await helper.ask(read, method, [job], *rest)
        if waiting.cancelled_caught and (secs != SHORT_SECS or helper.stopped):
            helper.hang_up()
        raise HelperLost(f"The helper process of '{job.spec.owner}' does not answer")

    async def _helper(self, account: Account) -> Helper:
        """The helper of a user, started if there is none. Raises HelperLost, UnsafePlace, OSError."""
        async with self._starting.setdefault(account.uid, trio.Lock()):
            helper = self._helpers.get(account.uid)
            if helper is not None and helper.account != account:
                helper.hang_up()  # its groups, at least, may be others by now
            if helper is None or not helper.alive:
                helper = self._helpers[account.uid] = await self._new_helper(account)
            return helper

    async def _new_helper(self, account: Account) -> Helper:
        """One more, ever more slowly where they do not start. Raises as `_helper`."""
        failures, since, why = self._failures.get(account.uid, (0, 0.0, ""))
        if failures and trio.current_time() < since + _BACKOFF_SECS[min(failures, len(_BACKOFF_SECS) - 1)]:
            raise NoHelper(why)
        try:
            helper = await self._started_helper(account)
        except (HelperLost, UnsafePlace, OSError) as error:
            log.warning("%s", error)
            self._failures[account.uid] = failures + 1, trio.current_time(), str(error)
            raise
        self._failures.pop(account.uid, None)
        return helper

    async def _begun(self, account: Account) -> Helper:
        """A helper in a unit of its own, or where systemd makes none, in ours."""
        begin = partial(Helper.start, account, self._places, self._open_files)
        if not self._own_units:
            return await begin()
        try:
            return await begin(own_unit=True)
        except (HelperLost, OSError) as error:
            helper = await begin()
            self._own_units = False
            log.warning("jobs share the daemon's unit of systemd, because they get none of their own: %s", error)
            return helper

    async def _started_helper(self, account: Account) -> Helper:
        nursery = self._nursery
        helper = await self._begun(account) if nursery is not None else None
        if helper is None or nursery is None or self._nursery is not nursery:
            if helper is not None:
                await helper.leave()
            raise HelperLost("The daemon is leaving")
        nursery.start_soon(helper.run)
        if account.uid not in self._swept and self._to_sweep is not None:
            try:
                with trio.fail_after(ANSWER_SECS):
                    await helper.ask(frames.nothing, "sweep", self._to_sweep.get(account.uid, []))
            except (Declined, trio.TooSlowError) as error:
                helper.hang_up()
                raise HelperLost(f"The helper process of '{account.name}' does not tidy up: {error}") from error
            self._swept.add(account.uid)
        return helper


def _is_users(pid: int, uid: int) -> bool:
    return is_users(real_user_of(pid), uid)


def _may_be_wrapper(process: Process, uid: int) -> bool:
    """Whether a process a helper named is there, and its user's. It may not have begun yet to be what it is to be."""
    stat = read_stat(process.pid)
    return stat is not None and stat.process == process and not stat.gone and real_user_of(process.pid) == uid
