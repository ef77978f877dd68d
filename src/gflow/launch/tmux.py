"""The launcher: every job in a session of its own on a private tmux server.

A launch is one tmux client call, `new-session` and `pipe-pane` together, so that no output is lost, and no user text
is in it: tmux expands formats in directories and names, and eats a trailing `;`. What the user wrote is in the
wrapper, in the run directory.

What happened is read from the kernel and the run directory, never from tmux: the end of a job is the end of its
wrapper's process (a pidfd), and its log is complete when the process that writes it is gone. Both are found again by
a later daemon, so none of the calls relies on an earlier one; what is remembered here only saves looking.
"""

import contextlib
import hashlib
import logging
import os
import pwd
import resource
import shutil
import signal as signals
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from gflow.core.errors import Impossible
from gflow.core.model import Exit, Job, JobId, Now
from gflow.launch.base import CannotLaunch, Consumption, LaunchFailed, Owner, Start, Trace
from gflow.launch.birthmark import mark_of
from gflow.launch.cgroups import Cgroups
from gflow.launch.confined import confined_over
from gflow.launch.consumption import consumption_of, memory_over
from gflow.launch.cpu_sets import CpuSets, usable_cpus
from gflow.launch.ending import SERVER_LOST, exit_of, ran_out
from gflow.launch.log import end_idle, find_writer, make_log, writer_command
from gflow.launch.logout import remedy_for_lost
from gflow.launch.patience import Patience
from gflow.launch.processes import (
    Process,
    ProcessTable,
    Stat,
    birthmark_of,
    is_alive,
    joined,
    read_stat,
    real_user_of,
    send,
    signal_all,
    wait_all_gone,
    wait_process,
)
from gflow.launch.program import PROGRESS_FILE, program_of
from gflow.launch.progress import Report, read_report
from gflow.launch.run_directory import BOOT, WRAPPER, RunDirectory, boot_id
from gflow.launch.script import UNCONFINED, Confinement, Places, render_environment, render_wrapper
from gflow.launch.tmux_server import Answer, TmuxServer

log = logging.getLogger(__name__)

_CONCURRENT_LAUNCHES = 4
_LOG_DEADLINE_SECS = 60.0
_LAST_WORD_SECS = 1.0
_CTRL_C_SECS = 2.0
_ENVIRONMENT = "environment"


def _no_cgroups(_server_pid: int | None) -> None:
    """Limits are watched."""


