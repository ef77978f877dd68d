"""The output of jobs: where it is, its end, or all of it as it comes."""

import io
import math
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar, TypeVarTuple, Unpack

import trio
from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer
from gflow.api.callers import Caller, caller
from gflow.api.services import Services
from gflow.core.errors import Malformed, NotFound, Unavailable
from gflow.core.lifecycle import FINAL
from gflow.core.model import Job
from gflow.launch.patience import Patience
from gflow.store.disk import open_regular

CHUNK_BYTES = 256 * 1024
MOST_LINES, MOST_BYTES = 20_000, 4 << 20
"""Of one answer with the end of a log."""

MAX_LINES = 1_000_000_000
MAX_LOOK_BYTES = 1 << 28
"""How far back lines are counted: a log may be large, and what was written into it need not have any lines."""

FOLLOW_SECS = 0.1
"""How often a followed log is looked at for more, as long as not many are."""

LOOKS_A_SECOND = 320.0
"""At logs that are followed, by all: the more follow some, the longer each of them waits."""

READ_SECS, SEARCH_SECS = 5.0, 60.0
"""What a piece of a log, or looking for where the last lines begin, may take: a log may be on a disk that hangs."""


def blueprint(services: Services) -> Blueprint:
    """Routes below `/jobs/ID/log`."""
    routes = Blueprint("logs", __name__)
    listing, reads, searches, turns = services.listing, _Reads(READ_SECS), _Reads(SEARCH_SECS), _Turns()

    @routes.get("/jobs/<int:job_id>/log")
    async def where(job_id: int) -> Response:
        query.allow()
        return answer(str(services.log_path((await seen(job_id)).id)))

    @routes.get("/jobs/<int:job_id>/log/content")
    async def content(job_id: int) -> Response:
        query.allow("tail", "max_bytes")
        job = await seen(job_id)
        path = services.log_path(job.id)
        tail = query.integer("tail", least=1, most=MOST_LINES) or 1000
        max_bytes = query.integer("max_bytes", least=1, most=MOST_BYTES) or 262_144
        found = await reads.of(job, _tail, path, tail, max_bytes)
        if found is None:
            raise NotFound(f"Job {job_id} has no log yet")
        size, truncated, text = found
        return answer({"job_id": job_id, "path": str(path), "size": size, "truncated": truncated, "content": text})

    @routes.get("/jobs/<int:job_id>/log/stream")
    async def stream(job_id: int) -> Response:
        query.allow("first", "last", "follow", "offset")
        job = await seen(job_id)
        first, last = query.integer("first", least=1, most=MAX_LINES), query.integer("last", least=1, most=MAX_LINES)
        offset = query.integer("offset", least=0)
        if sum(given is not None for given in (first, last, offset)) > 1:
            raise Malformed("Give one of first, last and offset")
        follow = query.flag("follow")
        if not await reads.of(job, _is_there, services.log_path(job.id)) and not follow:
            raise NotFound(f"Job {job_id} has no log yet")
        if last is not None:
            offset = await searches.of(job, _offset_of_last, services.log_path(job.id), last)
        body = _stream(services, reads, turns, caller(), job, offset or 0, first, follow=follow)
        response = Response(body, content_type="text/plain")
        response.headers["X-Offset"] = str(offset or 0)
        response.timeout = None
        return response

    async def seen(job_id: int) -> Job:
        """A job whose output the caller may see. Raises NotFound, Forbidden, Unavailable."""
        job = await listing.find(job_id)
        services.check_sees(caller(), job)
        return job

    return routes


_T = TypeVar("_T")
_Rest = TypeVarTuple("_Rest")


class _Reads:
    """Of logs, each within so many seconds, and so that those of one user keep nobody else's waiting."""

    def __init__(self, secs: float) -> None:
        self._secs = secs
        self._patience = Patience()

    async def of(self, job: Job, read: Callable[[Path, Unpack[_Rest]], _T], path: Path, *rest: *_Rest) -> _T:
        """What `read` returns. Raises Unavailable."""
        try:
            return await self._patience.within(self._secs, job.spec.uid, partial(read, path, *rest))
        except TimeoutError as error:
            raise Unavailable(f"The log {path} cannot be read: {error.strerror}") from error


