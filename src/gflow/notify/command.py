"""A program that is run for every event, with the JSON on its standard input.

It has its own session, so that it can be ended with all it started: SIGTERM when its time is up, SIGKILL a moment
later. What it prints is read and thrown away beyond a bound, so that it is never stuck for writing much.
"""

import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from gflow.core.stops import signal_name
from gflow.notify.base import Delivery, DeliveryFailed
from gflow.notify.formats import addressed, as_json, one_line
from gflow.notify.secrets import digest
from gflow.notify.subscription import Subscription

log = logging.getLogger(__name__)

MAX_OUTPUT_BYTES = 16 * 1024
KILL_AFTER_SECS = 2.0
LAST_WORDS_SECS = 0.2
"""How long what an ended program printed is waited for: something it left behind may hold the pipe for ever."""


@dataclass(slots=True, eq=False)
class Command:
    """A target that is a program. `argv` is run as it is; the environment is `environ` and what tells of the event."""

    argv: Sequence[str] = field(repr=False)
    subscription: Subscription = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    program: str = ""
    timeout_secs: float = 10.0
    max_retries: int = 3
    kind: str = field(default="command", init=False)
    key: str = field(init=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.key = digest(self.kind, *self.argv)
        self.name = f"command {one_line(os.path.basename(self.program or self.argv[0]), 40)} ({self.key[:4]})"

    def wants(self, payload: Mapping[str, Any]) -> bool:
        """Whether this event is of interest."""
        return self.subscription.wants(payload)

    async def deliver(self, delivery: Delivery) -> None:
        """Run it once. Raises DeliveryFailed."""
        process = await self._start(delivery)
        output = bytearray()
        with trio.move_on_after(self.timeout_secs) as scope:
            try:
                await _converse(process, as_json(addressed(delivery.payload, delivery.id)), output)
            finally:
                await _end(process)
        said = one_line(bytes(output[-1000:]).decode(errors="replace"), 200)
        if said:
            log.debug("%s: event %d: %s", self.name, delivery.number, said)
        if scope.cancelled_caught:
            raise DeliveryFailed(f"still running after {self.timeout_secs:g} s: ended")
        if process.returncode:
            raise DeliveryFailed(_exit(process.returncode))

    async def _start(self, delivery: Delivery) -> trio.Process:
        about = {"GFLOW_EVENT": delivery.event, "GFLOW_DELIVERY": delivery.id}
        try:
            return await trio.lowlevel.open_process(
                list(self.argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**self.environ, **about},
                start_new_session=True,
            )
        except OSError as error:
            final = isinstance(error, FileNotFoundError | PermissionError)
            raise DeliveryFailed(f"cannot be started: {error.strerror}", final=final) from None

    def may_write_to(self, _address: str, /) -> bool:
        """No: it writes no mail."""
        return False

    def withheld(self) -> Mapping[str, int]:
        """None: it is told of what its administrator wants it to be."""
        return {}

    async def aclose(self) -> None:
        """Nothing is kept open."""


async def _converse(process: trio.Process, body: bytes, output: bytearray) -> None:
    """Write, read, and wait for the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_feed, process, body)
        reading = trio.Event()
        nursery.start_soon(_read, process, output, reading)
        await process.wait()
        with trio.move_on_after(LAST_WORDS_SECS):
            await reading.wait()
        nursery.cancel_scope.cancel()


async def _feed(process: trio.Process, body: bytes) -> None:
    assert process.stdin is not None
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await process.stdin.send_all(body)
    await process.stdin.aclose()


async def _read(process: trio.Process, output: bytearray, done: trio.Event) -> None:
    assert process.stdout is not None
    async for chunk in process.stdout:
        output += chunk[: max(0, MAX_OUTPUT_BYTES - len(output))]
    done.set()


async def _end(process: trio.Process) -> None:
    """See that it is over, and its pipes are closed, whatever became of us."""
    with trio.CancelScope(shield=True):
        if process.poll() is None:
            _signal(process, signal.SIGTERM)
            with trio.move_on_after(KILL_AFTER_SECS):
                await process.wait()
            _signal(process, signal.SIGKILL)
            with trio.move_on_after(KILL_AFTER_SECS):  # one that hangs in the kernel ends when that lets it
                await process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                await stream.aclose()


def _signal(process: trio.Process, number: int) -> None:
    """To it and to all that it started and that stayed in its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _exit(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"killed by {signal_name(-code)}"