class Tmux:
    """See `base.Launcher`.

    `data_dir` holds logs/ and runs/, `runtime_dir` the server's socket. `environment_file` and `script_file` find
    what the spool keeps under a digest. `own_unit`: see `TmuxServer`. `cgroups` are those of the jobs of the tmux
    server with this process id, where it may have some. `shared_logs`: logs are there instead, and made by somebody
    else. `confined` tells what keeps a launch to its limits, by run id, where somebody else has seen to that.
    """

    def __init__(
        self,
        data_dir: Path,
        runtime_dir: Path,
        clock: Callable[[], Now],
        environment_file: Callable[[str], Path],
        script_file: Callable[[str], Path],
        *,
        own_unit: bool = False,
        shared_logs: Path | None = None,
        cgroups: Callable[[int | None], Cgroups | None] = _no_cgroups,
        confined: Callable[[str], Confinement] | None = None,
    ) -> None:
        self._logs = shared_logs or data_dir / "logs"
        self._makes_logs = shared_logs is None
        self._runs = data_dir / "runs"
        for directory in (data_dir, *([self._logs] if self._makes_logs else []), self._runs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(os.fsencode(os.path.realpath(data_dir))).hexdigest()[:8]
        self._server = TmuxServer(runtime_dir / f"tmux-{name}.sock", self._logs, own_unit=own_unit)
        self._clock = clock
        self._environment_file = environment_file
        self._script_file = script_file
        self._sleep = shutil.which("sleep") or "/bin/sleep"
        self._open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._limiter = trio.CapacityLimiter(_CONCURRENT_LAUNCHES)
        self._table = ProcessTable()
        self._patience = Patience()
        self._wrappers: dict[str, Process | None] = {}
        self._visited: set[str] = set()
        self._cgroups_of = cgroups
        self._confined = confined
        self._cpu_sets = CpuSets(usable_cpus())
        self._taskset = shutil.which("taskset")
        self._prepared = False
        self._told_of_logout = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the tmux server up until cancelled. Raises TmuxUnusable if there cannot be one."""
        await self._server.run(task_status=task_status)

    async def launch(self, job: Job) -> Start:
        """Start `job`. Raises LaunchFailed, CannotLaunch."""
        trouble = await self._server.wait_up()
        if trouble:
            raise CannotLaunch(f"there is no tmux server: {trouble}")
        try:
            directory = self._directory(job)
            answer = await trio.to_thread.run_sync(self._launch, job, directory, limiter=self._limiter)
        except OSError as error:
            raise LaunchFailed(f"Cannot use {os.fsdecode(error.filename or self._runs)}: {error.strerror}") from error
        except (Impossible, ValueError) as error:
            raise LaunchFailed(str(error)) from error
        return self._start_of(self._launched(job, directory, answer), directory)

    async def wait(self, job: Job) -> Exit:
        """Wait for the end of the wrapper and of its log."""
        directory = self._directory(job)
        process = self._wrapper(job, directory)
        if process:
            await wait_process(process)
        seen_at = self._clock().wall if process else None
        await self._log_complete(job, directory)
        how = exit_of(job, directory, self._server.pid, self.log_path(job.id), seen_at)
        if how.text == SERVER_LOST:
            how = replace(how, text=await self._about_loss(seen=process is not None))
        cgroups = self._cgroups() if job.spec.memory_mb is not None else None
        limit_mb = cgroups.ran_out_at(directory.path.name) if cgroups is not None else None
        return how if limit_mb is None else ran_out(how, limit_mb)

    async def _about_loss(self, *, seen: bool) -> str:
        """What to say of the loss of the server, in the log once."""
        remedy = await trio.to_thread.run_sync(partial(remedy_for_lost, seen=seen))
        text = SERVER_LOST if remedy is None else f"{SERVER_LOST}, as at a logout; for jobs that outlive one: {remedy}"
        if remedy is not None and not self._told_of_logout:
            log.warning("the tmux server of the jobs was lost, as at a logout; for jobs that outlive one: %s", remedy)
            self._told_of_logout = True
        return text

    async def wait_stranded(self, job: Job) -> str:
        """Wait for the end of the server the job was started by. A server that outlives its jobs may leave."""
        directory = self._directory(job)
        mark = directory.mark()
        server_pid = mark.server_pid if mark else self._server.pid  # the mark may still be on its way
        if server_pid is not None:
            await self._server.wait_gone(server_pid)
        process = self._wrapper(job, directory)
        if server_pid is None or not process or not is_alive(process) or directory.record().code is not None:
            await trio.sleep_forever()
        return SERVER_LOST

    def is_over(self, job: Job) -> bool:
        """Whether its wrapper is gone, as far as it has been looked for."""
        run_id = job.run_id or ""
        if run_id not in self._wrappers:
            return False
        process = self._wrappers[run_id]
        return process is None or not is_alive(process)

    async def survivors(self, job: Job) -> bool:
        """Whether anything of the job but its wrapper runs."""
        return bool(await self._members(job))

    async def wait_gone(self, job: Job) -> None:
        """Wait for all that runs of the job, and for what that started meanwhile."""
        await wait_all_gone(lambda: self._members(job))

    async def interrupt(self, job: Job) -> None:
        """Type Ctrl-C, whatever the terminal shows; if tmux does not do it, SIGINT to its foreground processes."""
        directory = self._directory(job)
        mark = directory.mark()
        if mark and mark.pane:
            answer = await self._server.ask(*_type_ctrl_c(mark.pane, mark.pid), deadline_secs=_CTRL_C_SECS)
            if answer.text == "sent":
                return
        process = self._wrapper(job, directory)
        stat = read_stat(process.pid) if process else None
        if stat and stat.process == process and stat.foreground_group > 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(stat.foreground_group, signals.SIGINT)

    async def send_signal(self, job: Job, signal: int) -> int:
        """Signal the job's processes.

        The wrapper is spared, as it is to record the end, unless nothing else is left to be ended.
        """
        process = self._wrapper(job, self._directory(job))
        reached = await signal_all(partial(self._members, job), signal)
        if reached or process is None or signal not in (signals.SIGTERM, signals.SIGKILL):
            return reached
        with trio.move_on_after(_LAST_WORD_SECS):
            await wait_process(process)
        return int(send(process, signal))

    async def owners(self, pids: Collection[int]) -> Mapping[int, Owner]:
        """Whose these processes are."""
        return await self._table.owners(pids)

    async def trace(self, job: Job) -> Trace:
        """Look, and where nothing started make sure that nothing will."""
        return await trio.to_thread.run_sync(self._trace, job)

    def started(self, job: Job) -> Start | None:
        """From the process while it lives, else from its mark."""
        directory = self._directory(job)
        mark = directory.mark()
        if mark is None or mark.pid is None:
            return None
        return self._start_of(self._wrapper(job, directory), directory)

    async def discard(self, job: Job) -> None:
        """Delete the run directory; a terminal that was visited closes once nobody looks at it."""
        directory = self._directory(job)
        run_id = job.run_id or ""
        if run_id in self._visited:
            self._visited.discard(run_id)
            await self._server.ask(*_close_when_left(session_name(job.id)))
        await trio.to_thread.run_sync(self._remove, directory)
        self._cpu_sets.free(run_id)
        self._wrappers.pop(run_id, None)
        self._table.forget(run_id)

    async def sweep(self, running: Iterable[Job]) -> None:
        """Delete the run directories that are not of these jobs."""
        kept = {self._directory(job).path.name for job in running}
        await trio.to_thread.run_sync(self._sweep, kept)

    def _remove(self, directory: RunDirectory) -> None:
        if (cgroups := self._cgroups()) is not None:
            cgroups.remove(directory.path.name)
        directory.remove()

    def _sweep(self, kept: Set[str]) -> None:
        if (cgroups := self._cgroups()) is not None:
            cgroups.sweep(kept)
        for path in self._runs.iterdir():
            if path.is_dir() and path.name not in kept:
                RunDirectory(path).remove()

    async def processes(self, job: Job) -> list[Consumption]:
        """What the job's processes take, without its wrapper, which does nothing."""
        return await consumption_of(await self._members(job), None, self._patience)

    async def memory_over(self, job: Job) -> int | None:
        """What its processes have in memory, if that is too much and its cgroup does not keep all of them from that."""
        name, limit_mb = self._directory(job).path.name, job.spec.memory_mb
        cgroups = self._cgroups()
        if cgroups is not None and cgroups.has(name):
            return await confined_over(cgroups, name, limit_mb, await self._members(job), None, self._patience)
        if limit_mb is None:
            return None
        return await memory_over(await self._members(job), limit_mb << 20, None, self._patience)

    def report(self, job: Job) -> Report | None:
        """From the run directory."""
        return read_report(self._directory(job).path / PROGRESS_FILE)

    async def close_terminal(self, job: Job) -> bool:
        """Close the session, and what was kept of an earlier job with the same id."""
        name = session_name(job.id)
        answer = await self._server.ask("list-sessions", "-F", "#{session_name}")
        names = [known for known in answer.text.split("\n") if known == name or known.startswith(f"{name}-before-")]
        done = [(await self._server.ask("kill-session", "-t", f"={known}")).status == 0 for known in names]
        return any(done)

    def attach_argv(self, job: Job, *, read_only: bool = False) -> list[str] | None:
        """`tmux attach-session` for the job's session. Asks tmux, which takes some milliseconds."""
        target = f"={session_name(job.id)}"
        if self._server.call("has-session", "-t", target, deadline_secs=2).status != 0:
            return None
        self._visited.add(job.run_id or "")
        argv = ["tmux", "-S", os.fspath(self._server.socket_path), "attach-session", "-t", target]
        return [*argv, "-r"] if read_only else argv

    def terminals(self, running: Iterable[Job]) -> set[JobId]:  # noqa: ARG002 - tmux knows
        """The jobs with a session."""
        answer = self._server.call("list-sessions", "-F", "#{session_name}", deadline_secs=2)
        names = answer.text.splitlines() if answer.status == 0 else []
        return {job_id for name in names if (job_id := job_of_session(name)) is not None}

    async def close(self) -> None:
        """Let the server end with its last session."""
        await self._server.leave()

    def log_path(self, job_id: JobId) -> Path:
        """Where the output of a job goes."""
        return self._logs / f"{job_id}.log"

    def _directory(self, job: Job) -> RunDirectory:
        return RunDirectory.of(self._runs, job)

    # Starting.

    def _launch(self, job: Job, directory: RunDirectory) -> Answer:
        """All that blocks, in one thread."""
        self._prepare()
        self._create(job, directory)
        if self._makes_logs:
            make_log(self.log_path(job.id), self._clock().wall)
        command = self._new_session(job, directory)
        answer = self._server.call(*command)
        if answer.text.startswith("duplicate session"):
            name = session_name(job.id)
            self._server.call("rename-session", "-t", f"={name}", f"{name}-before-{int(self._clock().wall)}")
            answer = self._server.call(*command)
        return answer

    def _prepare(self) -> None:
        """Before the first launch: put the boot it is made in on disk, and the environment of jobs that have none.
        Once more if somebody has removed the directory."""
        if self._prepared and self._runs.is_dir():
            return
        self._runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(self._runs / BOOT, boot_id().encode())
        _replace(self._runs / _ENVIRONMENT, render_environment(_minimal_environment()))
        self._prepared = True

    def _create(self, job: Job, directory: RunDirectory) -> None:
        spec = job.spec
        text = self._script_file(spec.script_digest).read_bytes() if spec.script_digest else None
        program = program_of(job, os.fspath(directory.path), text)
        stored = self._environment_file(spec.environment) if spec.environment else self._runs / _ENVIRONMENT
        confinement = self._confinement(job, directory.path.name)
        places = Places(os.fspath(directory.path), os.fspath(stored), self._sleep, self._open_files, confinement)
        directory.create(render_wrapper(job, program, places), program.files)

    def _confinement(self, job: Job, name: str) -> Confinement:
        """Make what keeps the limits of a job. Raises OSError."""
        if self._confined is not None:
            return replace(self._confined(job.run_id or ""), taskset=self._taskset)
        memory_mb, cpus = job.spec.memory_mb, job.spec.cpus
        if memory_mb is None and cpus is None:
            return UNCONFINED
        cgroups = self._cgroups()
        cgroup = None if cgroups is None else os.fspath(cgroups.make(name, memory_mb, cpus))
        listed = None if cpus is None else self._cpu_sets.take(job.run_id or "", cpus)
        return Confinement(cgroup, listed, self._taskset)

    def _cgroups(self) -> Cgroups | None:
        return self._cgroups_of(self._server.pid)

    def _new_session(self, job: Job, directory: RunDirectory) -> list[str]:
        name = session_name(job.id)
        pane = f"={name}:"
        keep = [
            *(";", "set-option", "-t", pane, "@keep", "1"),
            *(";", "set-option", "-w", "-t", pane, "remain-on-exit", "on"),
        ]
        return [
            *("new-session", "-d", "-s", name, "-x", "160", "-y", "48", "-e", f"GFLOW_RUN_ID={job.run_id}"),
            *("-P", "-F", "#{pane_pid}", "/bin/sh", os.fspath(directory.path / WRAPPER)),
            *(keep if job.spec.keep_session else []),
            *(";", "pipe-pane", "-t", pane, writer_command(self.log_path(job.id), directory)),
        ]

    def _launched(self, job: Job, directory: RunDirectory, answer: Answer) -> Process | None:
        """The wrapper after tmux' answer, None if it has ended already. Raises if there is none.

        A failed call may have had its effect all the same: the mark decides.
        """
        if answer.status != 0 or not answer.text.isdigit():
            if directory.claim():
                if answer.not_reached or answer.status in (124, 127):
                    raise CannotLaunch(f"the tmux server cannot be reached: {answer.text}")
                raise LaunchFailed(f"tmux could not start it: {answer.text or 'no reason given'}")
            return self._wrapper(job, directory)
        stat = read_stat(int(answer.text))
        alive = stat is not None and stat.parent == self._server.pid and not stat.gone
        self._wrappers[job.run_id or ""] = stat.process if stat and alive else None
        self._table.register(job.run_id or "", os.geteuid(), int(answer.text))
        return self._wrappers[job.run_id or ""]

    def _start_of(self, process: Process | None, directory: RunDirectory) -> Start:
        now = self._clock()
        if process:
            return Start(now.wall - (now.boot - process.start_boot), process.start_boot)
        mark = directory.mark()
        at = mark.at if mark else now.wall
        return Start(at, now.boot - (now.wall - at))

    # Finding it again.

    def _wrapper(self, job: Job, directory: RunDirectory) -> Process | None:
        """The wrapper's process, None if it is gone or did not start."""
        run_id = job.run_id or ""
        if run_id not in self._wrappers:
            self._table.register(run_id, os.geteuid())
            mark = directory.mark()
            if mark is None or mark.pid is None:
                return None
            stat = read_stat(mark.pid)
            alive = stat is not None and not stat.gone and _is_wrapper(stat, run_id, mark.server_pid)
            self._wrappers[run_id] = stat.process if stat and alive else None
            self._table.register(run_id, os.geteuid(), mark.pid)
            if job.spec.cpus is not None and alive:
                self._cpu_sets.note(run_id, mark.pid)
        return self._wrappers[run_id]

    def wrapper(self, job: Job) -> Process | None:
        """The main process of a launch, None if it is gone or did not start."""
        return self._wrapper(job, self._directory(job))

    async def _members(self, job: Job) -> list[Process]:
        directory = self._directory(job)
        self._wrapper(job, directory)
        found = await self._table.members(job.run_id or "")
        cgroups = self._cgroups()
        return found if cgroups is None else joined(found, cgroups.pids(directory.path.name))

    def _trace(self, job: Job) -> Trace:
        directory = self._directory(job)
        if directory.record().code is not None:
            return Trace.ENDED
        if directory.mark() is None and directory.boot() not in (None, boot_id()):
            return Trace.ENDED  # what is missing may just not have reached the disk: "never started" is no promise
        if directory.claim():
            return Trace.NEVER_STARTED
        process = self._wrapper(job, directory)
        return Trace.ALIVE if process and is_alive(process) else Trace.ENDED

    async def _log_complete(self, job: Job, directory: RunDirectory) -> None:
        """Wait for the end of the process that writes the log.

        tmux ends it with the pane. A pane that stays (somebody looks at it, or it is kept) has said all once it is
        dead, and tmux 3.3 has no command to close its pipe; so the writer is ended here as soon as it has
        nothing left to write.
        """
        with trio.move_on_after(_LOG_DEADLINE_SECS):
            writer = await find_writer(directory, self.log_path(job.id))
            pause_secs = 0.0 if job.spec.keep_session else 0.2
            while writer and is_alive(writer):
                with trio.move_on_after(pause_secs):
                    await wait_process(writer)
                    return
                pause_secs = 0.05
                if await self._pane_is_dead(directory):
                    end_idle(writer)

    async def _pane_is_dead(self, directory: RunDirectory) -> bool:
        mark = directory.mark()
        if mark is None or mark.pane is None:
            return False
        answer = await self._server.ask("display-message", "-p", "-t", mark.pane, "#{pane_pid} #{pane_dead}")
        return answer.text == f"{mark.pid} 1"


def session_name(job_id: JobId) -> str:
    """The tmux session of a job; without `.` and `:`, which tmux would change."""
    return f"gjob-{job_id}"


def job_of_session(name: str) -> JobId | None:
    """The job whose session is called so, None if it is no job's."""
    number = name.removeprefix("gjob-")
    return JobId(int(number)) if number != name and number.isascii() and number.isdigit() else None


def _is_wrapper(stat: Stat, run_id: str, server_pid: int | None) -> bool:
    """Whether a process that has the wrapper's id is the wrapper, and not another one by now.

    Its birthmark tells. As long as it has none, because it has only begun or may not have one, it has that of the tmux
    server, which it is a child of.
    """
    pid = stat.process.pid
    if real_user_of(pid) != os.getuid():
        return False
    mark = birthmark_of(pid)
    if mark == mark_of(run_id):
        return True
    of_server = server_pid is not None and stat.parent == server_pid and stat.session == pid
    return of_server and mark == birthmark_of(stat.parent)


def _type_ctrl_c(pane: str, wrapper_pid: int | None) -> list[str]:
    """Says "sent" if `pane` is still the wrapper's; pane numbers begin anew with every server."""
    leave_mode = f"if-shell -F -t {pane} '#{{pane_in_mode}}' 'send-keys -t {pane} -X cancel'"
    keys = f"{leave_mode} ; send-keys -t {pane} C-c ; display-message -p sent"
    return ["if-shell", "-F", "-t", pane, f"#{{==:#{{pane_pid}},{wrapper_pid}}}", keys]


def _close_when_left(name: str) -> list[str]:
    pane = f"={name}:"
    stays = "#{||:#{session_attached},#{@keep}}"
    return [
        *("set-option", "-t", pane, "@ended", "1"),
        *(";", "if-shell", "-F", "-t", pane, stays, "", f"kill-session -t {pane}"),
    ]


def _minimal_environment() -> dict[str, str]:
    user = pwd.getpwuid(os.geteuid())
    return {
        "PATH": os.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin",
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": user.pw_shell,
        "LANG": os.environ.get("LANG") or "C.UTF-8",
    }


def _replace(path: Path, content: bytes) -> None:
    """Write `path` so that it is on disk, as a whole. Safe from several threads."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
