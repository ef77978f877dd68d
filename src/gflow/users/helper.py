"""The daemon's side of a user's helper process: starting one, asking it, and being rid of it.

A helper belongs to the user, who may stop it, kill it or speak in its place. So an answer is never waited for without
something else that ends the waiting, each is looked at before it counts (`frames`), and it can only be about what the
user's own jobs do.
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgpack  # type: ignore[import-untyped]
import trio

import gflow
from gflow.core.model import Job
from gflow.launch.processes import Process, read_stat, real_user_of, wait_process
from gflow.store.codec import job_to_map
from gflow.users import agent
from gflow.users.accounts import Account
from gflow.users.becoming import start_as
from gflow.users.frames import MOST_FROM_HELPER, Frames, Gone, text, value
from gflow.users.places import Places, closed_to_users

log = logging.getLogger(__name__)

START_SECS = 20.0
_LEAVE_SECS = 1.0
_LIBRARIES = [os.path.dirname(os.path.dirname(str(package.__file__))) for package in (gflow, msgpack, trio)]
"""Where the helper finds what it loads; nothing in the surroundings of the user has a say in that."""

_MAIN = "import sys; sys.path[:0] = sys.argv[1].split(':'); from gflow.users.agent import main; main(sys.argv[2:])"

_T = TypeVar("_T")


class HelperLost(Exception):
    """There is no helper, or it went away before it answered; the message is one line."""


class NoHelper(HelperLost):
    """None could be started."""


class Declined(Exception):
    """The helper could not do what it was asked; the message is what the job's owner reads."""


class NotNow(Declined):
    """The helper cannot launch anything just now."""


