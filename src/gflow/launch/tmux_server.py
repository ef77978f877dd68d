"""The private tmux server all jobs run in: starting it, adopting it, noticing its loss, calling it.

It must outlive the daemon, and know nothing of the daemon's surroundings:

- It runs in the foreground (`-D`) of a session of its own, started through a tiny helper that first makes it a child
  subreaper. Orphans of jobs then become its children, stay findable, and are reaped even where process 1 does not.
- Its environment is made from nothing, no tmux.conf of the user is read, and its working directory is the logs
  directory: all paths tmux ever hands to a shell are short relative names that we made.
- A daemon finds a running server by connecting to its socket; the kernel says who listens there.
- Every client is told never to start a server (`-N`): that one would have the user's configuration.
- A server whose socket somebody has removed is no lost one: it makes another when it is told to (`tmux_socket`).
"""

import logging
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Never

import trio

from gflow.launch.processes import Process, is_alive, read_stat, wait_process
from gflow.launch.tmux_socket import call_back, guard, listener_on, servers_of
from gflow.launch.unit import start_in_unit, unit_name

log = logging.getLogger(__name__)

MIN_VERSION = (3, 2)
"""The first with `new-session -e` and `-N`."""

_MAX_SOCKET_PATH = 107
_START_DEADLINE_SECS = 10.0
_CALL_DEADLINE_SECS = 20.0
_STABLE_SECS = 10.0
_BACKOFF_SECS = (0.0, 0.1, 0.5, 2.0, 10.0, 30.0)
_MAX_OPEN_FILES = 65536
_GUARD_SECS = 600.0
_VERSION_SECS = 5.0

_HELPER = """\
import ctypes, os, resource, signal, sys
tmux, logs, open_files = sys.argv[1], sys.argv[2], int(sys.argv[3])
if os.getpid() != os.getsid(0):
    os.setsid()
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
os.umask(0o077)
os.chdir(logs)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, hard))
os.execv(tmux, ["tmux", *sys.argv[4:]])
"""

_CONFIGURATION = """\
set-option -s exit-empty off
set-option -s exit-unattached off
set-option -s escape-time 25
set-option -s default-terminal screen-256color
set-option -g update-environment ""
set-option -g history-limit 2000
set-option -g remain-on-exit off
set-option -g allow-rename off
set-option -gq remain-on-exit-format "The job has ended. Detach to close this terminal."
set-hook -g client-session-changed 'set-option -w remain-on-exit on'
set-hook -g client-detached {
  if-shell -F '#{||:#{session_attached},#{@keep}}' '' {
    if-shell -F '#{||:#{pane_dead},#{@ended}}' kill-session 'set-option -w remain-on-exit off'
  }
}
"""
"""A terminal somebody looks at stays when its job ends, until the last viewer leaves; `@keep` marks those that stay
on, `@ended` those whose job is over."""


class TmuxUnusable(Exception):
    """tmux cannot be used on this machine; the message is one line for its administrator."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tmux client said: its exit status, and its output with errors, stripped."""

    status: int
    text: str

    @property
    def server_lost(self) -> bool:
        """The server was not there, or went away before it answered."""
        return self.status != 0 and any(sign in self.text for sign in _NO_SERVER)

    @property
    def not_reached(self) -> bool:
        """The server was not there: it was not asked at all."""
        return self.status != 0 and any(sign in self.text for sign in _NOBODY)


_NOBODY = ("no server running", "error connecting")
_NO_SERVER = (*_NOBODY, "server exited", "lost server")


