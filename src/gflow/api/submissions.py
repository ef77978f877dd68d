"""Submitting jobs: from the request to the queue.

Everything that takes time (reading a script, writing to the spool) is done before the one synchronous step that queues
the jobs, and the answer waits for the disk.
"""

import math
import os
import stat
from collections.abc import Iterable
from typing import Any

import trio
from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer
from gflow.api.body import json_body
from gflow.api.callers import Caller, caller, check_group
from gflow.api.services import Services, new_group_id
from gflow.api.spooled import Spooled
from gflow.core.errors import Impossible, Malformed, Unavailable
from gflow.core.model import Job, JobId, JobSpec
from gflow.wire.requests import JobRequest, read, read_batch, spec_from

DIRECTORY_SECS = 10.0
"""How long a directory that was there is taken to be there; the launch looks again in any case."""

KEPT_DIRECTORIES = 1000


def blueprint(services: Services) -> Blueprint:
    """Routes that make jobs."""
    routes = Blueprint("submissions", __name__)

    @routes.post("/jobs")
    async def submit() -> Response:
        query.allow()
        made = await _submit(services, [read(JobRequest, await json_body())], caller())
        return answer(made[0], 201)

    @routes.post("/jobs/batch")
    async def submit_batch() -> Response:
        query.allow()
        return answer(await _submit(services, read_batch(await json_body()), caller()), 201)

    return routes


async def _submit(services: Services, requests: list[JobRequest], who: Caller) -> list[dict[str, Any]]:
    runtime = services.runtime
    runtime.check_open()
    groups = _group(requests)
    await _check_directories(services, requests, who)
    spooled = Spooled(services)
    try:
        specs = [await _spec(spooled, job, who) for job in requests]
        recalled = await services.listing.recalled(_dependencies(specs))
        await trio.lowlevel.checkpoint_if_cancelled()  # for a caller that has hung up nothing is queued
        runtime.check_open()
        for group_id in {spec.group_id for spec in specs if spec.group_id is not None}:
            check_group(who, runtime.engine, group_id)
        held = frozenset(position for position, job in enumerate(requests) if job.hold)
        jobs, outcome = runtime.engine.submit(specs, runtime.clock(), groups=groups, hold=held, recalled=recalled)
        seq = runtime.commit(outcome)
    finally:
        spooled.unpin()
    try:
        await runtime.durable(seq)
    except Unavailable as trouble:
        ids = ", ".join(str(job.id) for job in jobs[:3]) + (", …" if len(jobs) > 3 else "")
        raise Unavailable(
            f"{trouble}. Job {ids} is queued, but not safe yet, and starts when it is: do not submit it again"
        ) from None
    return [_receipt(job, spooled.dropped) for job in jobs]


async def _check_directories(services: Services, requests: list[JobRequest], who: Caller) -> None:
    """Raise Impossible for a working directory that is not there; a repeated submission is not held to it again."""
    known = services.runtime.engine.submitted_under
    wanted = {
        job.run_dir
        for job in requests
        if job.run_dir is not None and (job.submit_key is None or known(who.name, job.submit_key) is None)
    }
    now, seen = trio.current_time(), services.seen_directories
    wanted = {path for path in wanted if seen.get(path, -math.inf) < now - DIRECTORY_SECS}
    if not wanted:
        return
    missing = await trio.to_thread.run_sync(_first_missing, wanted)
    if missing is not None:
        raise Impossible(f"The working directory '{missing}' does not exist, or is not a directory")
    if len(seen) >= KEPT_DIRECTORIES:
        seen.clear()
    seen.update(dict.fromkeys(wanted, now))


def _first_missing(directories: set[str]) -> str | None:
    for path in directories:
        try:
            if path.startswith("/") and not stat.S_ISDIR(os.stat(path).st_mode):
                return path
        except (FileNotFoundError, NotADirectoryError):
            return path
        except (OSError, ValueError):
            continue  # what may not be looked at is for the launch to find out
    return None


def _dependencies(specs: Iterable[JobSpec]) -> set[JobId]:
    return {dependency for spec in specs for dependency in spec.depends_on}


def _receipt(job: Job, dropped: list[str]) -> dict[str, Any]:
    return {"id": job.id, "run_name": job.run_name, "dropped_env": dropped}


def _group(requests: list[JobRequest]) -> dict[str, int | None]:
    """The groups with a limit in this submission; jobs that ask for one without naming a group share a new one."""
    limits: dict[str, int | None] = {}
    unnamed = new_group_id() if any(job.max_concurrent is not None for job in requests) else ""
    for job in requests:
        if job.max_concurrent is None:
            continue
        if job.max_concurrent < 1:
            raise Malformed(f"Invalid max_concurrent {job.max_concurrent}: use 1 or more")
        job.group_id = job.group_id or unnamed
        if limits.setdefault(job.group_id, job.max_concurrent) != job.max_concurrent:
            raise Malformed(f"Group {job.group_id} is given two different limits")
    return limits


async def _spec(spooled: Spooled, job: JobRequest, who: Caller) -> JobSpec:
    if job.run_dir is None:
        raise Malformed("run_dir is missing: say in which directory the job runs")
    work = [job.command, job.argv, job.script if job.script_text is None else job.script_text]
    if sum(kind is not None for kind in work) != 1:
        raise Malformed("A job needs exactly one of command, argv, script and script_text")
    return spec_from(
        job,
        owner=who.name,
        run_dir=job.run_dir,
        script_digest=await spooled.script(job.script, job.script_text, job.run_dir),
        environment=await spooled.environment(job.environment),
    )