def _open(path: Path) -> BinaryIO | None:
    """A log, None if there is none. Raises Unavailable for one that cannot be read."""
    try:
        return open_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"The log {path} cannot be read: {error.strerror}") from error


def _is_there(path: Path) -> bool:
    """Whether there is a log. Raises Unavailable for one that cannot be read: an answer under way cannot say so."""
    file = _open(path)
    if file is not None:
        file.close()
    return file is not None


def _tail(path: Path, lines: int, max_bytes: int) -> tuple[int, bool, str] | None:
    """Size of the log, whether something was left out, and its last lines; None if there is no log."""
    file = _open(path)
    if file is None:
        return None
    with file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - max_bytes))
        data = file.read(max_bytes)
    kept = b"".join(io.BytesIO(data).readlines()[-lines:])
    return size, len(kept) < size, kept.decode(errors="replace")


class _Turns:
    """When whoever follows a log looks at it again. Times are trio's."""

    def __init__(self) -> None:
        self._last = -math.inf

    def pause_secs(self, now: float) -> float:
        """How long the next look has to wait; it gets that moment."""
        self._last = max(now + FOLLOW_SECS, self._last + 1 / LOOKS_A_SECOND)
        return self._last - now


async def _stream(
    services: Services,
    reads: _Reads,
    turns: _Turns,
    who: Caller,
    job: Job,
    offset: int,
    first: int | None,
    *,
    follow: bool,
) -> AsyncIterator[bytes]:
    """The bytes of the log from `offset` on. With `follow`, until the job is over and all of them were sent, or the
    daemon stops: who follows asks what became of the job, and goes on at its own offset with the next daemon. It ends
    when the token of whoever asked is no good any more. Raises Unavailable, which breaks the answer off, for a log that
    cannot be read any more; while its job runs it may be readable again, as when its owner had a lease on it."""
    jobs, bus, path, job_id = services.runtime.engine.jobs, services.runtime.bus, services.log_path(job.id), job.id
    while True:
        # asked before reading: what is written before a job is final is read below
        over = not follow or bus.closed or job_id not in jobs or jobs[job_id].state in FINAL
        try:
            data = await reads.of(job, _read, path, offset)
        except Unavailable:
            if over:
                raise
            data = b""
        offset += len(data)
        if data and first is not None:
            data, first = _first_lines(data, first)
        if data:
            yield data
        if first == 0 or (over and not data) or not services.still_lets_in(who):
            return
        if not data:
            await trio.sleep(turns.pause_secs(trio.current_time()))


def _read(path: Path, offset: int) -> bytes:
    file = _open(path)
    if file is None:
        return b""
    with file:
        return os.pread(file.fileno(), CHUNK_BYTES, min(offset, 1 << 62))


def _first_lines(data: bytes, wanted: int) -> tuple[bytes, int]:
    lines = data.split(b"\n", wanted)
    if len(lines) > wanted:
        return data[: len(data) - len(lines[-1])], 0
    return data, wanted - len(lines) + 1


def _offset_of_last(path: Path, lines: int) -> int:
    """Where the last `lines` lines begin: read from the end, piece by piece, for a line may be longer than memory.

    No more than `MAX_LOOK_BYTES` before the end.
    """
    file = _open(path)
    if file is None:
        return 0
    with file:
        end = os.fstat(file.fileno()).st_size
        return _back(file, end, lines, max(0, end - MAX_LOOK_BYTES), trio.from_thread.check_cancelled)


def _back(file: BinaryIO, end: int, lines: int, least: int = 0, still_wanted: Callable[[], None] = lambda: None) -> int:
    """The place behind the newline before the last `lines` lines; the newline at the very end ends the last of them.

    `still_wanted` is asked now and then, and raises when nobody waits for the answer any more.
    """
    left, at = lines, end
    while at > least:
        still_wanted()
        start = max(least, at - CHUNK_BYTES)
        file.seek(start)
        data = file.read(at - start)
        stop = len(data) - (at == end)
        count = data.count(b"\n", 0, stop)
        if count >= left:
            for _ in range(left):
                stop = data.rindex(b"\n", 0, stop)
            return start + stop + 1
        left, at = left - count, start
    return least