class TmuxServer:
    """One server on one socket. `logs`: its working directory. `own_unit`: systemd is to start it, apart from us."""

    def __init__(self, socket_path: Path, logs: Path, *, own_unit: bool = False) -> None:
        self.socket_path = socket_path
        self._logs = logs
        self._own_unit = own_unit
        self._tmux = "tmux"
        self._environment = clean_environment(os.environ)
        self._running: Process | None = None
        self._up = trio.Event()
        self._gone = trio.Event()
        self._trouble = "it is being started"
        self._leaving = False
        self._mending = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The server's process id, None while there is no server."""
        return self._running.pid if self._running else None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> Never:
        """Keep a server up until cancelled, then leave it running. `started()` once it can be called.

        Raises TmuxUnusable if there cannot be one. Later losses are mended, ever more slowly if they go on.
        """
        self._tmux = await trio.to_thread.run_sync(find_tmux)
        _check_socket_path(self.socket_path)
        await self._ensure()
        task_status.started()
        failures = 0
        while True:
            up_since = trio.current_time()
            await self._wait_lost()
            if self._leaving:
                await trio.sleep_forever()
            failures = 1 if trio.current_time() - up_since > _STABLE_SECS else failures + 1
            while not await self._restored(failures):
                failures += 1

    async def wait_up(self) -> str | None:
        """Wait until there is a server: None, or after a while what is wrong."""
        with trio.move_on_after(_START_DEADLINE_SECS):
            while self._running is None:
                await self._up.wait()
        return None if self._running else self._trouble

    async def wait_gone(self, pid: int) -> None:
        """Wait until the server is not, or no longer, the process `pid`."""
        while self.pid == pid:
            await self._gone.wait()

    def call(self, *arguments: str, stdin: str | None = None, deadline_secs: float = _CALL_DEADLINE_SECS) -> Answer:
        """Run one tmux client. Blocks: call it in a thread. A late answer has status 124.

        Where the server lives and cannot be reached, it is called back and asked once more.
        """
        answer = self._call(*arguments, stdin=stdin, deadline_secs=deadline_secs)
        if answer.not_reached and self._called_back():
            answer = self._call(*arguments, stdin=stdin, deadline_secs=deadline_secs)
        return answer

    def _call(self, *arguments: str, stdin: str | None, deadline_secs: float) -> Answer:
        command = [self._tmux, "-N", "-S", os.fspath(self.socket_path), *arguments]
        try:
            done = subprocess.run(  # noqa: PLW1510 - the status is part of the answer
                command,
                input=None if stdin is None else stdin.encode(),
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=self._environment,
                timeout=deadline_secs,
            )
        except subprocess.TimeoutExpired:
            return Answer(124, f"tmux did not answer within {deadline_secs:g} s")
        except OSError as error:
            return Answer(127, f"tmux cannot be run: {error.strerror}")
        return Answer(done.returncode, done.stdout.decode("utf-8", "replace").strip())

    async def ask(
        self, *arguments: str, stdin: str | None = None, deadline_secs: float = _CALL_DEADLINE_SECS
    ) -> Answer:
        """`call`, in a thread."""
        return await trio.to_thread.run_sync(lambda: self.call(*arguments, stdin=stdin, deadline_secs=deadline_secs))

    async def leave(self) -> None:
        """Let the server end with its last session: at once if there is none. Its end is no loss any more."""
        self._leaving = True
        answer = await self.ask("set-option", "-s", "exit-empty", "on", ";", "list-sessions", "-F", "#{session_name}")
        server = self._running
        if server and not answer.text:
            with trio.move_on_after(2):
                await wait_process(server)
                _reap(server.pid)

    def _called_back(self) -> bool:
        """Whether our server, which lives, can be reached (again). Blocks."""
        server = self._running
        if server is None or not is_alive(server):
            return False
        with self._mending:  # others may have seen the same
            if (there := listener_on(self.socket_path)) is not None:
                return there == server.pid
            back = call_back(server, self.socket_path)
            if back:
                log.warning("somebody removed %s; the tmux server has made it anew", self.socket_path)
                guard(self.socket_path)
            return back

    async def _restored(self, failures: int) -> bool:
        await trio.sleep(_BACKOFF_SECS[min(failures, len(_BACKOFF_SECS)) - 1])
        try:
            await self._ensure()
        except TmuxUnusable as error:
            self._trouble = str(error)
            return False
        return True

    async def _wait_lost(self) -> None:
        if self._running is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_socket)
            await wait_process(self._running)
            nursery.cancel_scope.cancel()
        _reap(self._running.pid)
        self._running = None
        self._up = trio.Event()
        self._gone.set()
        self._gone = trio.Event()
        self._trouble = "it was lost and is being started again"

    async def _keep_socket(self) -> None:
        """See to it that the socket is there, and is no prey for cleaners."""
        while True:
            await trio.sleep(_GUARD_SECS)
            if not self.socket_path.is_socket():
                await trio.to_thread.run_sync(self._called_back)
            guard(self.socket_path)

    async def _ensure(self) -> None:
        """Find a server or start one, and tell it our configuration.

        The one found may be about to leave: then another try starts one.
        """
        for _ in range(3):
            pid = listener_on(self.socket_path)
            if pid is None:
                pid = await trio.to_thread.run_sync(self._found_again)
            if pid is None:
                pid = await self._start()
            stat = read_stat(pid)
            answer = await self.ask("source-file", "-", stdin=_CONFIGURATION)
            if stat is not None and answer.status == 0:
                self._running = stat.process
                guard(self.socket_path)
                self._up.set()
                return
            if not answer.server_lost:
                break
        raise TmuxUnusable(f"the tmux server on {self.socket_path} cannot be used: {answer.text or 'it is gone'}")

    def _found_again(self) -> int | None:
        """A server of an earlier daemon whose socket was removed, once it can be reached; its jobs go on. Blocks."""
        for server in servers_of({os.fspath(self.socket_path)}).get(os.fspath(self.socket_path), ()):
            if call_back(server, self.socket_path):
                log.warning("somebody removed %s; tmux server %d has made it anew", self.socket_path, server.pid)
                return server.pid
            log.error("tmux server %d lives without its socket, and does not make it anew", server.pid)
        return None

    async def _start(self) -> int:
        if self._own_unit:
            pid = await self._start_in_unit()
            if pid is not None:
                return pid
        errors = os.memfd_create("tmux-errors")
        try:
            child = await trio.to_thread.run_sync(self._spawn, errors)
            with trio.move_on_after(_START_DEADLINE_SECS):
                while _reap(child) is False:
                    pid = listener_on(self.socket_path)
                    if pid is not None:
                        return pid
                    await trio.sleep(0.005)
            said = os.pread(errors, 2000, 0).decode("utf-8", "replace").strip().split("\n")[-1]
        finally:
            os.close(errors)
        raise TmuxUnusable(f"the tmux server on {self.socket_path} does not start: {said or 'no reason given'}")

    async def _start_in_unit(self) -> int | None:
        """As `_start`, by systemd; None if it does not do that."""
        trouble = await trio.to_thread.run_sync(start_in_unit, self.socket_path, self._command(), self._environment)
        if trouble is None:
            with trio.move_on_after(_START_DEADLINE_SECS):
                while True:
                    pid = listener_on(self.socket_path)
                    if pid is not None:
                        return pid
                    await trio.sleep(0.005)
            trouble = f"{unit_name(self.socket_path)} does not listen"
        log.warning("jobs share the daemon's unit of systemd, because they get none of their own: %s", trouble)
        return None

    def _command(self) -> list[str]:
        """The helper that becomes the server."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        open_files = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
        tmux = ["-S", os.fspath(self.socket_path), "-f", "/dev/null", "-D"]
        helper = [sys.executable, "-I", "-S", "-c", _HELPER, self._tmux, os.fspath(self._logs), str(open_files)]
        return [*helper, *tmux]

    def _spawn(self, errors: int) -> int:
        return os.posix_spawn(
            sys.executable,
            self._command(),
            self._environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, errors, 2),
            ],
        )


def clean_environment(surroundings: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server and its clients: a UTF-8 locale, and where programs and the user's home are."""
    return {
        "PATH": surroundings.get("PATH") or os.defpath,
        "HOME": surroundings.get("HOME") or "/",
        "LC_ALL": "C.UTF-8",
    }


