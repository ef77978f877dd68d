"""Finding jobs, wherever they are: at hand in the engine, or in the history of those that ended long ago.

A job at hand counts, also if the history has it. Reading the history is done in threads, a page at a time.
"""

import heapq
import logging
from bisect import bisect_left
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TypeVar

import trio

from gflow.core.ended import Ended
from gflow.core.engine import Engine
from gflow.core.errors import NotFound, Unavailable
from gflow.core.groups import Cell
from gflow.core.lifecycle import FINAL
from gflow.core.model import Job, JobId, Now, State
from gflow.core.selection import Selection
from gflow.core.sweeps import latest_by_cell
from gflow.core.usage import Usage, together, usage_by, usage_by_day, usage_of
from gflow.store.history import History, HistoryError

log = logging.getLogger(__name__)

PAGE = 500
"""Jobs read from the history at once."""

BRIEF_PAGE = 1000
"""Jobs read from it at once when that is quick."""

FEW = 10
"""Jobs read at once to find somebody's latest."""

_OWN: dict[str, Callable[[Job], str]] = {
    "user": lambda job: job.spec.owner,
    "project": lambda job: job.spec.project or "",
}

_T = TypeVar("_T")
_Listed = TypeVar("_Listed", bound=Job | Ended)


class Listing:
    """All jobs that there are records of.

    A record in the history that has rotted is left out of lists; `unreadable` has the ids of those that were met.
    """

    def __init__(self, engine: Engine, history: History) -> None:
        self.unreadable: set[JobId] = set()
        self._engine = engine
        self._history = history

    async def find(self, job_id: int) -> Job:
        """The job with this id. Raises NotFound, or Unavailable if the history cannot be read."""
        job = self._engine.jobs.get(JobId(job_id))
        if job is None and 0 < job_id < self._engine.next_job_id:
            job = (await self._read(self._history.get, [JobId(job_id)])).get(JobId(job_id))
        if job is None:
            raise NotFound(f"Job {job_id} does not exist")
        return job

    async def find_all(self, ids: Sequence[JobId]) -> list[Job]:
        """Those of these jobs that exist, in the order asked for."""
        here = self._engine.jobs
        found = {job_id: here[job_id] for job_id in ids if job_id in here}
        if gone := [job_id for job_id in ids if job_id not in found and job_id < self._engine.next_job_id]:
            found |= await self._read(self._history.get, gone)
        return [found[job_id] for job_id in ids if job_id in found]

    async def recalled(self, ids: Iterable[JobId], known: dict[JobId, Job | None] | None = None) -> list[Job]:
        """Those of these jobs that have left, each with the attempts that took its place: see `Engine.submit`.

        `known` has what was looked up before, and what is looked up now is added to it.
        """
        found: dict[JobId, Job | None] = {} if known is None else known
        wanted = set(ids)
        # asked again after each wait: meanwhile others may have left
        while missing := [job_id for job_id in wanted if job_id not in self._engine.jobs and job_id not in found]:
            past = await self._read(self._history.get, missing)
            found |= {job_id: past.get(job_id) for job_id in missing}
            wanted |= {job.retried_as for job in past.values() if job.retried_as is not None}
        return [job for job in found.values() if job is not None]

    async def behind(self, ids: Iterable[JobId], cells: Iterable[Cell]) -> tuple[list[Job], list[Job]]:
        """What has left of what new jobs have to do with: `recalled` and `cells` of `Engine.submit`."""
        depended_on: dict[JobId, Job | None] = {}
        in_cells: dict[Cell, Job | None] = {}
        while True:  # until nothing was waited for since both were complete
            recalled, before = await self.recalled(ids, depended_on), len(in_cells)
            await self._look_up(cells, in_cells)
            if len(in_cells) == before:
                return recalled, [job for job in in_cells.values() if job is not None]

    async def _look_up(self, cells: Iterable[Cell], found: dict[Cell, Job | None]) -> None:
        """Add the latest of the jobs of these cells that have left to `found`."""
        while missing := [cell for cell in cells if cell not in found and self._may_have_left(cell)]:
            past = latest_by_cell(await self._read(self._history.in_cells, missing))
            found |= {cell: past.get(cell) for cell in missing}

    def _may_have_left(self, cell: Cell) -> bool:
        job = self._engine.in_cell(cell)
        return job is None or job.state in FINAL - {State.FINISHED}

    def pages(
        self, selection: Selection, *, newest_first: bool = False, size: int = PAGE
    ) -> AsyncGenerator[list[Job], None]:
        """The jobs meant, by id, up to `size` of each kind at a time: a long past is never in memory as a whole."""
        return self._pages(selection, self._page, size, newest_first=newest_first)

    def brief_pages(self, selection: Selection) -> AsyncGenerator[list[Job | Ended], None]:
        """The same, with no more of jobs that ended long ago than is enough for most lists; not for a `group`."""
        return self._pages(selection, self._brief_page, BRIEF_PAGE, newest_first=False)

    async def _pages(
        self,
        selection: Selection,
        page: Callable[..., Awaitable[tuple[list[_Listed], JobId | None]]],
        size: int,
        *,
        newest_first: bool,
    ) -> AsyncGenerator[list[_Listed | Job], None]:
        here = sorted(selection.of(self._engine.jobs.values()), key=_by_id, reverse=newest_first)
        known = {job.id for job in here}
        last: JobId | None = None
        more = True
        while more:
            past: list[_Listed] = []
            if _may_be_past(selection):
                past, last = await page(selection, last, size, newest_first=newest_first)
            more = last is not None
            between = len(here) if last is None else _place(here, last, newest_first=newest_first)
            others = [job for job in past if job.id not in known]
            merged: list[_Listed | Job] = [*here[:between]]
            if others:
                merged = list(heapq.merge(merged, others, key=_by_id, reverse=newest_first))
            del here[:between]
            for start in range(0, len(merged), size):
                yield merged[start : start + size]

    async def select(
        self, selection: Selection, *, newest_first: bool = False, offset: int = 0, limit: int | None = None
    ) -> list[Job]:
        """The jobs meant, by id."""
        most = None if limit is None else offset + limit
        jobs: list[Job] = []
        size = PAGE if most is None else min(PAGE, max(1, most))
        async with aclosing(self.pages(selection, newest_first=newest_first, size=size)) as pages:
            async for page in pages:
                jobs += page
                if most is not None and len(jobs) >= most:
                    break
        return jobs[offset:most]

    async def count(self, selection: Selection) -> int:
        """How many jobs are meant."""
        if selection.group is not None:  # which is nothing the history is sorted by
            return len(await self.select(selection))
        here = [job.id for job in selection.of(self._engine.jobs.values())]
        if not _may_be_past(selection):
            return len(here)
        return len(here) + await self._read(partial(self._history.count, selection, besides=self._ended()))

    async def usage(self, selection: Selection, now: Now) -> Usage:
        """The sums over the jobs meant."""
        past = partial(self._history.usage, selection, besides=self._ended())
        here = partial(usage_of, selection.of(self._snapshot()), now)
        return await self._read(lambda: here() + past())

    async def usage_by(self, selection: Selection, now: Now, key: str) -> dict[str, Usage]:
        """The sums over the jobs meant for each `user` or `project`; "" is for jobs without a project."""
        past = partial(self._history.usage_by, selection, key, besides=self._ended())
        here = partial(usage_by, selection.of(self._snapshot()), now, _OWN[key])
        return await self._read(lambda: together(here(), past()))

    async def usage_by_day(self, selection: Selection, now: Now, since: float) -> dict[str, Usage]:
        """The sums for each local day from `since` on, the beginning of one."""
        past = partial(self._history.usage_by_day, selection, since, besides=self._ended())
        here = partial(usage_by_day, selection.of(self._snapshot()), now, since)
        return await self._read(lambda: together(here(), past()))

    def _snapshot(self) -> list[Job]:
        """All jobs at hand as they are now, to be looked through in a thread: summing up takes a while."""
        jobs = dict(self._engine.jobs)
        jobs.update((job_id, self._measured(jobs[job_id])) for job_id in self._engine.running)
        return list(jobs.values())

    async def recent(self, owner: str, back: int) -> Job | None:
        """The owner's latest job (`back` 0), the one before (1), …, not counting repeated attempts."""
        here = [self._engine.jobs[job_id] for job_id in reversed(self._engine.submitted_by(owner))]
        past: list[Job] = []
        last: JobId | None = None
        most = max(FEW, back + 1)
        more = True
        while more and len(past) <= back:
            jobs, last = await self._page(Selection(owners=frozenset({owner})), last, most, newest_first=True)
            past += [job for job in jobs if job.spec.retried_from is None and job.id not in self._engine.jobs]
            more = last is not None
        return next(islice(heapq.merge(here, past, key=_by_id, reverse=True), back, None), None)

    async def ended_before(self, moment: float) -> list[JobId]:
        """The jobs in the history that ended before `moment` (seconds since the epoch), by id."""
        return await self._read(self._history.ended_before, moment)

    async def kept(self) -> int:
        """How many jobs the history has."""
        return await self._read(self._history.count)

    async def forget(self, ids: Sequence[JobId]) -> None:
        """Remove these jobs from the history."""
        await self._read(self._history.remove, ids)

    async def _page(
        self, selection: Selection, after: JobId | None, size: int, *, newest_first: bool
    ) -> tuple[list[Job], JobId | None]:
        """Jobs of the history that can be read, and where to go on."""
        read = partial(self._history.readable, selection, after=after, most=size, newest_first=newest_first)
        page = await self._read(read)
        jobs = page.jobs if selection.group is None else list(selection.of(page.jobs))
        self._note(page.unreadable)
        return jobs, page.last

    async def _brief_page(
        self, selection: Selection, after: JobId | None, size: int, *, newest_first: bool
    ) -> tuple[list[Job | Ended], JobId | None]:
        read = partial(self._history.briefly, selection, after=after, most=size, newest_first=newest_first)
        jobs, last, unreadable = await self._read(read)
        self._note(unreadable)
        return jobs, last

    def _note(self, unreadable: Iterable[JobId]) -> None:
        for job_id in unreadable:
            if job_id not in self.unreadable:
                self.unreadable.add(job_id)
                log.error("the record of job %d in the history cannot be read; see gctl state check", job_id)

    def _measured(self, job: Job) -> Job:
        """The job with what was measured until now; a running one is told of that from time to time only."""
        if job.state is not State.RUNNING or not job.gpu_ids:
            return job
        return replace(job, gpu_use=self._engine.measuring.now(job))

    def _ended(self) -> list[JobId]:
        """Jobs at hand that the history may have as well."""
        return list(self._engine.finished)

    async def _read(self, read: Callable[..., _T], *args: object) -> _T:
        try:
            return await trio.to_thread.run_sync(read, *args)
        except HistoryError as error:
            raise Unavailable(f"The history of ended jobs cannot be used: {error}; see gctl state check") from error


def _by_id(job: Job | Ended) -> JobId:
    return job.id


def _place(jobs: Sequence[Job], job_id: JobId, *, newest_first: bool) -> int:
    """How many of the jobs, which are in order, come before this id."""
    if newest_first:
        return bisect_left(jobs, -job_id, key=lambda job: -job.id)
    return bisect_left(jobs, job_id, key=_by_id)


def _may_be_past(selection: Selection) -> bool:
    return selection.states is None or not FINAL.isdisjoint(selection.states)
