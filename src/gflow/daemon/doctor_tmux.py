"""What `gflowd doctor` finds out about tmux: whether it runs, and how the servers with the terminals of jobs are."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from gflow.daemon import hosting
from gflow.daemon.finding import NOTE, OK, PROBLEM, Finding, Place
from gflow.launch.processes import Process
from gflow.launch.tmux_server import TmuxUnusable, tmux_version
from gflow.launch.tmux_socket import listener_on, listening_paths, servers_of

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