class Helper:
    """One helper process. `run` serves it; `ask` may be called from any task meanwhile."""

    def __init__(self, account: Account, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.account = account
        self.alive = True
        self._process = process
        self._itself: Process | None = None
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(channel))
        self._frames = Frames(stream, MOST_FROM_HELPER)
        self._sending = trio.Lock()
        self._serial = 0
        self._last_asked = trio.current_time()
        self._waiting: dict[int, trio.MemorySendChannel[tuple[str, Any]]] = {}
        self._called_off: set[int] = set()

    @classmethod
    async def start(
        cls, account: Account, places: Places, open_files: tuple[int, int], *, own_unit: bool = False
    ) -> "Helper":
        """Start one; it can be asked when this returns, once `run` runs. `own_unit`: see `start_as`.

        Raises HelperLost, UnsafePlace, OSError.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                await trio.to_thread.run_sync(places.prepare_for, account)
                program = _program(account, places)
                lang = os.environ.get("LANG")
                begin = partial(start_as, account, program, theirs, open_files, lang, own_unit=own_unit)
                process = await trio.to_thread.run_sync(begin)
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        helper = cls(account, process, ours)
        try:
            await helper._ready()
        except BaseException:
            await helper.leave()
            raise
        return helper

    async def _ready(self) -> None:
        said: Any = None
        try:
            with trio.move_on_after(START_SECS):
                said = await self._frames.receive()
        except Gone:
            said = None
        match said:
            case [0, agent.READY, int() as pid]:
                self._itself = self._known(pid)
        if self._itself is None:
            words = _last_words(self._process)
            raise NoHelper(f"The helper process of '{self.account.name}' does not start: {words}")
        log.debug("helper of %s: pid %d", self.account.name, self._process.pid)

    def _known(self, pid: int) -> Process | None:
        """The process it says it is, if that is a child of the one that was started, and the user's."""
        stat = read_stat(pid)
        ours = stat is not None and self._process.pid in (pid, stat.parent)
        return stat.process if stat and ours and real_user_of(pid) == self.account.uid else None

    @property
    def idle_secs(self) -> float:
        """How long ago it was asked for anything; 0 while an answer is awaited."""
        return trio.current_time() - self._last_asked if not self._waiting else 0.0

    @property
    def stopped(self) -> bool:
        """Whether somebody has stopped it (SIGSTOP), so that no answer will come."""
        stat = read_stat(self._itself.pid) if self._itself is not None else None
        return stat is not None and stat.process == self._itself and stat.state in "Tt"

    async def run(self) -> None:
        """Take its answers until it is gone or this is cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hang_up_with_it)
                await self._listen()
                nursery.cancel_scope.cancel()
        finally:
            await self.leave()

    async def _listen(self) -> None:
        try:
            while True:
                self._take(await self._frames.receive())
        except Gone as gone:
            log.warning("the helper process of %s is gone: %s", self.account.name, gone)

    async def _hang_up_with_it(self) -> None:
        """`runuser` has the other end open, too, and may be stopped: so the end of the connection may not tell."""
        if self._itself is not None:
            await wait_process(self._itself)
        self.hang_up()

    def _take(self, message: Any) -> None:
        match message:
            case [int() as serial, agent.DONE | agent.REFUSED | agent.BROKEN | agent.LATER as word, answer]:
                pass
            case _:
                raise Gone("an answer that makes no sense")
        if serial in self._called_off:
            self._called_off.discard(serial)
        elif serial in self._waiting:
            channel = self._waiting.pop(serial)
            channel.send_nowait((word, answer))
            channel.close()
        else:  # one answer to a question, or reading would be all that the daemon does
            raise Gone("an answer that nobody asked for")

    async def leave(self) -> None:
        """Hang up, which is what it leaves on, and have nobody wait for it."""
        self.alive = False
        waiting, self._waiting = self._waiting, {}
        for channel in waiting.values():
            channel.close()
        self._frames.close()
        with trio.CancelScope(shield=True), contextlib.suppress(subprocess.TimeoutExpired):
            await trio.to_thread.run_sync(self._process.wait, _LEAVE_SECS)
        if self._process.poll() is None:
            self._process.kill()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._process.wait)
        if self._process.stderr is not None:
            self._process.stderr.close()

    async def ask(self, read: Callable[[Any], _T], method: str, jobs: Sequence[Job], *rest: object) -> _T:
        """What it answers, read by `read`. Raises HelperLost, Declined."""
        if not self.alive:
            raise HelperLost(f"The helper process of '{self.account.name}' is gone")
        self._serial += 1
        if method != "terminals":  # which it is asked on behalf of others, too
            self._last_asked = trio.current_time()
        serial = self._serial
        sender, receiver = trio.open_memory_channel[tuple[str, Any]](1)
        self._waiting[serial] = sender
        try:
            await self._send([serial, method, [job_to_map(job) for job in jobs], *rest])
            word, answer = await receiver.receive()
            if word == agent.LATER:
                raise NotNow(value(text, answer))
            if word != agent.DONE:
                raise Declined(value(text, answer))
            return value(read, answer)
        except (Gone, trio.EndOfChannel) as error:
            self.hang_up()
            raise HelperLost(f"The helper process of '{self.account.name}' was lost") from error
        except trio.Cancelled:
            await self._call_off(serial)
            raise

    async def _send(self, message: object) -> None:
        """Whole or not at all: half a message would be the end of all others."""
        async with self._sending:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + START_SECS) as scope:
                await self._frames.send(message)
            if scope.cancelled_caught:
                raise Gone("it does not listen")

    async def _call_off(self, serial: int) -> None:
        if self._waiting.pop(serial, None) is not None and self.alive:
            self._called_off.add(serial)
            with trio.CancelScope(shield=True), contextlib.suppress(Gone):
                await self._send([serial, agent.CANCEL, []])

    def hang_up(self) -> None:
        """It is of no use any more: `run` ends, as its connection does."""
        self.alive = False
        self._frames.close()


def closed_programs() -> list[Path]:
    """What users would need to be let into, so that their helpers could be started."""
    needed = [Path(os.path.realpath(sys.executable)), *(Path(os.path.realpath(place)) for place in _LIBRARIES)]
    return sorted({closed for place in needed if (closed := closed_to_users(place)) is not None})


def _program(account: Account, places: Places) -> list[str]:
    about = [str(account.uid), str(account.gid), account.name, *map(os.fspath, _places_of(account, places))]
    return [sys.executable, "-I", "-c", _MAIN, ":".join(dict.fromkeys(_LIBRARIES)), *about]


def _places_of(account: Account, places: Places) -> tuple[Path, Path, Path]:
    return places.logs, places.files_of(account.uid), places.sockets_of(account.uid)


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """The last line it left, of what it can have said at most."""
    if process.stderr is None:
        return "no reason given"
    os.set_blocking(process.stderr.fileno(), False)
    said = b""
    with contextlib.suppress(BlockingIOError):
        said = os.read(process.stderr.fileno(), 65536)
    lines = said.decode("utf-8", "replace").strip().split("\n")
    return text(lines[-1]) or "no reason given"
