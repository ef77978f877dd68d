"""What `gflowd doctor` finds out about tmux: whether it runs, and how the servers with the terminals of jobs are."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from gflow.daemon import hosting
from gflow.daemon.finding import NOTE, OK, PROBLEM, Finding, Place
from gflow.launch.processes import Process
from gflow.launch.tmux_server import TmuxUnusable, tmux_version
from gflow.launch.tmux_socket import listener_on, listening_paths, servers_of

_SESSION = re.compile(r"gjob-(\d+)(-before-\d+)?")
_OURS = re.compile(r"(?:users/(\d+)/)?tmux-[0-9a-f]{8}\.sock")


def program(install: str) -> Iterator[Finding]:
    """Whether there is a tmux that runs; `install`: how to get one."""
    try:
        path, said = tmux_version()
    except TmuxUnusable as error:
        broken = "does not run" in str(error)
        remedy = "run 'tmux -V' to see; install it anew" if broken else f"for instance: {install}"
        yield Finding(PROBLEM, str(error), remedy)
        return
    yield Finding(OK, f"{said} at {path}")


def servers(place: Place) -> Iterator[Finding]:
    """Servers that live and cannot be reached any more, because somebody has removed their socket."""
    for path, uid in _sockets_in(place):
        found = servers_of({path}, uid).get(path, [])
        there = listener_on(Path(path))
        if found and there is None:
            yield _without_socket(place, path, found.pop(0))
        for server in found:
            if server.pid != there:
                what = f"tmux server {server.pid} is left over: another has its socket {path}"
                yield Finding(NOTE, what, f"once nothing of value runs in it: kill {server.pid}")


def sessions(tmux: list[str], secs: float, *, living: bool) -> list[str]:
    """The names of the sessions of the server that `tmux` calls; living: those in which something runs."""
    listed = ["list-panes", "-a", "-F", "#{session_name} #{pane_dead}"]
    asked = subprocess.run([*tmux, *listed], capture_output=True, text=True, check=False, timeout=secs)
    panes = [line.rpartition(" ") for line in asked.stdout.splitlines()] if asked.returncode == 0 else []
    return list(dict.fromkeys(name for name, _, dead in panes if not (living and dead == "1")))


def unknown(place: Place, server: Path, names: list[str]) -> Iterator[Finding]:
    """Of these sessions those of jobs that no daemon looks after: the one that runs keeps a directory for each of its
    own. A state that was put back, or moved away, leaves such."""
    looked_after = {path.name.partition(".")[0] for path in (place.data_dir / "runs").glob("*.*")}
    for name in names:
        match = _SESSION.fullmatch(name)
        if match is not None and (match[2] or match[1] not in looked_after):
            what = f"something runs in the terminal {name} of a job that the daemon does not know"
            look, end = (f"tmux -S {server} {verb} -t ={name}" for verb in ("attach", "kill-session"))
            yield Finding(NOTE, what, f"its GPUs may be given to others; to see it: {look}; to end it: {end}")


def _sockets_in(place: Place) -> Iterator[tuple[str, int]]:
    """Paths that tmux servers of jobs were bound to, and whose they are."""
    prefix = f"{os.path.abspath(place.socket.parent)}/"
    for path in sorted(listening_paths()):
        match = _OURS.fullmatch(path.removeprefix(prefix)) if path.startswith(prefix) else None
        if match is not None:
            yield path, int(match[1] or os.geteuid())


def _without_socket(place: Place, path: str, server: Process) -> Finding:
    what = f"tmux server {server.pid} lives, but its socket {path} was removed; its jobs go on"
    if hosting.find(place.socket, place.data_dir) is None:
        return Finding(NOTE, what, f"{place.start} has it made anew")
    return Finding(
        NOTE, what, "the next job has it made anew; then see which cleaner takes the sockets of that directory"
    )
