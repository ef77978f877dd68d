"""Looking at running jobs: how far they are, what their processes take, and their terminals."""

import os
from functools import partial
from typing import Any

import trio
from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer
from gflow.api.callers import caller, check_owner
from gflow.api.services import Services
from gflow.api.submitter import check_terminal
from gflow.core.errors import WrongState
from gflow.core.lifecycle import FINAL
from gflow.core.model import Job, State
from gflow.wire.watching import gpus_json, process_json, progress_json


def blueprint(services: Services) -> Blueprint:
    """`/progress`, `/terminals`, and routes below `/jobs/ID`."""
    routes = Blueprint("watching", __name__)
    runtime, listing, launcher = services.runtime, services.listing, services.launcher
    engine = runtime.engine

    @routes.get("/progress")
    async def progress() -> Response:
        query.allow("ids")
        ids = query.ids("ids")
        who, asked = caller(), None if ids is None else set(ids)
        running = [engine.jobs[job_id] for job_id in engine.running if asked is None or job_id in asked]
        jobs = [job for job in running if services.sees(who, job)]
        found = await services.gauge.of(jobs)
        now = runtime.clock()
        return answer([progress_json(job, found[job.id], now) for job in jobs if job.id in found])

    @routes.get("/jobs/<int:job_id>/processes")
    async def processes(job_id: int) -> Response:
        query.allow()
        job = await listing.find(job_id)
        services.check_sees(caller(), job)
        if job.state is not State.RUNNING:
            raise WrongState(f"Job {job_id} is {job.state.value}, so no process of it runs")
        found, now = await launcher.processes(job), runtime.clock()
        about: dict[str, Any] = {"id": job.id, "name": job.run_name, "measured_at": now.wall, "cpus": os.cpu_count()}
        about["processes"] = [process_json(process, now) for process in found]
        return answer({**about, "gpus": gpus_json(engine, job)})

    @routes.get("/jobs/<int:job_id>/attach")
    async def attach(job_id: int) -> Response:
        query.allow("read_only")
        job = await listing.find(job_id)
        check_owner(caller(), job)
        check_terminal(services, caller(), job)
        find = partial(launcher.attach_argv, job, read_only=query.flag("read_only"))
        argv = await trio.to_thread.run_sync(find)
        if argv is None:
            raise WrongState(f"Job {job_id} is {job.state.value} and has no terminal to attach to")
        return answer({"argv": argv})

    @routes.get("/terminals")
    async def terminals() -> Response:
        query.allow()
        running = [engine.jobs[job_id] for job_id in engine.running]
        there = await trio.to_thread.run_sync(launcher.terminals, running)
        found = await listing.find_all(sorted(there))
        return answer([_terminal(job) for job in found])

    @routes.delete("/jobs/<int:job_id>/terminal")
    async def close(job_id: int) -> Response:
        query.allow()
        job = await listing.find(job_id)
        check_owner(caller(), job)
        if job.state not in FINAL:
            raise WrongState(f"Job {job_id} is {job.state.value}: its terminal is in use; gcancel {job_id} ends it")
        closed = await launcher.close_terminal(job)
        return answer({**_terminal(job), "closed": closed})

    def _terminal(job: Job) -> dict[str, Any]:
        whose = {"id": job.id, "name": job.run_name, "state": job.state, "user": job.spec.owner}
        return {**whose, "session": services.session(job.id)}

    return routes
