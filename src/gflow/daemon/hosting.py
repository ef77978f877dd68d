"""Starting and stopping a daemon in the background, and asking one how it is.

A daemon is hosted by systemd if its unit is installed (`gflowd service install`), else in the tmux session
`gflow_server` of the user's own tmux server, where `tmux attach -t gflow_server` shows its log, and without which it
goes on; where that is not to be had, as a detached process. That is so for a second daemon, of another data directory,
and where the user's tmux server cannot be started; where there is no tmux at all, it is what the daemon says why it
cannot do without. Of both kinds the log is `gflowd.log` in the data directory, too.
"""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from gflow.daemon.peer import peer_of
from gflow.daemon.units import SERVICE, SOCKET, Host, NoManager, UnitFailed

SESSION = "gflow_server"
LOG = "gflowd.log"
START_SECS = 15.0
STOP_SECS = 30.0
ANSWER_SECS = 5.0
RELOAD_SECS = 30.0
GPU_SECS = 10.0
TMUX_SECS = 5.0
_STAYING = ("/bin/sh", "-c", 'trap "" HUP; exec "$@"', "gflowd")
"""How a daemon begins that stays when its terminal goes. Jobs have no `TMUX`, so a plain `tmux kill-session` in one
means the user's own server, where the daemon's session may be the only one there is."""

LAST_STATUS_SECS = 1.0

_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
_NO_COMPLAINT = re.compile(r"\S+ \S+ (INFO|DEBUG) |\{.*\"level\": \"(info|debug)\"")