def find_tmux() -> str:
    """The path of the tmux binary. Raises TmuxUnusable as `tmux_version`."""
    return tmux_version()[0]


def tmux_version() -> tuple[str, str]:
    """The path of the tmux binary, and what it calls itself.

    Raises TmuxUnusable if there is none, if it does not run, or if it is too old.
    """
    path = shutil.which("tmux")
    if path is None:
        raise TmuxUnusable("tmux is not installed: gflow runs every job in it; install tmux 3.2 or newer")
    said = _asked_for_version(path)
    version = re.match(r"tmux (?:next-)?(\d+)\.(\d+)", said)
    if version and (int(version[1]), int(version[2])) < MIN_VERSION:
        raise TmuxUnusable(f"{said} at {path} is too old: install tmux 3.2 or newer")
    return path, said


def _asked_for_version(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "-V"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_SECS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TmuxUnusable(f"tmux at {path} does not run: no answer to 'tmux -V' in {_VERSION_SECS:g} s") from None
    except OSError as error:
        raise TmuxUnusable(f"tmux at {path} does not run: {error.strerror}") from None
    said, complaint = (text.decode("utf-8", "replace").strip() for text in (done.stdout, done.stderr))
    if done.returncode != 0:
        raise TmuxUnusable(f"tmux at {path} does not run: {_last_line(complaint) or f'exit code {done.returncode}'}")
    if not said.startswith("tmux "):
        raise TmuxUnusable(f"{path} is not tmux: 'tmux -V' says '{_last_line(said)[:60]}'")
    return said


def _last_line(text: str) -> str:
    return text.split("\n")[-1]


def _check_socket_path(path: Path) -> None:
    """Raise TmuxUnusable if no server could listen there, or others could put theirs in its place."""
    length = len(os.fsencode(path))
    if length > _MAX_SOCKET_PATH:
        raise TmuxUnusable(
            f"the path of the tmux socket has {length} bytes and may have {_MAX_SOCKET_PATH}: choose a shorter runtime"
            f" directory than {path.parent}"
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.parent.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise TmuxUnusable(f"others may write to the runtime directory {path.parent}: make it yours, with mode 0700")


def _reap(child: int) -> bool:
    """Collect `child` if it has ended and is ours; False if it goes on."""
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:
        return True
