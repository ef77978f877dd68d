"""The units of systemd that host the daemon: their text, and whether and how they are installed.

For a user, `gflowd.service` and `gflowd.socket` in `~/.config/systemd/user`; for all users of a machine the same two in
`/etc/systemd/system`, run by root. Whoever calls the socket starts the daemon. Both live apart from the jobs: the tmux
server gets a unit of its own (`launch/unit.py`), so nothing that is done to the daemon's unit reaches a job.

systemd takes a socket's path from whoever listens there. So the socket's unit first asks whether another daemon has the
place (`gflowd service vacant`), and does not start if so: that one is not cut off from everybody.

`gflowd up` with options writes a drop-in to the runtime directory, which lasts until the next `up` or the next boot.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SERVICE, SOCKET = "gflowd.service", "gflowd.socket"
_DROP_IN = "gflowd.service.d/up.conf"
_KEPT = ("PATH", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_CALL_SECS = 90.0
_STATE = "ActiveState,SubState,StatusText,UnitFileState,NRestarts,ExecMainCode,ExecMainStatus"
_UNREACHABLE = ("Failed to connect to", "System has not been booted with systemd")
"""How systemctl begins to say that there is nobody to ask."""

_SERVICE_TEXT = """\
[Unit]
Description=gflow job scheduler{for_whom}
Documentation=man:gflowd(1)
Requires=gflowd.socket
After=gflowd.socket
# A daemon that cannot start says why in its log; starting it for ever would only bury that.
StartLimitIntervalSec=120
StartLimitBurst=6

[Service]
Type=notify
ExecStart={command}
ExecReload={reload}
{environment}Restart=on-failure
RestartSec=1
# A large state is read before the daemon is ready; answers, launches and deliveries get their time at the end.
TimeoutStartSec=300
TimeoutStopSec=60
# The scheduler itself gives the sign of life.
WatchdogSec=60
# The daemon alone: should jobs ever be in this unit, because systemd gave them none of their own, they go on.
KillMode=process
OOMPolicy=continue
SyslogIdentifier=gflowd
{for_all}UMask=0077
# No sandbox: it would keep the programs of [[notifications.commands]] from what they need, as sendmail its group, and
# whoever can call this daemon runs what he likes anyway. Jobs that systemd starts in another unit would not notice;
# those of a daemon for all users, which are started from here, would.

[Install]
WantedBy={wanted_by}
Also=gflowd.socket
"""

_FOR_ALL_TEXT = """\
# Rather a job than the daemon of everybody; what becomes a user takes it off.
OOMScoreAdjust=-500
"""
"""Only root may lower it."""

_SOCKET_TEXT = """\
[Unit]
Description=Socket of the gflow job scheduler{for_whom}
Documentation=man:gflowd(1)

[Socket]
# systemd would take the path from a daemon that serves there, and could not take its data from it.
ExecStartPre={vacant}
{environment}ListenStream={path}
SocketMode={mode}
DirectoryMode={directory_mode}
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""


_BY_SIGNAL = ("2", "3")
"""ExecMainCode of what was killed, and of what left a core: CLD_KILLED, CLD_DUMPED."""


class UnitFailed(Exception):
    """systemd did not do what it was asked; the message is one line."""


class NoManager(UnitFailed):
    """There is no systemd to ask."""