class HostingFailed(Exception):
    """The daemon could not be started or stopped; the message says why and where to look."""


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon: its pid, and `/health` and `/status` if it answers.

    The pid is what the daemon says, else who has its data directory, else who listens, as the kernel says. The last is
    systemd where that made the socket, and nobody to be stopped: then it is 0.
    """

    pid: int
    health: dict[str, Any] | None
    status: dict[str, Any] | None


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, timeout_secs: float = ANSWER_SECS) -> None:
        super().__init__("gflowd", timeout=timeout_secs)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def find(path: Path, data_dir: Path) -> Running | None:
    """The daemon on this socket, or the one that has the data directory though its socket is gone, None if there is
    neither. One that systemd would start if we called is not there yet."""
    host = _host_of(path)
    found = _listening(path) if host is None or host.main_pid() or not host.listens() else None
    if found is not None and found.health is not None:
        return found
    from gflow.store.lock import holder  # only a daemon in trouble needs the store

    pid = holder(data_dir)
    if found is None:
        return Running(pid, None, None) if pid is not None else None
    return Running(pid or (found.pid if host is None else host.main_pid()), None, None)


def elsewhere(path: Path, data_dir: Path) -> str | None:
    """Where the daemon that has the data directory listens, if that is not here."""
    listens = socket_of(data_dir)
    return listens if listens is not None and os.path.realpath(listens) != os.path.realpath(path) else None


def socket_of(data_dir: Path) -> str | None:
    """Where the daemon that has the data directory has said it listens; None if there is none."""
    from gflow.store.lock import socket_of_holder  # only where the settings do not tell

    return socket_of_holder(data_dir)


def forget(data_dir: Path) -> None:
    """Have commands not wait for the daemon that had the data directory: it was stopped for good."""
    from gflow.store.lock import forget as forget_holder  # only once something has been stopped

    forget_holder(data_dir)


def _host_of(path: Path) -> Host | None:
    """The manager that listens on this socket for a daemon."""
    for host in (Host(), Host(system=True)):
        if host.installed and os.path.realpath(host.socket) == os.path.realpath(path):
            return host
    return None


def _listening(path: Path) -> Running | None:
    """The daemon on this socket. Does not touch the lock, which one that is just starting is about to take."""
    with contextlib.closing(_UnixConnection(path)) as connection:
        try:
            connection.connect()
        except OSError:
            return None
        pid = peer_of(connection.sock).pid
        try:
            health = _get(connection, "/health")
            return Running(health.get("pid", pid), health, _get(connection, "/status"))
        except (OSError, HTTPException, ValueError):
            return Running(pid, None, None)


def _get(connection: HTTPConnection, path: str) -> dict[str, Any]:
    connection.request("GET", path)
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    return found


def failure(path: Path) -> str | None:
    """Why the unit that is to serve this socket does not; None if there is none, or it is only not running."""
    host = _host_of(path)
    return host.failure() if host is not None else None


def start(before: Sequence[str], after: Sequence[str], path: Path, data_dir: Path, *, system: bool = False) -> Running:
    """Host `gflowd` with arguments `before` and `after` the word `run`; return once it answers on `path`.

    system: it is to serve all users.

    Raises HostingFailed.
    """
    host = _host_of(path)
    if host is not None:
        return _start_in_unit(host, before, after, path)
    where = ["--socket", os.fspath(path), "--log-file", os.fspath(data_dir / LOG)]
    command = [*_run(before, after, system=system), *where]
    hosted = _start_in_tmux(command) or _start_detached(command, data_dir)
    deadline = time.monotonic() + START_SECS
    pause = 0.02
    while time.monotonic() < deadline:
        running = _listening(path)
        if running is not None and running.health is not None:
            return running
        if not hosted.alive():
            break
        select.select([], [], [], pause)
        pause = min(pause * 1.5, 0.25)
    number, words = hosted.signal, hosted.last_words()
    raise HostingFailed(f"gflowd did not start; {_ended_by(number) if number else words}")


def _ended_by(number: int) -> str:
    """About a daemon that a signal has ended, which leaves no word of why."""
    from gflow.gpu import aside  # only one that has crashed needs it

    name = signal.Signals(number).name if number in signal.valid_signals() else "?"
    what = f"it was ended by signal {number} ({name})"
    seen = aside.look(GPU_SECS) if number in _CRASHES else None
    if isinstance(seen, aside.Crash):
        return f"{what} while it looked for GPUs: {seen.trouble}; see gflowd doctor"
    return f"{what}; see dmesg and gflowd doctor"


def program() -> tuple[str, ...]:
    """How the command line of a daemon begins.

    Nothing is imported from where `up` was called: that may be anybody's.
    """
    return sys.executable, "-P", "-m", "gflow.cli.gflowd"


def _run(before: Sequence[str], after: Sequence[str], *, system: bool) -> list[str]:
    return [*program(), *before, "run", *(["--system"] if system else []), *after]


def _start_in_unit(host: Host, before: Sequence[str], after: Sequence[str], path: Path) -> Running:
    """Have systemd start its unit, with these options if there are any."""
    given = {name: value for name, value in os.environ.items() if name.startswith("GFLOW_DAEMON_")}
    try:
        host.vary(_run(before, after, system=host.system) if before or after or given else None, given)
        host.ask("reset-failed", SERVICE, SOCKET)
        host.ask("start", SOCKET, SERVICE)
    except NoManager as error:
        raise HostingFailed(f"gflowd did not start; {error}") from error
    except UnitFailed as error:
        raise HostingFailed(f"gflowd did not start; {host.last_words() or error}") from error
    running = _listening(path)
    if running is None:
        raise HostingFailed(f"gflowd was started by systemd, but nobody listens on {path}")
    return running


class _InTmux:
    """A daemon in a session of the user's tmux server."""

    def __init__(self, tmux: str) -> None:
        self._tmux = tmux

    def alive(self) -> bool:
        # remain-on-exit keeps the pane of a daemon that ended, so that its last words can be read
        return self._pane("#{pane_dead}") == "0"

    @property
    def signal(self) -> int:
        """The signal the daemon was ended by, 0 if by none (or if tmux is too old to tell)."""
        deadline = time.monotonic() + LAST_STATUS_SECS
        while time.monotonic() < deadline:
            told = self._pane("#{pane_pid},#{pane_dead_status},#{pane_dead_signal}") or ",,"
            pid, status, number = told.split(",")
            if status or number:
                return int(number) if number.isdigit() else 0
            if (signal_ := _signal_of_zombie(pid)) is not None:  # a busy tmux may not hear of the end of its child
                return signal_
            select.select([], [], [], 0.02)  # the terminal is closed a moment before the process is gone
        return 0

    def hosts(self, pid: int) -> bool:
        """Whether the process belongs to the session."""
        with contextlib.suppress(ProcessLookupError):
            return self._pane("#{pane_pid}") == str(os.getsid(pid))
        return False

    def close(self) -> None:
        self._ask("kill-session", "-t", f"={SESSION}")

    def _pane(self, what: str) -> str | None:
        asked = self._ask("list-panes", "-t", f"={SESSION}:", "-F", what)
        return asked.strip() if asked is not None else None

    def last_words(self) -> str:
        # from the start of the history: tmux scrolls when it says that the pane is dead
        shown = self._ask("capture-pane", "-p", "-J", "-S", "-", "-t", f"={SESSION}:") or ""
        self.close()
        lines = [line for line in shown.splitlines() if line.strip() and not line.startswith("Pane is dead")]
        return _said(lines)

    def _ask(self, *words: str) -> str | None:
        return _asked([self._tmux, *words])


