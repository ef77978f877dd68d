"""Jobs that an older gflow started: watched to their end where they are, and stopped like others.

gflow typed a job's command into the shell of a session on the user's own tmux server, and the same line calls
`gcancel --finish ID` or `--fail ID` at its end; the session stays. Nothing of ours is around such a job, so what is
known of it is what the kernel shows of its shell:

- The run id names the shell (process id and start time) and the session; nothing else needs to be remembered.
- The job runs while something is in the foreground of the shell's terminal. Once nothing has been for some seconds, or
  the shell is gone, it is over. How it ended is only known if it was reported.
- Its processes are the groups that have been in the foreground, and what descends from them. What the shell itself
  keeps in the background, as some prompts do, is left alone.
"""

import contextlib
import os
import re
import signal as signals
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from gflow.core.endings import UNASKED
from gflow.core.model import Exit, Job, JobId, Now, StopCause
from gflow.launch.base import Consumption, LaunchFailed, Owner, Start, Trace
from gflow.launch.consumption import consumption_of
from gflow.launch.patience import Patience
from gflow.launch.processes import (
    Process,
    Stat,
    all_processes,
    is_alive,
    name_of,
    read_stat,
    signal_all,
    wait_all_gone,
    wait_process,
)
from gflow.launch.surroundings import variables_of
from gflow.launch.tmux_server import TmuxServer

IDLE_SECS = 3.0
"""How long nothing may run in a session before its job counts as over, unless its end was reported."""

LOOK_SECS = 0.2
SESSION_GONE = "Its tmux session was closed, so how it ended is not known"
UNREPORTED = "It ended without a word: an older gflow had started it, and its exit status is not known"

_PREFIX = "gflow:"
_RUN_ID = re.compile(r"gflow:(\d+)\.(\d+):(.*)", re.DOTALL)
_PANE = re.compile(r"%\d+")
_SLACK_SECS = 60.0
_LIST_SECS = 10.0
_CTRL_C_SECS = 2.0
_SHELLS = frozenset({"bash", "zsh", "fish", "ksh", "mksh", "sh", "dash", "tcsh", "csh"})
_REPORTS = (StopCause.FINISH, StopCause.FAIL)


def is_adopted(job: Job) -> bool:
    """Whether an older gflow started the job."""
    return job.run_id is not None and job.run_id.startswith(_PREFIX)


def session_of(job: Job) -> str | None:
    """The name of the session an adopted job runs in."""
    match = _RUN_ID.fullmatch(job.run_id or "")
    return match[3] if match else None


# -- finding sessions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the user's tmux server. created_at: seconds since the epoch. shell: the first process in it."""

    name: str
    created_at: float
    shell: Process


