"""The helper process of a user: runs as him, and does for the daemon all that touches what is his.

It is `launch.tmux.Tmux` behind a socket. So whatever a user puts in the place of his files, this process can do no more
to them than he could. It remembers nothing: it leaves when the daemon hangs up, and jobs go on.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from gflow import clock
from gflow.core.model import Exit, Job
from gflow.launch.base import CannotLaunch, LaunchFailed, Start
from gflow.launch.environment import render_environment
from gflow.launch.line import Line, Turn
from gflow.launch.script import Confinement
from gflow.launch.tmux import Tmux
from gflow.launch.tmux_server import TmuxUnusable
from gflow.store.codec import job_from_map
from gflow.users.becoming import NotBecome, check_become, own_keyring
from gflow.users.frames import MOST_FROM_DAEMON, Frames, Gone
from gflow.users.kept import Kept

READY = "ready"
DONE, REFUSED, BROKEN, LATER = "done", "refused", "broken", "later"
CANCEL = "cancel"

_LOGIN = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG")


class Agent:
    """What is done for the daemon, by the name of the message. `confined`: what it keeps a launch to, by run id."""

    def __init__(self, frames: Frames, tmux: Tmux, kept: Kept, confined: dict[str, Confinement]) -> None:
        self._frames = frames
        self._confined = confined
        self._tmux = tmux
        self._kept = kept
        self._sending = trio.Lock()
        self._line = Line()
        self._asked: dict[int, trio.CancelScope] = {}
        self._methods: dict[str, Callable[..., Awaitable[object]]] = {
            "launch": self._launch,
            "wait": self._wait,
            "wait_stranded": tmux.wait_stranded,
            "interrupt": tmux.interrupt,
            "trace": self._trace,
            "discard": self._discard,
            "close_terminal": tmux.close_terminal,
            "attach": self._attach,
            "report": self._report,
        }

    async def serve(self) -> None:
        """Answer until the daemon hangs up."""
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(self._tmux.run)
            except BaseExceptionGroup as group:
                raise _unusable(group) from group
            await self._say(0, READY, os.getpid())
            _say_no_more()
            with contextlib.suppress(Gone):
                while True:
                    serial, method, jobs, *rest = await self._frames.receive()
                    if method == CANCEL:
                        self._cancel(serial)
                    else:
                        self._asked[serial] = trio.CancelScope()
                        known = [job_from_map(job) for job in jobs]
                        nursery.start_soon(self._answer, serial, method, known, rest, self._line.join())
            nursery.cancel_scope.cancel()
        await self._tmux.close()

    def _cancel(self, serial: int) -> None:
        scope = self._asked.get(serial)
        if scope is not None:
            scope.cancel()

    async def _answer(self, serial: int, method: str, jobs: list[Job], rest: list[Any], turn: Turn) -> None:
        with self._asked[serial]:
            try:
                await turn()
                answer = DONE, await self._do(method, jobs, rest)
            except LaunchFailed as failure:
                answer = REFUSED, str(failure)
            except CannotLaunch as trouble:
                answer = LATER, str(trouble)
            except Exception as error:  # noqa: BLE001 - told to the daemon, which has the log
                answer = BROKEN, f"{type(error).__name__}: {error}"
            with contextlib.suppress(Gone):
                await self._say(serial, *answer)
        del self._asked[serial]

    async def _do(self, method: str, jobs: list[Job], rest: list[Any]) -> object:
        match method:
            case "sweep":
                self._kept.sweep(jobs)
                await self._tmux.sweep(jobs)
                return None
            case "terminals":
                return sorted(await trio.to_thread.run_sync(self._tmux.terminals, jobs))
            case _:
                return await self._methods[method](jobs[0], *rest)

    async def _say(self, serial: int, word: str, answer: object) -> None:
        async with self._sending:
            await self._frames.send([serial, word, answer])

    async def _launch(
        self, job: Job, environment: bytes | None, script: bytes | None, confined: list[str | None]
    ) -> object:
        self._kept.need(job)
        cgroup, cpus, within = confined
        self._confined[job.run_id or ""] = Confinement(cgroup, cpus, within=within)
        try:
            await trio.to_thread.run_sync(self._kept.write, job, environment, script)
            start = await self._tmux.launch(job)
        except (LaunchFailed, CannotLaunch, OSError):
            self._kept.drop(job)
            raise
        finally:
            del self._confined[job.run_id or ""]
        return self._started(job, start)

    def _started(self, job: Job, start: Start | None) -> list[object]:
        wrapper = self._tmux.wrapper(job)
        return [
            None if start is None else [start.at, start.boot],
            None if wrapper is None else [wrapper.pid, wrapper.start_ticks],
        ]

    async def _trace(self, job: Job) -> object:
        trace = await self._tmux.trace(job)
        return [trace.value, *self._started(job, self._tmux.started(job))]

    async def _wait(self, job: Job) -> object:
        how: Exit = await self._tmux.wait(job)
        return [how.code, how.at, how.text]

    async def _discard(self, job: Job) -> None:
        await self._tmux.discard(job)
        self._kept.drop(job)

    async def _attach(self, job: Job, read_only: bool) -> object:
        return await trio.to_thread.run_sync(partial(self._tmux.attach_argv, job, read_only=read_only))

    async def _report(self, job: Job) -> object:
        return await trio.to_thread.run_sync(self._tmux.report, job)


def _say_no_more() -> None:
    """Nobody reads what comes on standard error any more; once the pipe were full, writing to it would not end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def _unusable(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _unusable(first) if isinstance(first, BaseExceptionGroup) else first


def _login_environment() -> bytes:
    return render_environment({name: os.environ[name] for name in _LOGIN if name in os.environ})


async def _run(channel: socket.socket, *places: Path) -> None:
    logs, files, sockets = places
    kept = Kept(files / "kept", _login_environment())
    confined: dict[str, Confinement] = {}
    environment, script = partial(kept.path, "environment"), partial(kept.path, "script")
    tmux = Tmux(files, sockets, clock.read, environment, script, shared_logs=logs, confined=confined.__getitem__)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(channel))
    await Agent(Frames(stream, MOST_FROM_DAEMON), tmux, kept, confined).serve()


def _take_channel() -> socket.socket:
    """The connection to the daemon, out of the way of what is started from here."""
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    return channel


def main(words: list[str]) -> None:
    """`UID GID NAME LOGS FILES SOCKETS`; ends with a line of what is wrong if something is."""
    uid, gid, name, *places = words
    try:
        check_become(int(uid), int(gid), name)
        own_keyring()
        channel = _take_channel()
        trio.run(_run, channel, *map(Path, places), strict_exception_groups=True)
    except (NotBecome, TmuxUnusable) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))
