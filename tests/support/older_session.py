"""The tmux sessions of the older gflow: on a server of their own, typed into a shell as it does."""

import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from support.wait import until


class OlderSessions:
    """`directory` is what TMUX_TMPDIR is for everybody who is to find them; `environment` what the shells have."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._environment = {**environment, "TMUX_TMPDIR": str(directory), "SHELL": "/bin/bash", "PS1": "$ "}
        self._environment.pop("TMUX", None)

    def tmux(self, *arguments: str) -> str:
        """What tmux says."""
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return done.stdout.strip()

    def start(self, name: str, job_id: int, command: str, log: Path | None = None, *, bare: bool = False) -> float:
        """Start a job in a session, and return when that was decided, in seconds since the epoch.

        `bare`: as the first versions did, without a shell of its own around it.
        """
        decided = time.time()
        self.tmux("new-session", "-d", "-s", name, "-x", "120", "-y", "40", "bash --norc --noprofile -i")
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            self.tmux("pipe-pane", "-o", "-t", f"={name}:", f"cat >> {shlex.quote(str(log))}")
        line = f"{command} && gcancel --finish {job_id} || gcancel --fail {job_id}"
        if not bare:
            quoted = "".join(f"\\{char}" if char in '\\"$`' else char for char in line)
            line = f'bash -c "{quoted}"'
        self.type(name, line)
        return decided

    def type(self, name: str, line: str) -> None:
        """A line typed into a session."""
        self.tmux("send-keys", "-t", f"={name}:", "-l", line)
        self.tmux("send-keys", "-t", f"={name}:", "Enter")

    def names(self) -> list[str]:
        """The sessions there are."""
        return self.tmux("list-sessions", "-F", "#{session_name}").splitlines()

    def shell(self, name: str) -> int:
        """The process id of a session's shell."""
        return int(self.tmux("display-message", "-p", "-t", f"={name}:", "#{pane_pid}"))

    def close(self) -> None:
        """End the server with all its sessions."""
        self.tmux("kill-server")


def fake_gcancel(directory: Path, command: Sequence[str]) -> str:
    """A PATH on which gcancel is `command`."""
    directory.mkdir(exist_ok=True)
    program = directory / "gcancel"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    program.chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


def children(pid: int) -> list[int]:
    """The processes that have this parent."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path("/proc", name, "stat").read_text()
        except OSError:
            continue
        if int(stat[stat.rindex(")") + 2 :].split()[1]) == pid:
            found.append(int(name))
    return found


def wait_busy(sessions: OlderSessions, name: str) -> None:
    """Return once the shell of a session runs something."""
    until(lambda: children(sessions.shell(name)), f"something in session {name}")