def user_sessions() -> dict[str, Session]:
    """The sessions of the user's default tmux server, by name; none if there is no server or no tmux."""
    environment = {name: value for name, value in os.environ.items() if name != "TMUX"}
    form = "#{pane_pid} #{session_created} #{session_name}"
    try:
        said = subprocess.run(
            ["tmux", "-N", "list-panes", "-a", "-F", form],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIST_SECS,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    sessions: dict[str, Session] = {}
    for session in filter(None, map(_session, said.decode("utf-8", "replace").splitlines())):
        first = sessions.setdefault(session.name, session)
        if session.shell.start_ticks < first.shell.start_ticks:
            sessions[session.name] = session
    return sessions


def _session(line: str) -> Session | None:
    pid, _, rest = line.partition(" ")
    created, _, name = rest.partition(" ")
    stat = read_stat(int(pid)) if pid.isdigit() and created.isdigit() else None
    return Session(name, float(created), stat.process) if stat is not None and not stat.gone else None


def run_id_in(sessions: dict[str, Session], run_name: str, started_at: float) -> str | None:
    """The run id of a job that gflow started at this moment in a session of this name, None if that is gone.

    gflow made the session just after; one that is older, or has the name by chance, is not the job's. tmux does not
    keep `.` and `:` in names.
    """
    session = sessions.get(run_name.replace(".", "_").replace(":", "_"))
    if session is None or session.created_at < started_at - _SLACK_SECS:
        return None
    return f"{_PREFIX}{session.shell.pid}.{session.shell.start_ticks}:{session.name}"


# -- the launcher ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Followed:
    """What has been seen of one job.

    cause: why it is being stopped, or what it reported. controls_jobs: the shell puts each command into a group of its
    own, as all usual ones do; then what shares the shell's group belongs to its prompt.
    """

    shell: Process
    controls_jobs: bool
    groups: set[int] = field(default_factory=set)
    members: set[Process] = field(default_factory=set)
    cause: StopCause | None = None

    def running(self) -> Process | None:
        """A process the job's end has to wait for, None if the shell has nothing to do or is gone."""
        stat = read_stat(self.shell.pid)
        if stat is None or stat.process != self.shell or stat.gone:
            return None
        if stat.foreground_group not in (stat.group, -1, 0):
            self.groups.add(stat.foreground_group)
        groups = tuple(self.groups)  # another thread may be adding to them
        leaders = [leader for leader in map(read_stat, groups) if leader is not None]
        for leader in leaders:
            if leader.session == self.shell.pid and not leader.gone:
                return leader.process
        return self._running_without_leader(stat)

    def _running_without_leader(self, shell: Stat) -> Process | None:
        """The rest of a pipeline, a job of a shell without job control, or one somebody has stopped with Ctrl-Z."""
        for stat in all_processes():
            if stat.session != self.shell.pid or stat.process == self.shell:
                continue
            foreground = stat.group == shell.foreground_group
            if stat.group == shell.group and self.controls_jobs:
                foreground = False
            if foreground or (stat.parent == self.shell.pid and stat.state in "Tt"):
                if stat.group == shell.group:
                    self.members.add(stat.process)
                else:
                    self.groups.add(stat.group)
                return stat.process
        return None

    def look(self) -> list[Process]:
        """The living processes of the job."""
        self.running()
        return self.among(all_processes())

    def among(self, everything: Iterable[Stat]) -> list[Process]:
        """Those of the job, of all the processes there are."""
        stats = sorted(everything, key=lambda stat: (stat.process.start_ticks, stat.process.pid))
        found: set[int] = set()
        for stat in stats:
            of_group = stat.session == self.shell.pid and stat.group in self.groups
            if stat.process != self.shell and (of_group or stat.process in self.members or stat.parent in found):
                found.add(stat.process.pid)
                self.members.add(stat.process)
        return [stat.process for stat in stats if stat.process.pid in found]


class Adopted:
    """See `base.Launcher`. It launches nothing; `logs` is where commands run from."""

    def __init__(self, logs: Path, clock: Callable[[], Now]) -> None:
        self._logs = logs
        self._clock = clock
        self._followed: dict[str, _Followed] = {}
        self._places: dict[Process, tuple[str, str] | None] = {}
        self._patience = Patience()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Nothing has to be kept up."""
        task_status.started()
        await trio.sleep_forever()

    async def launch(self, job: Job) -> Start:
        """Raises LaunchFailed."""
        raise LaunchFailed(f"Job {job.id} was started by an older gflow and cannot be started again")

    async def wait(self, job: Job) -> Exit:
        """Wait until the session has nothing to do any more."""
        followed = self._follow(job)
        idle: Now | None = None
        while is_alive(followed.shell):
            process = await trio.to_thread.run_sync(followed.running)
            if process is not None:
                idle = None
                await _wait_either(process, followed.shell)
                continue
            idle = idle or self._clock()
            if followed.cause is not None or self._clock().boot - idle.boot >= IDLE_SECS:
                return _exit(followed.cause, idle.wall, UNREPORTED)
            await trio.sleep(LOOK_SECS)
        return _exit(followed.cause, self._clock().wall, SESSION_GONE)

    async def wait_stranded(self, job: Job) -> str:  # noqa: ARG002 - part of the protocol
        """The end of the session is the end of the job; what outlives it is left over."""
        await trio.sleep_forever()
        raise AssertionError

    def is_over(self, job: Job) -> bool:
        """Whether its shell is gone; what that runs ends by itself, and tells so."""
        return not is_alive(self._follow(job).shell)

    async def survivors(self, job: Job) -> bool:
        """Whether anything of the job runs."""
        return bool(await self._members(job))

    async def wait_gone(self, job: Job) -> None:
        """Wait for all that runs of the job, and for what that started meanwhile."""
        await wait_all_gone(lambda: self._members(job))

    async def interrupt(self, job: Job) -> None:
        """Type Ctrl-C into the pane. What reports its own end is about to go by itself, and is let."""
        followed = self._follow(job)
        if followed.cause in _REPORTS or await self._ask(followed.shell, "send-keys -t {pane} C-c"):
            return
        stat = read_stat(followed.shell.pid)
        if stat is not None and stat.process == followed.shell and stat.foreground_group > 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(stat.foreground_group, signals.SIGINT)

    async def send_signal(self, job: Job, signal: int) -> int:
        """Signal the job's processes, and those that appear meanwhile; never the session's shell."""
        return await signal_all(partial(self._members, job), signal)

    async def owners(self, pids: Collection[int]) -> Mapping[int, Owner]:
        """Whose these processes are; a session's shell is nobody's."""
        if not pids:
            return {}
        return await trio.to_thread.run_sync(_owners, tuple(pids), dict(self._followed))

    async def trace(self, job: Job) -> Trace:
        """Whether the session's shell is still there."""
        return Trace.ALIVE if is_alive(self._follow(job).shell) else Trace.ENDED

    def started(self, job: Job) -> Start | None:
        """When the session was made, which gflow did for the job alone."""
        shell = self._follow(job).shell
        if not is_alive(shell):
            return None
        now = self._clock()
        return Start(now.wall - (now.boot - shell.start_boot), shell.start_boot)

    async def discard(self, job: Job) -> None:
        """Stop the log, which is the session's, and close the session if that was asked for and the job succeeded."""
        followed = self._follow(job)
        await self._ask(followed.shell, "pipe-pane -t {pane}")
        if job.spec.auto_close and followed.cause is StopCause.FINISH:
            await self._ask(followed.shell, "if-shell -F -t {pane} '#{{session_attached}}' '' 'kill-session -t {pane}'")
        self._followed.pop(job.run_id or "", None)
        self._places.pop(followed.shell, None)

    async def sweep(self, running: Iterable[Job]) -> None:
        """There are no traces but the sessions, which are the user's."""

    async def processes(self, job: Job) -> list[Consumption]:
        """Its processes, and what they take."""
        return await consumption_of(await self._members(job), None, self._patience)

    async def memory_over(self, job: Job) -> int | None:  # noqa: ARG002
        """Never: when these jobs were started their limit was only what they were counted for."""
        await trio.lowlevel.checkpoint()
        return None

    def report(self, job: Job) -> tuple[bytes, float] | None:  # noqa: ARG002 - part of the protocol
        """An older gflow has told its jobs of no such file."""
        return None

    async def close_terminal(self, job: Job) -> bool:
        """Close the session on the user's server."""
        return await self._ask(_shell_of(job), "kill-session -t {pane}")

    def attach_argv(self, job: Job, *, read_only: bool = False) -> list[str] | None:
        """`tmux attach-session` for the session on the user's server."""
        shell = self._follow(job).shell
        place = self._place(shell) if is_alive(shell) else None
        if place is None:
            return None
        socket, pane = place
        return ["tmux", "-S", socket, "attach-session", "-t", pane, *(["-r"] if read_only else [])]

    def terminals(self, running: Iterable[Job]) -> set[JobId]:
        """Those of the running jobs whose session is there."""
        return {job.id for job in running if self.attach_argv(job) is not None}

    async def close(self) -> None:
        """Nothing is held."""

    def _place(self, shell: Process) -> tuple[str, str] | None:
        """Looked for once: it stays the same."""
        if shell not in self._places:
            self._places[shell] = _place(shell)
        return self._places[shell]

    def _follow(self, job: Job) -> _Followed:
        run_id = job.run_id or ""
        if run_id not in self._followed:
            shell = _shell_of(job)
            self._followed[run_id] = _Followed(shell, name_of(shell.pid) in _SHELLS)
        followed = self._followed[run_id]
        if job.stop is not None and job.stop.cause not in UNASKED:
            followed.cause = job.stop.cause
        return followed

    async def _members(self, job: Job) -> list[Process]:
        return await trio.to_thread.run_sync(self._follow(job).look)

    async def _ask(self, shell: Process, command: str) -> bool:
        """Do a tmux command to the pane, if it is still the shell's; whether it was done."""
        place = await trio.to_thread.run_sync(self._place, shell) if is_alive(shell) else None
        if place is None:
            return False
        socket, pane = place
        leave_mode = f"if-shell -F -t {pane} '#{{pane_in_mode}}' 'send-keys -t {pane} -X cancel'"
        commands = f"{leave_mode} ; {command.format(pane=pane)} ; display-message -p done"
        same = f"#{{==:#{{pane_pid}},{shell.pid}}}"
        server = TmuxServer(Path(socket), self._logs)
        answer = await server.ask("if-shell", "-F", "-t", pane, same, commands, deadline_secs=_CTRL_C_SECS)
        return answer.text == "done"


def _shell_of(job: Job) -> Process:
    """The first process of the session, which the run id names. Raises ValueError."""
    match = _RUN_ID.fullmatch(job.run_id or "")
    if match is None:
        raise ValueError(f"job {job.id} was not started by an older gflow: its run id is {job.run_id!r}")
    return Process(int(match[1]), int(match[2]))


def _owners(pids: Collection[int], followed: Mapping[str, _Followed]) -> dict[int, Owner]:
    for job in followed.values():
        job.running()
    everything = all_processes() if followed else []
    run_ids = {process: run_id for run_id, job in followed.items() for process in job.among(everything)}
    seen = [stat for stat in map(read_stat, pids) if stat is not None and not stat.gone]
    return {stat.process.pid: Owner(stat.process.start_ticks, run_ids.get(stat.process)) for stat in seen}


async def _wait_either(*processes: Process) -> None:
    """Return once one of them is gone."""
    async with trio.open_nursery() as nursery:

        async def wait(process: Process) -> None:
            await wait_process(process)
            nursery.cancel_scope.cancel()

        for process in processes:
            nursery.start_soon(wait, process)


def _exit(cause: StopCause | None, at: float, text: str) -> Exit:
    """gflow's line says `--finish` only after an exit status of 0."""
    return Exit(0 if cause is StopCause.FINISH else None, at, text if cause is None else None)


def _place(shell: Process) -> tuple[str, str] | None:
    """Socket and pane that tmux started the shell in. Blocks, but not for long."""
    told = variables_of(shell.pid, ("TMUX", "TMUX_PANE"))
    socket, pane = told.get("TMUX"), told.get("TMUX_PANE")
    if not socket or not pane or not _PANE.fullmatch(pane):
        return None
    return socket.split(",", 1)[0], pane