class _Detached:
    """A daemon that is a process of its own session."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def signal(self) -> int:
        """The signal the daemon was ended by, 0 if by none."""
        return max(0, -(self._process.poll() or 0))

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return f"{_said(lines)} (log: {self._log})"


def _signal_of_zombie(pid: str) -> int | None:
    """The signal that ended a process for whose end nobody has asked yet, 0 for none, None if it is no such process."""
    try:
        fields = Path("/proc", pid or "0", "stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return None
    return int(fields[49]) & 0x7F if fields[0] == b"Z" else None  # exit_code of proc(5), as wait(2) tells it


def _said(lines: Sequence[str]) -> str:
    """The last line that may be a reason: what was logged on the way is none."""
    lines = [line for line in lines if not _NO_COMPLAINT.match(line)]
    return lines[-1].strip().removeprefix("gflowd: ") if lines else "it left no word"


def _asked(command: Sequence[str]) -> str | None:
    """What a command says, None if it fails or does not answer in time."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TMUX_SECS)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None


def _start_in_tmux(command: Sequence[str]) -> _InTmux | None:
    """Start in tmux; None if there is no tmux to be had, or the session's name is taken by something that runs."""
    tmux = shutil.which("tmux")
    if tmux is None or _asked([tmux, "-V"]) is None:
        return None  # the daemon itself says what is wrong with it
    hosted = _InTmux(tmux)
    if hosted.alive():
        return None
    hosted.close()
    kept = [f"-e{name}={value}" for name, value in os.environ.items() if _is_for_daemon(name)]
    options = [";", "set-option", "-w", "-t", f"={SESSION}:", "remain-on-exit", "on"]
    made = _asked([tmux, "new-session", "-d", "-s", SESSION, *kept, *_STAYING, *command, *options])
    return hosted if made is not None else None


def _is_for_daemon(name: str) -> bool:
    """Whether a variable goes on to a daemon in tmux: by its command line, which is for everybody to see."""
    return name in ("HOME", "PATH", "LANG") or (name.startswith(("GFLOW_", "XDG_")) and name != "GFLOW_TOKEN")


def _start_detached(command: Sequence[str], data_dir: Path) -> _Detached:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = data_dir / LOG
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
    finally:
        os.close(output)
    return _Detached(process, log)


def arguments_of(pid: int) -> list[str]:
    """What a daemon was started with before the word `run`, which is about its file and its log."""
    words = _command_of(pid)
    if "run" in words:
        words = words[: words.index("run")]
    named = [place for place, word in enumerate(words) if os.path.basename(word) in ("gflowd", "gflow.cli.gflowd")]
    return words[named[0] + 1 :] if named else []


