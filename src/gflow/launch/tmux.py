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
import os
import pwd
import resource
import shutil
import signal as signals
from collections.abc import Callable
from pathlib import Path

import trio

from gflow.core.errors import Impossible
from gflow.core.model import Exit, Job, JobId, Now
from gflow.launch.base import LaunchFailed, Start, Trace
from gflow.launch.outcome import DISK_FULL, HUNG_UP, KILLED, NEVER_RAN, RESTARTED, SERVER_LOST, describe
from gflow.launch.processes import (
    RUN_ID_VARIABLE,
    Process,
    ProcessTable,
    is_alive,
    read_stat,
    run_id_of,
    send,
    wait_process,
)
from gflow.launch.program import program_of
from gflow.launch.run_directory import ENVIRONMENT, WRAPPER, RunDirectory, boot_id
from gflow.launch.script import Places, render_environment, render_wrapper
from gflow.launch.tmux_server import Answer, TmuxServer

_CONCURRENT_LAUNCHES = 4
_LOG_DEADLINE_SECS = 60.0
_LOGGER_START_SECS = 2.0
_SIGNAL_ROUNDS = 5
_LAST_WORD_SECS = 0.2
_BOOT = "boot"


class Tmux:
    """See `base.Launcher`.

    `data_dir` holds logs/ and runs/, `runtime_dir` the server's socket. `environment_file` and `script_file` find
    what the spool keeps under a digest.
    """

    def __init__(
        self,
        data_dir: Path,
        runtime_dir: Path,
        clock: Callable[[], Now],
        environment_file: Callable[[str], Path],
        script_file: Callable[[str], Path],
    ) -> None:
        self._logs = data_dir / "logs"
        self._runs = data_dir / "runs"
        for directory in (self._logs, self._runs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(os.fsencode(os.path.realpath(data_dir))).hexdigest()[:8]
        self._server = TmuxServer(runtime_dir / f"tmux-{name}.sock", self._logs)
        self._clock = clock
        self._environment_file = environment_file
        self._script_file = script_file
        self._sleep = shutil.which("sleep") or "/bin/sleep"
        self._open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._limiter = trio.CapacityLimiter(_CONCURRENT_LAUNCHES)
        self._table = ProcessTable()
        self._wrappers: dict[str, Process | None] = {}
        self._visited: set[str] = set()
        self._boot_noted = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the tmux server up until cancelled. Raises TmuxUnusable if there cannot be one."""
        await self._server.run(task_status=task_status)

    async def launch(self, job: Job) -> Start:
        """Start `job`. Raises LaunchFailed."""
        trouble = await self._server.wait_up()
        if trouble:
            raise LaunchFailed(f"There is no tmux server: {trouble}")
        try:
            directory = self._directory(job)
            answer = await trio.to_thread.run_sync(self._launch, job, directory, limiter=self._limiter)
        except (OSError, Impossible, ValueError) as error:
            raise LaunchFailed(_refusal(error)) from error
        process = self._launched(job, directory, answer)
        return self._start_of(process, directory)

    async def wait(self, job: Job) -> Exit:
        """Wait for the end of the wrapper and of its log."""
        directory = self._directory(job)
        process = self._wrapper(job, directory)
        if process:
            await wait_process(process)
        await self._log_complete(job, directory)
        return self._exit(job, directory, ended_at=self._clock().wall if process else None)

    async def survivors(self, job: Job) -> bool:
        """Whether anything of the job but its wrapper runs."""
        return bool(await self._members(job))

    async def wait_gone(self, job: Job) -> None:
        """Wait for all that runs of the job, and for what that started meanwhile."""
        while survivors := await self._members(job):
            for process in survivors:
                await wait_process(process)

    async def interrupt(self, job: Job) -> None:
        """Type Ctrl-C, whatever the terminal shows; without a terminal, SIGINT to its foreground processes."""
        directory = self._directory(job)
        mark = directory.mark()
        if mark and mark.pane:
            pane = mark.pane
            leave_mode = f"if-shell -F -t {pane} '#{{pane_in_mode}}' 'send-keys -t {pane} -X cancel'"
            keys = f"{leave_mode} ; send-keys -t {pane} C-c ; display-message -p sent"
            answer = await self._server.ask("if-shell", "-F", "-t", pane, f"#{{==:#{{pane_pid}},{mark.pid}}}", keys)
            if answer.text == "sent":
                return
        self._interrupt_foreground(job, directory)

    async def send_signal(self, job: Job, signal: int) -> int:
        """Signal the job's processes, also those that appear meanwhile if it is to end them.

        The wrapper is spared, as it is to record the end, unless nothing else is left to be ended.
        """
        ending = signal in (signals.SIGTERM, signals.SIGKILL)
        reached: set[Process] = set()
        for _ in range(_SIGNAL_ROUNDS if ending else 1):
            fresh = [process for process in await self._members(job) if process not in reached]
            if not fresh:
                break
            for process in fresh:
                _send(process, signal)
            reached.update(fresh)
        if ending and not reached:
            return await self._end_wrapper(job, signal)
        return len(reached)

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
        await trio.to_thread.run_sync(directory.remove)
        self._wrappers.pop(run_id, None)
        self._table.forget(run_id)

    def attach_argv(self, job: Job, *, read_only: bool = False) -> list[str] | None:
        """`tmux attach-session` for the job's session. Asks tmux, which takes some milliseconds."""
        target = f"={session_name(job.id)}"
        if self._server.call("has-session", "-t", target, deadline_secs=2).status != 0:
            return None
        self._visited.add(job.run_id or "")
        argv = ["tmux", "-S", os.fspath(self._server.socket_path), "attach-session", "-t", target]
        return [*argv, "-r"] if read_only else argv

    async def close(self) -> None:
        """Let the server end with its last session."""
        await self._server.leave()

    def log_path(self, job_id: JobId) -> Path:
        """Where the output of a job goes."""
        return self._logs / f"{job_id}.log"

    def _directory(self, job: Job) -> RunDirectory:
        return RunDirectory.of(self._runs, job)

    # --- starting -----------------------------------------------------------------------------------------------

    def _launch(self, job: Job, directory: RunDirectory) -> Answer:
        """All that blocks, in one thread."""
        self._note_boot()
        self._create(job, directory)
        _make_log(self.log_path(job.id), self._clock().wall)
        command = _new_session(job, directory)
        answer = self._server.call(*command)
        if answer.text.startswith("duplicate session"):
            name = session_name(job.id)
            self._server.call("rename-session", "-t", f"={name}", f"{name}-before-{int(self._clock().wall)}")
            answer = self._server.call(*command)
        return answer

    def _create(self, job: Job, directory: RunDirectory) -> None:
        spec = job.spec
        text = self._script_file(spec.script_digest).read_bytes() if spec.script_digest else None
        program = program_of(job, os.fspath(directory.path), text)
        files = list(program.files)
        if spec.environment is None:
            files.append((ENVIRONMENT, render_environment(_minimal_environment())))
            environment = directory.path / ENVIRONMENT
        else:
            environment = self._environment_file(spec.environment)
        places = Places(os.fspath(directory.path), os.fspath(environment), self._sleep, self._open_files)
        directory.create(render_wrapper(job, program, places), files)

    def _launched(self, job: Job, directory: RunDirectory, answer: Answer) -> Process | None:
        """The wrapper after tmux' answer, None if it has ended already. Raises LaunchFailed if there is none.

        A failed call may have had its effect all the same: the mark decides.
        """
        if answer.status != 0 or not answer.text.isdigit():
            if directory.claim():
                raise LaunchFailed(f"tmux could not start it: {answer.text or 'no reason given'}")
            return self._wrapper(job, directory)
        stat = read_stat(int(answer.text))
        alive = stat is not None and stat.parent == self._server.pid and not stat.gone
        process = stat.process if stat and alive else None
        self._remember(job, process)
        return process

    def _start_of(self, process: Process | None, directory: RunDirectory) -> Start:
        now = self._clock()
        if process:
            return Start(now.wall - (now.boot - process.start_boot), process.start_boot)
        mark = directory.mark()
        at = mark.at if mark else now.wall
        return Start(at, now.boot - (now.wall - at))

    # --- finding it again ---------------------------------------------------------------------------------------

    def _wrapper(self, job: Job, directory: RunDirectory) -> Process | None:
        """The wrapper's process, None if it is gone or did not start."""
        run_id = job.run_id or ""
        if run_id not in self._wrappers:
            mark = directory.mark()
            if mark is None or mark.pid is None:
                return None
            stat = read_stat(mark.pid)
            alive = stat is not None and not stat.gone and run_id_of(mark.pid) == run_id
            self._table.register(run_id, mark.pid)
            self._remember(job, stat.process if stat and alive else None)
        return self._wrappers[run_id]

    def _remember(self, job: Job, process: Process | None) -> None:
        self._wrappers[job.run_id or ""] = process
        if process:
            self._table.register(job.run_id or "", process.pid)

    def _trace(self, job: Job) -> Trace:
        directory = self._directory(job)
        if directory.status():
            return Trace.ENDED
        if directory.mark() is None and self._machine_restarted(directory):
            return Trace.ENDED
        if directory.claim():
            return Trace.NEVER_STARTED
        process = self._wrapper(job, directory)
        return Trace.ALIVE if process and is_alive(process) else Trace.ENDED

    def _machine_restarted(self, directory: RunDirectory) -> bool:
        """Whether the machine was restarted since the launch: then what is missing may just not have reached the disk,
        and "never started" cannot be promised."""
        with contextlib.suppress(OSError):
            noted = directory.boot() if directory.path.exists() else (self._runs / _BOOT).read_text(encoding="ascii")
            return noted != boot_id()
        return False

    def _note_boot(self) -> None:
        """Before the first launch, put the boot it is made in on disk."""
        if self._boot_noted:
            return
        with open(os.open(self._runs / _BOOT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(boot_id().encode())
            file.flush()
            os.fsync(file.fileno())
        _fsync_directory(self._runs)
        self._boot_noted = True

    # --- its end ------------------------------------------------------------------------------------------------

    async def _log_complete(self, job: Job, directory: RunDirectory) -> None:
        """Wait for the end of the process that writes the log.

        tmux ends it with the pane. A pane that stays (somebody looks at it, or it is kept) has said all once it is
        dead; then the log writer is ended here as soon as it sleeps, for it sleeps only when it has nothing to write.
        """
        with trio.move_on_after(_LOG_DEADLINE_SECS):
            logger = await self._logger(job, directory)
            pause_secs = 0.0 if job.spec.keep_session else 0.2
            while logger and is_alive(logger):
                with trio.move_on_after(pause_secs):
                    await wait_process(logger)
                    return
                pause_secs = 0.05
                if await self._pane_is_dead(directory) and (stat := read_stat(logger.pid)) and stat.state == "S":
                    send(logger, signals.SIGTERM)

    async def _logger(self, job: Job, directory: RunDirectory) -> Process | None:
        """The process that writes the log, None if it is gone. It says who it is some milliseconds after the launch."""
        with trio.move_on_after(_LOGGER_START_SECS):
            while (pid := directory.logger_pid()) is None:
                if directory.mark() is None:
                    return None
                await trio.sleep(0.002)
            stat = read_stat(pid)
            with contextlib.suppress(OSError):
                if stat and os.path.samefile(f"/proc/{pid}/fd/1", self.log_path(job.id)):
                    return stat.process
        return None

    async def _pane_is_dead(self, directory: RunDirectory) -> bool:
        mark = directory.mark()
        if mark is None or mark.pane is None:
            return False
        answer = await self._server.ask("display-message", "-p", "-t", mark.pane, "#{pane_pid} #{pane_dead}")
        return answer.text == f"{mark.pid} 1"

    def _exit(self, job: Job, directory: RunDirectory, ended_at: float | None) -> Exit:
        status = directory.status()
        if status is None:
            return Exit(None, ended_at or self._last_sign(job, directory), self._cause(directory))
        text = describe(job.spec, _program_name(job), status.code, status.word, _note(job, directory, status.word))
        if status.code == HUNG_UP and self._server_lost(directory):
            text = SERVER_LOST
        return Exit(status.code, status.at, text)

    def _cause(self, directory: RunDirectory) -> str:
        """Why there is no exit status."""
        mark = directory.mark()
        if directory.boot() != boot_id():
            return RESTARTED
        if mark is None:
            return NEVER_RAN
        if mark.pid is None:
            return DISK_FULL
        if self._server_lost(directory):
            return SERVER_LOST
        return DISK_FULL if os.statvfs(self._runs).f_bavail == 0 else KILLED

    def _server_lost(self, directory: RunDirectory) -> bool:
        mark = directory.mark()
        if mark is None or mark.server_pid is None:
            return False
        stat = read_stat(mark.server_pid)
        return self._server.pid not in (None, mark.server_pid) or stat is None or stat.gone

    def _last_sign(self, job: Job, directory: RunDirectory) -> float:
        """The latest moment a job nobody saw ending is known to have lived, seconds since the epoch."""
        mark = directory.mark()
        signs = [mark.at] if mark else []
        with contextlib.suppress(OSError):
            signs.append(self.log_path(job.id).stat().st_mtime)
        return max(signs, default=self._clock().wall)

    # --- its processes ------------------------------------------------------------------------------------------

    async def _members(self, job: Job) -> list[Process]:
        self._wrapper(job, self._directory(job))
        return await self._table.members(job.run_id or "")

    async def _end_wrapper(self, job: Job, signal: int) -> int:
        """Signal a wrapper that is alone; not if it was just about to record the end."""
        process = self._wrapper(job, self._directory(job))
        if process is None:
            return 0
        with trio.move_on_after(_LAST_WORD_SECS):
            await wait_process(process)
        return int(_send(process, signal))

    def _interrupt_foreground(self, job: Job, directory: RunDirectory) -> None:
        process = self._wrapper(job, directory)
        stat = read_stat(process.pid) if process else None
        if stat and stat.process == process and stat.foreground_group > 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(stat.foreground_group, signals.SIGINT)


def session_name(job_id: JobId) -> str:
    """The tmux session of a job; without `.` and `:`, which tmux would change."""
    return f"gjob-{job_id}"


def _new_session(job: Job, directory: RunDirectory) -> list[str]:
    """Session and log in one call. Log and logger are named relative to the server's working directory."""
    name = session_name(job.id)
    log = f"exec >>{job.id}.log; echo $$ >../runs/{directory.path.name}/logger; exec cat"
    keep = [
        ";",
        "set-option",
        "-t",
        f"={name}:",
        "@keep",
        "1",
        ";",
        "set-option",
        "-w",
        "-t",
        f"={name}:",
        "remain-on-exit",
        "on",
    ]
    return [
        *("new-session", "-d", "-s", name, "-x", "160", "-y", "48", "-e", f"{RUN_ID_VARIABLE}={job.run_id}"),
        *("-P", "-F", "#{pane_pid}", "/bin/sh", os.fspath(directory.path / WRAPPER)),
        *(keep if job.spec.keep_session else []),
        *(";", "pipe-pane", "-t", f"={name}:", log),
    ]


def _close_when_left(name: str) -> list[str]:
    unwatched = "#{||:#{session_attached},#{@keep}}"
    target = f"={name}:"
    return [
        "set-option",
        "-t",
        target,
        "@ended",
        "1",
        ";",
        "if-shell",
        "-F",
        "-t",
        target,
        unwatched,
        "",
        f"kill-session -t {target}",
    ]


def _make_log(path: Path, now: float) -> None:
    """An empty log. An earlier one is renamed."""
    secs = int(now)
    while path.exists():
        old = path.with_name(f"{path.name}.old.{secs}")
        secs += 1
        if not old.exists():
            path.rename(old)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


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


def _program_name(job: Job) -> str:
    spec = job.spec
    return "bash" if spec.command is not None else (spec.argv or (f"the interpreter of {spec.script}",))[0]


def _note(job: Job, directory: RunDirectory, word: str | None) -> str | None:
    if word == "conda":
        return directory.conda_output()
    if word == "chdir":
        return "permission denied" if os.path.isdir(job.spec.run_dir) else "no such directory"
    return None


def _refusal(error: Exception) -> str:
    match error:
        case OSError(filename=str() | bytes() | None as name):
            return f"Cannot write or read {os.fsdecode(name or 'its files')}: {error.strerror}"
        case _:
            return str(error)


def _send(process: Process, signal: int) -> bool:
    """Also wakes a stopped process up for SIGTERM: it could not act on it otherwise."""
    with contextlib.suppress(PermissionError):
        sent = send(process, signal)
        if sent and signal == signals.SIGTERM:
            send(process, signals.SIGCONT)
        return sent
    return False


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
