"""Submitting jobs: from the request to the queue.

Everything that takes time (reading a script, writing to the spool) is done before the one synchronous step that queues
the jobs, and the answer waits for the disk.
"""

from collections.abc import Iterable
from typing import Any

import trio
from quart import Blueprint, Response

from gflow.api import directories, query
from gflow.api.answers import answer
from gflow.api.body import json_body
from gflow.api.callers import Caller, caller, check_joins
from gflow.api.room import check_kept, check_room
from gflow.api.services import Services, new_group_id
from gflow.api.spooled import Spooled
from gflow.api.submitter import submitter
from gflow.core.engine import Engine
from gflow.core.errors import Impossible, Malformed, Unavailable
from gflow.core.groups import Cell, cell_of, id_of, may_be_of_name
from gflow.core.model import Job, JobId, JobSpec, State
from gflow.core.submission import check_group_limit, check_hold_after
from gflow.launch.program import check_line
from gflow.wire.requests import JobRequest, read, read_batch, spec_from

NOT_MAILED = "nobody is mailed about it: notifications are off, or [[notifications.emails]] is not configured"


def blueprint(services: Services) -> Blueprint:
    """Routes that make jobs."""
    routes = Blueprint("submissions", __name__)

    @routes.post("/jobs")
    async def submit() -> Response:
        query.allow("dry_run")
        dry_run, job = query.flag("dry_run"), read(JobRequest, await json_body())
        made = await _submit(services, [job], caller(job.submitted_by), dry_run=dry_run)
        return answer(made[0], 200 if dry_run else 201)

    @routes.post("/jobs/batch")
    async def submit_batch() -> Response:
        query.allow("dry_run")
        dry_run, jobs = query.flag("dry_run"), read_batch(await json_body())
        made = await _submit(services, jobs, _submitter(jobs), dry_run=dry_run)
        return answer(made, 200 if dry_run else 201)

    return routes


async def _submit(
    services: Services, requests: list[JobRequest], who: Caller, *, dry_run: bool = False
) -> list[dict[str, Any]]:
    runtime = services.runtime
    runtime.check_open()
    _check_given(requests, who, runtime.engine)
    _name_groups(requests, who)
    groups, hold_after = _group_wishes(requests)
    _group_tasks(requests)
    uid = await submitter(services, who)
    await _check_directories(services, requests, who)
    if any(_new(runtime.engine, who, job) for job in requests):
        check_kept(services, who)
    spooled = Spooled(services, dry=dry_run)
    try:
        specs = [await _spec(spooled, job, who, uid) for job in requests]
        recalled, cells = await services.listing.behind(_dependencies(specs), _cells(specs))
        await trio.lowlevel.checkpoint_if_cancelled()  # for a caller that has hung up nothing is queued
        runtime.check_open()
        for group_id in {spec.group_id for spec in specs if spec.group_id is not None}:
            check_joins(who, runtime.engine, group_id)
        check_room(runtime.engine, who, specs)
        if dry_run:
            known = runtime.engine.would_stand(specs, runtime.clock(), recalled=recalled, cells=cells)
            return [_foreseen(spec, job) for spec, job in zip(specs, known, strict=True)]
        held = frozenset(position for position, job in enumerate(requests) if job.hold)
        first_new = runtime.engine.next_job_id
        jobs, outcome = runtime.engine.submit(
            specs, runtime.clock(), groups=groups, hold_after=hold_after, hold=held, recalled=recalled, cells=cells
        )
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
    earlier = [job.id < first_new and not _same_request(spec, job) for spec, job in zip(specs, jobs, strict=True)]
    kept_by = services.limits()["memory"]
    return [
        _receipt(job, spooled.dropped, earlier=was, warning=_unmailed(services, job), kept_by=kept_by)
        for job, was in zip(jobs, earlier, strict=True)
    ]


def _new(engine: Engine, who: Caller, job: JobRequest) -> bool:
    """Whether a request is not one that was sent again under the same key."""
    return job.submit_key is None or engine.submitted_under(who.name, job.submit_key) is None


def _submitter(jobs: list[JobRequest]) -> Caller:
    """Who submits a batch: all its jobs are one user's."""
    named = jobs[0].submitted_by
    who = caller(named)
    if who.anonymous and any(job.submitted_by != named for job in jobs):
        raise Malformed("The jobs of a batch name different users in submitted_by; submit each user's by themselves")
    return who


async def _check_directories(services: Services, requests: list[JobRequest], who: Caller) -> None:
    """Raise Impossible for a working directory that is not there; a repeated submission is not held to it again."""
    known = services.runtime.engine.submitted_under
    wanted = {
        job.run_dir
        for job in requests
        if job.run_dir is not None and (job.submit_key is None or known(who.name, job.submit_key) is None)
    }
    await directories.check(services, wanted)