def flags_of(pid: int) -> dict[str, str]:
    """The flags a daemon was started with, but for its socket and log; empty if it cannot be told."""
    words = _command_of(pid)
    given = words[words.index("run") + 1 :] if "run" in words else []
    flags: dict[str, str] = {}
    while given:
        name, equals, value = given.pop(0).partition("=")
        if not equals and given and not given[0].startswith("--"):
            value = given.pop(0)
        flags[name.removeprefix("--").replace("-", "_")] = value
    return {name: value for name, value in flags.items() if name not in ("socket", "log_file")}


def _command_of(pid: int) -> list[str]:
    """The command line of a process; empty if it cannot be told."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
    except OSError:
        return []


def stop(path: Path, data_dir: Path) -> int | None:
    """Stop the daemon on this socket, wait until it is gone, return its pid; None if there was none.

    Raises HostingFailed.
    """
    running = find(path, data_dir)
    if running is None:
        return None
    host = _host_of(path)
    if host is not None and host.main_pid() == running.pid:
        try:
            host.ask("stop", SOCKET, SERVICE)  # the socket, too, or the next command would start it again
        except UnitFailed as error:
            raise HostingFailed(str(error)) from error
        return running.pid
    session = _session_of(running.pid)
    if not _end(running.pid):
        raise HostingFailed(f"gflowd (pid {running.pid}) is still there {STOP_SECS:.0f} s after SIGTERM")
    if session is not None:
        session.close()
    return running.pid


def remedy_at_logout(pid: int) -> str | None:
    """What to run so that a daemon of ours, and its jobs, outlive a logout; None if they do, or nobody knows."""
    from gflow.launch import logout  # only where a daemon was started

    return logout.remedy(pid)


def reload(path: Path) -> dict[str, list[str]]:
    """Have the daemon on this socket read its configuration again; what that changed. Raises HostingFailed."""
    changed: dict[str, list[str]] = _post(path, "/reload")
    return changed


def replace(path: Path) -> dict[str, Any]:
    """Let the program that is installed now take the daemon's place; its `/status`. Raises HostingFailed."""
    before = _post(path, "/replace")["started_at"]
    deadline = time.monotonic() + RELOAD_SECS
    while time.monotonic() < deadline:
        running = _listening(path)
        if running is None:
            break
        if running.status is not None and running.status["started_at"] != before:
            return running.status
        select.select([], [], [], 0.05)
    raise HostingFailed("gflowd left, and no other has taken its place; see its log, and start it with: gflowd up")


def _post(path: Path, route: str) -> Any:
    with contextlib.closing(_UnixConnection(path, RELOAD_SECS)) as connection:
        try:
            connection.request("POST", route)
            answer = connection.getresponse()
            told = json.loads(answer.read())
        except FileNotFoundError:
            raise HostingFailed(f"gflowd is not running (nobody listens on {path})") from None
        except (OSError, HTTPException, ValueError) as error:
            raise HostingFailed(f"gflowd does not answer on {path}: {error}") from None
    if answer.status >= 400:
        raise HostingFailed(told.get("error", f"the answer was {answer.status}"))
    return told


def _end(pid: int) -> bool:
    """SIGTERM; whether the process is gone within `STOP_SECS`."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        gone, _, _ = select.select([descriptor], [], [], STOP_SECS)
    except ProcessLookupError:
        return True
    except PermissionError:
        raise HostingFailed(f"gflowd (pid {pid}) belongs to another user") from None
    finally:
        os.close(descriptor)
    return bool(gone)


def _session_of(pid: int) -> _InTmux | None:
    """The tmux session that hosts this daemon, if it is hosted so."""
    tmux = shutil.which("tmux")
    return _InTmux(tmux) if tmux is not None and _InTmux(tmux).hosts(pid) else None
