"""Ending jobs: cancel one or many, declare one finished or failed; and signals, which end nothing by themselves."""

from collections.abc import Iterable
from typing import Any

from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer
from gflow.api.body import json_body
from gflow.api.callers import Caller, caller, check_owner, note_refusal
from gflow.api.owned import owned
from gflow.api.services import Services
from gflow.core.errors import Malformed, NotFound, Refused, TooLarge, WrongState
from gflow.core.lifecycle import FINAL, refusal
from gflow.core.model import Job, JobId, State, StopCause
from gflow.core.stops import signal_name
from gflow.core.submission import check_reason
from gflow.wire.requests import CancelRequest, SignalRequest, read

MOST = 10_000
"""Jobs cancelled in one step, which takes some tenths of a second."""


def blueprint(services: Services) -> Blueprint:
    """Routes below `/jobs`."""
    routes = Blueprint("ending", __name__)
    runtime, engine = services.runtime, services.runtime.engine

    @routes.post("/jobs/<int:job_id>/cancel")
    async def cancel(job_id: int) -> Response:
        query.allow("dry_run", "reason")
        reason = query.text("reason")
        check_reason(reason)
        job = await owned(services, job_id)
        if not query.flag("dry_run"):
            return await stop(job_id, StopCause.CANCEL, reason)
        _check_open(job)
        return answer({"id": job.id, "state": job.state, "dependents": _dependents([job.id])})

    @routes.post("/jobs/cancel")
    async def cancel_many() -> Response:
        query.allow()
        wanted = read(CancelRequest, await json_body())
        check_reason(wanted.reason)
        ids = _distinct(wanted.ids)
        there = {job.id: job for job in await services.listing.find_all(ids)}
        runtime.check_open()
        who, failed, jobs = caller(), list[dict[str, Any]](), list[Job]()
        for job_id in ids:
            try:
                jobs.append(_cancellable(job_id, there, who))
            except Refused as refused:
                note_refusal(refused)
                failed.append({"id": job_id, "error": str(refused), "code": refused.code})
        about = [{"id": job.id, "state": job.state} for job in jobs]
        dependents = _dependents([job.id for job in jobs])
        if not wanted.dry_run:
            await runtime.durable(_cancel(jobs, who, wanted.reason))
        return answer({"jobs": about, "dependents": dependents, "failed": failed})

    @routes.post("/jobs/<int:job_id>/finish")
    async def finish(job_id: int) -> Response:
        query.allow()
        await owned(services, job_id)
        return await stop(job_id, StopCause.FINISH)

    @routes.post("/jobs/<int:job_id>/fail")
    async def fail(job_id: int) -> Response:
        query.allow()
        await owned(services, job_id)
        return await stop(job_id, StopCause.FAIL)

    @routes.post("/jobs/<int:job_id>/signal")
    async def signal(job_id: int) -> Response:
        query.allow()
        number = read(SignalRequest, await json_body()).signal
        if not 0 < number < 65:
            raise Malformed(f"Invalid signal {number}: use 1 to 64")
        job = await owned(services, job_id)
        if job.state is not State.RUNNING:
            raise WrongState(f"Job {job_id} is {job.state.value}, not Running")
        if job.started_boot is None:
            raise WrongState(f"Job {job_id} is being started; try again in a moment")
        reached = await services.launcher.send_signal(job, number)
        return answer({"id": job.id, "signal": signal_name(number), "processes": reached})

    async def stop(job_id: int, cause: StopCause, text: str | None = None) -> Response:
        outcome = engine.stop(job_id, cause, runtime.clock(), by=caller().name, text=text)
        await runtime.durable(runtime.commit(outcome))
        return answer(None)

    def _cancellable(job_id: JobId, there: dict[JobId, Job], who: Caller) -> Job:
        """The job as it is now. Raises NotFound, Forbidden, WrongState."""
        if job_id not in there:
            raise NotFound(f"Job {job_id} does not exist")
        check_owner(who, there[job_id])
        job = engine.jobs.get(job_id, there[job_id])
        _check_open(job)
        return job

    def _check_open(job: Job) -> None:
        if job.state in FINAL:
            raise refusal(job, State.CANCELLED, engine.goes_on_as(job))

    def _cancel(jobs: list[Job], who: Caller, reason: str | None) -> int:
        """One step for all: none of them starts because another makes room. Those that wait first, the last first,
        as others may depend on the earlier ones; then the number of the transaction to wait for."""
        seq, now = 0, runtime.clock()
        for job in sorted(jobs, key=lambda job: (job.state is State.RUNNING, -job.id)):
            if engine.job(job.id).state not in FINAL:
                seq = runtime.commit(engine.stop(job.id, StopCause.CANCEL, now, by=who.name, text=reason))
        return seq

    def _dependents(ids: list[JobId]) -> list[dict[str, Any]]:
        return [{"id": d.id, "state": d.state, "blocked_by": by} for d, by in engine.dependents(ids)]

    return routes


def _distinct(ids: Iterable[int]) -> list[JobId]:
    distinct = [JobId(job_id) for job_id in sorted(set(ids))]
    if len(distinct) > MOST:
        raise TooLarge(f"{len(distinct)} jobs are named; one request may cancel {MOST}")
    if distinct and distinct[0] < 1:
        raise Malformed(f"Invalid job ID {distinct[0]}")
    return distinct
