"""What the daemon and the helper process of a user say to each other: msgpack, each message behind its length.

The daemon takes nothing for granted of what a helper says, for the helper is a process of the user's: messages are
short, and `value` looks at every one before anything is done with it.
"""

import math
import struct
from collections.abc import Callable
from typing import Any, TypeVar

import trio

from gflow.core.model import Exit
from gflow.launch.base import Start, Trace
from gflow.launch.processes import Process
from gflow.store.codec import pack, unpack

MOST_FROM_DAEMON = 64 << 20
MOST_FROM_HELPER = 1 << 20

MAX_TEXT = 500
MOST_TERMINALS = 10_000
MOST_WORDS = 32
MOST_REPORTED = 512

_LENGTH = struct.Struct(">I")

_T = TypeVar("_T")


class Gone(Exception):
    """The other side is gone, or says what makes no sense."""


class Frames:
    """Messages over a stream; sending is for one task at a time."""

    def __init__(self, stream: trio.SocketStream, most: int) -> None:
        self._stream = stream
        self._most = most
        self._received = bytearray()

    async def send(self, message: object) -> None:
        """Send one. Raises Gone."""
        data = pack(message)
        try:
            await self._stream.send_all(_LENGTH.pack(len(data)) + data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Gone("nobody listens") from error

    async def receive(self) -> Any:
        """The next one. Raises Gone at the end, for one that is too long, and for what is no message."""
        (length,) = _LENGTH.unpack(await self._exactly(_LENGTH.size))
        if length > self._most:
            raise Gone(f"a message of {length} bytes")
        try:
            return unpack(await self._exactly(length))
        except (ValueError, RecursionError) as error:
            raise Gone("no message") from error

    async def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            try:
                more = await self._stream.receive_some(65536)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise Gone("the connection broke") from error
            if not more:
                raise Gone("the connection ended")
            self._received += more
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def close(self) -> None:
        """Hang up."""
        self._stream.socket.close()


def value(read: Callable[[Any], _T], said: Any) -> _T:
    """What a helper said, read. Raises Gone for what cannot be."""
    try:
        return read(said)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise Gone(f"an answer that makes no sense ({type(error).__name__})") from error


def number(said: Any) -> float:
    """A finite number."""
    if not isinstance(said, int | float) or isinstance(said, bool) or not math.isfinite(said):
        raise ValueError("no number")
    return float(said)


def text(said: Any) -> str:
    """A sentence, cut, without what would steer a terminal."""
    if not isinstance(said, str):
        raise TypeError("no text")
    return "".join(char for char in said if char.isprintable())[:MAX_TEXT]


def start_from(said: Any) -> tuple[Start | None, Process | None]:
    """A start, and the wrapper's process, as far as they are known."""
    start, process = said
    return (
        None if start is None else Start(number(start[0]), number(start[1])),
        None if process is None else Process(_whole(process[0], 1 << 31), _whole(process[1], 1 << 62)),
    )


def trace_from(said: Any) -> tuple[Trace, Start | None, Process | None]:
    """What is left of a launch."""
    return (Trace(said[0]), *start_from(said[1:]))


def exit_from(said: Any) -> Exit:
    """How a job ended."""
    code, at, why = said
    return Exit(None if code is None else _whole(code, 255), number(at), None if why is None else text(why))


def flag(said: Any) -> bool:
    """Yes or no."""
    if not isinstance(said, bool):
        raise TypeError("neither yes nor no")
    return said


def words_from(said: Any) -> list[str] | None:
    """An argument vector, or none."""
    if said is None:
        return None
    if not isinstance(said, list) or len(said) > MOST_WORDS or any("\0" in word for word in said):
        raise ValueError("no argument vector")
    return [str(word)[:4096] for word in said]


def report_from(said: Any) -> tuple[bytes, float] | None:
    """The end of a file, and when it was written, if there is one."""
    if said is None:
        return None
    content, at = said
    if not isinstance(content, bytes):
        raise TypeError("no bytes")
    return content[-MOST_REPORTED:], number(at)


def ids_from(said: Any) -> list[int]:
    """Job ids."""
    if not isinstance(said, list) or len(said) > MOST_TERMINALS:
        raise ValueError("no list of jobs")
    return [_whole(job_id, 1 << 53) for job_id in said]


def nothing(said: Any) -> None:
    """It was done."""


def _whole(said: Any, most: int) -> int:
    if not isinstance(said, int) or isinstance(said, bool) or not 0 <= said <= most:
        raise ValueError("no such number")
    return said