def _dependencies(specs: Iterable[JobSpec]) -> set[JobId]:
    return {dependency for spec in specs for dependency in spec.depends_on}


def _cells(specs: Iterable[JobSpec]) -> set[Cell]:
    return {cell for spec in specs if (cell := cell_of(spec)) is not None}


def _same_request(spec: JobSpec, job: Job) -> bool:
    """Whether a job was made by the very request that is being answered, whose first answer got lost."""
    return spec.submit_key is not None and spec.submit_key == job.spec.submit_key


def _receipt(job: Job, dropped: list[str], *, earlier: bool, warning: str | None, kept_by: str) -> dict[str, Any]:
    """`already`: the state of an earlier job that is the same cell; `held`: why its group has it on hold.

    `warning`: what was asked for and will not be. `memory_kept_by`: what sees to its limit of memory.
    """
    told = {"id": job.id, "run_name": job.run_name, "dropped_env": dropped}
    if earlier:
        told["already"] = job.state
    if job.state is State.HOLD and job.spec.group_id is not None and job.detail is not None:
        told["held"] = job.detail
    if warning is not None:
        told["warning"] = warning
    if job.spec.memory_mb is not None:
        told["memory_kept_by"] = kept_by
    return told


def _unmailed(services: Services, job: Job) -> str | None:
    """What is to be said if not everybody is mailed whom a job names."""
    wanted, notifications = job.spec.notify_emails, services.notifications
    if wanted and not notifications.sends_mail:
        return NOT_MAILED
    refused = notifications.unmailed(wanted)
    return f"{', '.join(refused)}: not mailed: notifications.jobs_may_mail does not name them" if refused else None


def _foreseen(spec: JobSpec, job: Job | None) -> dict[str, Any]:
    if job is None:
        return {"id": None, "run_name": spec.name}
    return {"id": job.id, "run_name": job.run_name, "already": job.state}


def _check_given(requests: list[JobRequest], who: Caller, engine: Engine) -> None:
    """Refuse ids that may be those of others' names, unless it is a group that the caller has jobs in."""
    for group_id in {job.group_id for job in requests if job.group_id is not None and may_be_of_name(job.group_id)}:
        if not any(engine.jobs[job_id].spec.owner == who.name for job_id in engine.members(group_id)):
            raise Impossible(f"Group {group_id} has a name, or may get one: give that (group), or another group_id")


def _name_groups(requests: list[JobRequest], who: Caller) -> None:
    """The id of each group that is given by the caller's name for it."""
    for job in requests:
        if job.group is None:
            continue
        if job.group_id is not None:
            raise Malformed("Give group (a name) or group_id, not both")
        job.group_id = id_of(who.name, job.group)


def _group_wishes(requests: list[JobRequest]) -> tuple[dict[str, int | None], dict[str, int]]:
    """The limits of groups in this submission, and after how many failures they are put on hold.

    Jobs that ask for one of these without naming a group share a new one.
    """
    wishes = [job for job in requests if job.max_concurrent is not None or job.hold_after_failures is not None]
    unnamed = new_group_id() if wishes else ""
    limits: dict[str, int | None] = {}
    hold_after: dict[str, int] = {}
    for job in wishes:
        check_group_limit(job.max_concurrent)
        check_hold_after(job.hold_after_failures)
        job.group_id = job.group_id or unnamed
        for given, kept in ((job.max_concurrent, limits), (job.hold_after_failures, hold_after)):
            if given is not None and kept.setdefault(job.group_id, given) != given:
                raise Malformed(f"Group {job.group_id} is given two different limits")
    return limits, hold_after


def _group_tasks(requests: list[JobRequest]) -> None:
    """The jobs of an array or a sweep are a group, also if nobody said so: they have an end that can be told."""
    tasks = [job for job in requests if job.group_id is None and (job.task_id is not None or job.parameters)]
    if len(tasks) > 1:
        group_id = new_group_id()
        for job in tasks:
            job.group_id = group_id


async def _spec(spooled: Spooled, job: JobRequest, who: Caller, uid: int | None) -> JobSpec:
    if job.run_dir is None:
        raise Malformed("run_dir is missing: say in which directory the job runs")
    work = [job.command, job.argv, job.script if job.script_text is None else job.script_text]
    if sum(kind is not None for kind in work) != 1:
        raise Malformed("A job needs exactly one of command, argv, script and script_text")
    spec = spec_from(
        job,
        owner=who.name,
        uid=uid,
        run_dir=job.run_dir,
        script_digest=await spooled.script(job.script, job.script_text, job.run_dir),
        environment=await spooled.environment(job.environment),
    )
    if spec.parameters:
        await trio.lowlevel.checkpoint()  # reading a long line takes a while
        check_line(spec)
    return spec
