"""The state as files: `POST /state/compact` and `POST /state/prune`, for administrators.

Pruning goes in an order in which nothing is ever half gone: first the jobs leave the state, and that is on disk; then
their logs go, then what the history has of them. A job that somebody comes to depend on meanwhile stays.
"""

from collections.abc import Sequence
from dataclasses import asdict

import trio
from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer
from gflow.api.body import json_body
from gflow.api.services import Services
from gflow.core.errors import Malformed, Unavailable, WrongState
from gflow.core.model import JobId
from gflow.core.outcome import Outcome
from gflow.store.history import KEPT
from gflow.store.upkeep.pruning import Pruned, count_logs, remove_logs
from gflow.wire.requests import PruneRequest, read

AT_ONCE = 500
"""Jobs that leave the state in one step: a few milliseconds of work between which others get their turn."""


def blueprint(services: Services) -> Blueprint:
    """Routes about the state."""
    routes = Blueprint("state", __name__)
    runtime = services.runtime

    @routes.post("/state/compact")
    async def compact() -> Response:
        query.allow()
        runtime.check_open()
        return answer(asdict(await services.compact()))

    @routes.post("/state/prune")
    async def prune() -> Response:
        query.allow()
        wanted = read(PruneRequest, await json_body())
        if wanted.before > runtime.clock().wall + 1:
            raise Malformed("Invalid before: it is in the future, and no job has ended there yet")
        if services.recovering:
            raise WrongState("The state is in recovery: nothing is removed until it can be read again")
        runtime.check_open()
        async with services.turn:
            pruned = await _Pruning(services, wanted).run()
        return answer({"before": wanted.before, "dry_run": wanted.dry_run, **asdict(pruned)})

    return routes


class _Pruning:
    """One request to prune. Nobody else moves or removes ended jobs meanwhile."""

    def __init__(self, services: Services, wanted: PruneRequest) -> None:
        self._services = services
        self._engine = services.runtime.engine
        self._wanted = wanted

    async def run(self) -> Pruned:
        """Raises Unavailable; then some of it may be done, and pruning again does the rest."""
        here, kept = self._engine.prunable(self._wanted.before)
        past = await self._services.listing.ended_before(self._wanted.before)
        if not self._wanted.dry_run:
            here = await self._retire(here)
        staying = self._engine.jobs.keys() - set(here)
        past = [job_id for job_id in past if job_id not in staying]
        gone = sorted({*here, *past})
        logs = await self._logs(gone) if self._wanted.logs else 0
        if not self._wanted.dry_run:
            await self._forget(past)
        return Pruned(len(gone), len(here), len(past), kept, logs)

    async def _retire(self, ids: Sequence[JobId]) -> list[JobId]:
        """Those of the jobs that have left the state, which is on disk then."""
        runtime, retired = self._services.runtime, list[JobId]()
        for start in range(0, len(ids), AT_ONCE):
            outcome = self._engine.retire(ids[start : start + AT_ONCE])
            await runtime.durable(runtime.commit(outcome))
            retired += outcome.retired
        return retired

    async def _forget(self, past: Sequence[JobId]) -> None:
        listing, runtime = self._services.listing, self._services.runtime
        left = Outcome(settings={KEPT: max(0, await listing.kept() - len(past))})
        await runtime.durable(runtime.commit(left))  # before they go, or they would be missed
        await listing.forget(past)

    async def _logs(self, ids: Sequence[JobId]) -> int:
        act = count_logs if self._wanted.dry_run else remove_logs
        try:
            return await trio.to_thread.run_sync(act, self._services.logs_dir, ids)
        except OSError as error:
            raise Unavailable(f"Logs cannot be removed: {error}") from error