@dataclass(frozen=True, slots=True)
class Host:
    """A service manager: that of a user, or that of the machine (`system`)."""

    system: bool = False

    @property
    def directory(self) -> Path:
        """Where units are installed."""
        if self.system:
            return Path("/etc/systemd/system")
        return Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) / "systemd/user"

    @property
    def installed(self) -> bool:
        """Whether the daemon's unit is there."""
        return (self.directory / SERVICE).exists()

    @property
    def socket(self) -> Path:
        """The socket that the manager listens on for the daemon."""
        if self.system:
            return Path("/run/gflow/gflowd.sock")
        return _runtime_dir() / "gflow/gflowd.sock"

    def install(self, program: Sequence[str], options: Sequence[str], environ: Mapping[str, str]) -> list[Path]:
        """Write the units; returns the files. Command lines of gflowd begin with `program`; `options` are of `run`."""
        kept = {name: environ[name] for name in _KEPT if environ.get(name)}
        self.directory.mkdir(parents=True, exist_ok=True)
        files = {
            SERVICE: service_text(program, options, kept, system=self.system),
            SOCKET: socket_text(program, kept, system=self.system),
        }
        for name, text in files.items():
            (self.directory / name).write_text(text)
        return [self.directory / name for name in files]

    def uninstall(self) -> list[Path]:
        """Remove the units; returns the files there were."""
        files = [path for name in (SERVICE, SOCKET) if (path := self.directory / name).exists()]
        for path in (*files, self._drop_in):
            path.unlink(missing_ok=True)
        return files

    def remove(self) -> list[Path]:
        """Stop the daemon and its socket, and uninstall the units; returns the files there were. Raises UnitFailed."""
        with contextlib.suppress(UnitFailed):
            self.ask("reset-failed", SOCKET, SERVICE)  # or systemd remembers them for that; it may know neither
        self.ask("disable", "--now", SOCKET, SERVICE)
        files = self.uninstall()
        self.ask("daemon-reload")
        return files

    def vary(self, command: Sequence[str] | None, environ: Mapping[str, str]) -> None:
        """Have the daemon run by `command`, with these variables, until the next boot; None: as installed."""
        if command is None:
            self._drop_in.unlink(missing_ok=True)
        else:
            self._drop_in.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lines = ["[Service]", "ExecStart=", f"ExecStart={command_line(command)}", *_environment(environ)]
            self._drop_in.write_text("\n".join(lines) + "\n")
        self.ask("daemon-reload")

    @property
    def _drop_in(self) -> Path:
        return (Path("/run/systemd/system") if self.system else _runtime_dir() / "systemd/user") / _DROP_IN

    def ask(self, *words: str) -> str:
        """Run systemctl; returns what it prints. Raises UnitFailed."""
        systemctl = shutil.which("systemctl")
        if systemctl is None:
            raise UnitFailed(f"this machine has no systemd (systemctl is not installed); without it: {self.by_hand}")
        command = [systemctl, *([] if self.system else ["--user"]), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_CALL_SECS)
        except subprocess.TimeoutExpired:
            raise UnitFailed(f"systemctl {' '.join(words)} took longer than {_CALL_SECS:.0f} s") from None
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            if any(line.startswith(_UNREACHABLE) for line in said):
                raise NoManager(self._without_manager())
            raise UnitFailed(f"systemctl {' '.join(words)}: {said[0]}")
        return done.stdout

    def _without_manager(self) -> str:
        if self.system or not runs_systemd():
            return f"this machine runs no systemd that could be asked; without it: {self.by_hand}"
        user = pwd.getpwuid(os.geteuid()).pw_name
        return f"no systemd of {user} runs here: log in anew (su starts none), or run: loginctl enable-linger {user}"

    @property
    def by_hand(self) -> str:
        """How a daemon is started that no service manager keeps."""
        return "gflowd run --system" if self.system else "gflowd up"

    def state(self) -> dict[str, str]:
        """What the manager knows of the daemon's unit, by the names of systemd. Raises UnitFailed."""
        told = self.ask("show", f"--property={_STATE}", SERVICE)
        return dict(line.partition("=")[::2] for line in told.splitlines())

    def failure(self) -> str | None:
        """Why the daemon does not run though it was started, None if it was not or nobody knows."""
        try:
            state = self.state()
        except UnitFailed:
            return None
        gave_up, tries = state["ActiveState"] == "failed", state["SubState"] == "auto-restart"
        if not (gave_up or tries):
            return None
        what_now = "systemd does not try again by itself" if gave_up else "systemd tries again"
        return f"{SERVICE} has failed: {self._end_of(state)}; {what_now}"

    def _end_of(self, state: Mapping[str, str]) -> str:
        """How the daemon ended the last time: what ended it, or what it said."""
        number = state.get("ExecMainStatus", "")
        if state.get("ExecMainCode") not in _BY_SIGNAL or not number.isdigit():
            return self.last_words()
        known = [one.name for one in signal.Signals if one == int(number)]
        return f"it was ended by {known[0] if known else f'signal {number}'}"

    def main_pid(self) -> int:
        """The process id of the daemon in the unit, 0 if it does not run there or nobody knows."""
        try:
            return int(self.ask("show", "--property=MainPID", "--value", SERVICE).strip() or 0)
        except (UnitFailed, ValueError):
            return 0

    def listens(self) -> bool:
        """Whether the manager has the socket, so that whoever calls there starts the daemon, or if nobody knows."""
        try:
            return self.ask("show", "--property=ActiveState", "--value", SOCKET).strip() == "active"
        except UnitFailed:
            return True

    def runs(self, unit: str, pid: int) -> bool:
        """Whether the process is the main one of that unit."""
        try:
            return self.ask("show", "--property=MainPID", "--value", unit).strip() == str(pid)
        except UnitFailed:
            return False

    def last_words(self) -> str:
        """The last line the daemon left in the journal."""
        journal = shutil.which("journalctl")
        if journal is None:
            return "see the journal"
        unit = f"--unit={SERVICE}" if self.system else f"--user-unit={SERVICE}"
        command = [journal, "--quiet", "--output=cat", "--lines=20", unit]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_CALL_SECS)
        lines = [line for line in done.stdout.splitlines() if line.startswith("gflowd: ")]
        return lines[-1].removeprefix("gflowd: ") if lines else f"see journalctl {unit}"


