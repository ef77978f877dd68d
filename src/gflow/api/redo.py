"""Doing ended jobs again, with changes, and with the jobs that were cancelled because it failed."""

from dataclasses import replace
from typing import Any

import msgspec
import trio
from quart import Blueprint, Response

from gflow.api import directories, query
from gflow.api.answers import answer
from gflow.api.body import json_body
from gflow.api.callers import Caller, caller, check_joins, check_owner
from gflow.api.room import check_kept, check_room
from gflow.api.services import Services
from gflow.api.spooled import Spooled, spooled_script
from gflow.api.submitter import check_again, submitter
from gflow.core.errors import Forbidden, Impossible, Malformed, TooLarge, WrongState
from gflow.core.lifecycle import FINAL
from gflow.core.model import Job, JobId, JobSpec, State
from gflow.core.redo import again, fallen_with, in_order
from gflow.core.selection import Selection
from gflow.launch.program import check_line
from gflow.wire.requests import MAX_BATCH, RedoRequest, read, spec_changes


def blueprint(services: Services) -> Blueprint:
    """`POST /jobs/ID/redo`."""
    routes = Blueprint("redo", __name__)
    runtime, listing = services.runtime, services.listing
    engine = runtime.engine

    @routes.post("/jobs/<int:job_id>/redo")
    async def redo(job_id: int) -> Response:
        query.allow()
        wanted, who = read(RedoRequest, await json_body()), caller()
        job = await listing.find(job_id)
        check_owner(who, job)
        runtime.check_open()
        if wanted.max_concurrent is not msgspec.UNSET:
            raise Malformed("max_concurrent is of the group, not of a job done again; use gctl set-limit")
        if isinstance(wanted.run_dir, str):
            await directories.check(services, [wanted.run_dir])
        attempts = await _attempts(job)
        along = in_order(await _fallen(attempts, who)) if wanted.cascade else []
        uid = await submitter(services, who)
        check_again(services, who, [job, *along])
        check_kept(services, who)
        spooled = Spooled(services)
        try:
            changed = {job.id, *wanted.alike}
            make = [(_changed if one.id in changed else _as_it_was, one) for one in (job, *along)]
            specs = [(one.id, await spec_of(spooled, one, wanted, who)) for spec_of, one in make]
            specs = [(old, replace(spec, uid=uid)) for old, spec in specs]
            recalled = await listing.recalled({old for old, _ in specs} | {d for _, s in specs for d in s.depends_on})
            await trio.lowlevel.checkpoint_if_cancelled()
            runtime.check_open()
            for group_id in {spec.group_id for _, spec in specs if spec.group_id is not None}:
                check_joins(who, engine, group_id)
            check_room(engine, who, [spec for _, spec in specs])
            made, outcome = engine.redo(specs, runtime.clock(), attempts=attempts, held=wanted.hold, recalled=recalled)
            seq = runtime.commit(outcome)
        finally:
            spooled.unpin()
        await runtime.durable(seq)
        return answer({**_receipt(made[0]), "dropped_env": spooled.dropped, "cascade": [*map(_receipt, made[1:])]}, 201)

    async def _attempts(job: Job) -> list[JobId]:
        """The job and those that were tried in its place since. Raises WrongState unless all have ended."""
        found = [job.id]
        while job.state in FINAL and job.retried_as is not None:
            job = await listing.find(job.retried_as)
            found.append(job.id)
        if job.state not in FINAL:
            retried = f", and is being tried again as job {job.id}" if len(found) > 1 else ""
            raise WrongState(f"Job {found[0]} has not ended{retried}: it is {job.state.value}")
        return found

    async def _fallen(attempts: list[JobId], who: Caller) -> list[Job]:
        cancelled = await listing.select(Selection(states=frozenset({State.CANCELLED})))
        fallen = fallen_with(attempts, cancelled)
        others = [job.id for job in fallen if not who.admin and job.spec.owner != who.name]
        if others:
            raise Forbidden(f"Job {others[0]} had fallen with it and belongs to somebody else; leave out the cascade")
        if len(fallen) >= MAX_BATCH:
            raise TooLarge(f"{len(fallen)} jobs had fallen with it; at most {MAX_BATCH - 1} can be done again at once")
        return fallen

    return routes


async def _changed(spooled: Spooled, job: Job, wanted: RedoRequest, who: Caller) -> JobSpec:
    """What is to be done in the place of the job, with the changes that are asked for."""
    spec = again(job, who.name)
    changes = spec_changes(wanted, spec, await spooled_script(spooled, wanted, spec.run_dir))
    return await _kept(spooled, job, replace(spec, **changes), wanted)


async def _as_it_was(spooled: Spooled, job: Job, wanted: RedoRequest, who: Caller) -> JobSpec:
    return await _kept(spooled, job, again(job, who.name), wanted)


async def _kept(spooled: Spooled, job: Job, spec: JobSpec, wanted: RedoRequest) -> JobSpec:
    """`spec` with the environment of the caller, if the job had one. Raises Impossible if its script is gone."""
    if spec.script_digest is not None and not spooled.keeps_script(spec.script_digest):
        raise Impossible(f"The script of job {job.id} is not kept any more: give it again (--script PATH)")
    check_line(spec)
    environment = await spooled.environment(wanted.environment) if spec.environment is not None else None
    return replace(spec, environment=environment)


def _receipt(job: Job) -> dict[str, Any]:
    return {"id": job.id, "run_name": job.run_name, "redone_from": job.spec.redone_from}