def service_text(program: Sequence[str], options: Sequence[str], environ: Mapping[str, str], *, system: bool) -> str:
    """The text of `gflowd.service`."""
    return _SERVICE_TEXT.format(
        for_whom=" for all users" if system else "",
        command=command_line([*program, "run", *options]),
        reload=command_line([*program, "reload", *(("--socket", str(Host(system=True).socket)) if system else ())]),
        environment="".join(f"{line}\n" for line in _environment(environ)),
        for_all=_FOR_ALL_TEXT if system else "",
        wanted_by="multi-user.target" if system else "default.target",
    )


def socket_text(program: Sequence[str], environ: Mapping[str, str], *, system: bool) -> str:
    """The text of `gflowd.socket`."""
    return _SOCKET_TEXT.format(
        for_whom=" for all users" if system else "",
        vacant=command_line([*program, "service", "vacant", *(("--system",) if system else ())]),
        environment="".join(f"{line}\n" for line in _environment(environ)),
        path="/run/gflow/gflowd.sock" if system else "%t/gflow/gflowd.sock",
        mode="0666" if system else "0600",
        directory_mode="0755" if system else "0700",
    )


def command_line(words: Sequence[str]) -> str:
    """A command as ExecStart has it (systemd.service(5)): quoted, with nothing left for systemd to fill in."""
    return " ".join(_quoted(word.replace("$", "$$")) for word in words)


def _environment(environ: Mapping[str, str]) -> list[str]:
    return [f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(environ.items())]


def _quoted(text: str) -> str:
    """In double quotes, with C escapes; `%` begins a specifier of systemd and is doubled."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{text}"'


def _runtime_dir() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")


def runs_systemd() -> bool:
    """Whether systemd is what starts things on this machine."""
    return shutil.which("systemctl") is not None and Path("/run/systemd/system").is_dir()


def lingers(user: str) -> bool:
    """Whether the user's manager, and with it his daemon and jobs, go on when he logs out."""
    return Path("/var/lib/systemd/linger", user).exists()
