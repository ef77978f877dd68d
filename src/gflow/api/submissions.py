"""Submitting jobs: from the request to the queue.

Everything that takes time (reading a script, writing to the spool) is done before the one synchronous step that queues
the jobs, and the answer waits for the disk.
"""

import math
import os
import stat
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import trio
from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer
from gflow.api.body import json_body
from gflow.api.callers import Caller, caller, check_group
from gflow.api.services import KnownEnvironment, Services, new_group_id
from gflow.core.errors import Impossible, Malformed, Unavailable
from gflow.core.groups import Cell, cell_of, id_of
from gflow.core.model import Job, JobId, JobSpec, State
from gflow.core.submission import check_group_limit, check_hold_after
from gflow.store.spool import Kind
from gflow.wire.requests import JobRequest, read, read_batch, spec_from

MAX_SCRIPT_BYTES = 4 << 20
DIRECTORY_SECS = 10.0
"""How long a directory that was there is taken to be there; the launch looks again in any case."""

KEPT_DIRECTORIES = 1000
KEPT_ENVIRONMENTS = 32
"""Environments whose place in the spool is remembered."""


def blueprint(services: Services) -> Blueprint:
    """Routes that make jobs."""
    routes = Blueprint("submissions", __name__)

    @routes.post("/jobs")
    async def submit() -> Response:
        query.allow("dry_run")
        dry_run = query.flag("dry_run")
        made = await _submit(services, [read(JobRequest, await json_body())], caller(), dry_run=dry_run)
        return answer(made[0], 200 if dry_run else 201)

    @routes.post("/jobs/batch")
    async def submit_batch() -> Response:
        query.allow("dry_run")
        dry_run = query.flag("dry_run")
        made = await _submit(services, read_batch(await json_body()), caller(), dry_run=dry_run)
        return answer(made, 200 if dry_run else 201)

    return routes


async def _submit(
    services: Services, requests: list[JobRequest], who: Caller, *, dry_run: bool = False
) -> list[dict[str, Any]]:
    runtime = services.runtime
    runtime.check_open()
    _name_groups(requests, who)
    groups, hold_after = _group_wishes(requests)
    await _check_directories(services, requests, who)
    spooled = _Spooled(services)
    try:
        specs = [await spooled.spec(job, who) for job in requests]
        recalled, cells = await services.listing.behind(_dependencies(specs), _cells(specs))
        await trio.lowlevel.checkpoint_if_cancelled()  # for a caller that has hung up nothing is queued
        runtime.check_open()
        for group_id in {spec.group_id for spec in specs if spec.group_id is not None}:
            check_group(who, runtime.engine, group_id)
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
    return [_receipt(job, spooled.dropped, earlier=was) for job, was in zip(jobs, earlier, strict=True)]


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


def _cells(specs: Iterable[JobSpec]) -> set[Cell]:
    return {cell for spec in specs if (cell := cell_of(spec)) is not None}


def _same_request(spec: JobSpec, job: Job) -> bool:
    """Whether a job was made by the very request that is being answered, whose first answer got lost."""
    return spec.submit_key is not None and spec.submit_key == job.spec.submit_key


def _receipt(job: Job, dropped: list[str], *, earlier: bool) -> dict[str, Any]:
    """`already`: the state of an earlier job that is the same cell; `held`: why its group has it on hold."""
    told = {"id": job.id, "run_name": job.run_name, "dropped_env": dropped}
    if earlier:
        told["already"] = job.state
    if job.state is State.HOLD and job.spec.group_id is not None and job.detail is not None:
        told["held"] = job.detail
    return told


def _foreseen(spec: JobSpec, job: Job | None) -> dict[str, Any]:
    if job is None:
        return {"id": None, "run_name": spec.name}
    return {"id": job.id, "run_name": job.run_name, "already": job.state}


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


class _Spooled:
    """The environments and scripts of one submission in the spool, each distinct one once, pinned until `unpin`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pins: list[tuple[Kind, str]] = []
        self._environments: dict[int, str] = {}
        self._scripts: dict[str, str] = {}
        self.dropped: list[str] = []

    async def spec(self, job: JobRequest, who: Caller) -> JobSpec:
        if job.run_dir is None:
            raise Malformed("run_dir is missing: say in which directory the job runs")
        work = [job.command, job.argv, job.script if job.script_text is None else job.script_text]
        if sum(kind is not None for kind in work) != 1:
            raise Malformed("A job needs exactly one of command, argv, script and script_text")
        return spec_from(
            job,
            owner=who.name,
            run_dir=job.run_dir,
            script_digest=await self._script(job),
            environment=await self._environment(job.environment),
        )

    async def _environment(self, variables: Any) -> str | None:
        if variables is None:
            return None
        digest = self._environments.get(id(variables))
        if digest is None:
            if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
                raise Malformed("Invalid request: environment is an object of strings")
            digest, dropped = await self._captured(variables)
            self.dropped = sorted({*self.dropped, *dropped})
            self._environments[id(variables)] = digest
        return digest

    async def _captured(self, variables: dict[str, str]) -> tuple[str, frozenset[str]]:
        """The digest of these variables in the spool, and the names left out. One user's are mostly the same."""
        known, key = self._services.known_environments, hash(tuple(variables.items()))
        if key in known and known[key].variables == variables and self._pin("env", known[key].digest):
            return known[key].digest, known[key].dropped
        kept = {name: value for name, value in variables.items() if not self._drops(name)}
        try:
            data = self._services.render_environment(kept)
        except ValueError as error:
            raise Malformed(f"Invalid environment: {error}") from None
        digest, dropped = await self._put("env", data), frozenset(variables.keys() - kept.keys())
        if len(known) >= KEPT_ENVIRONMENTS:
            known.clear()
        known[key] = KnownEnvironment(variables, digest, dropped)
        return digest, dropped

    def _pin(self, kind: Kind, digest: str) -> bool:
        pinned = self._services.spool.pin(kind, digest)
        if pinned:
            self._pins.append((kind, digest))
        return pinned

    async def _put(self, kind: Kind, data: bytes) -> str:
        try:
            digest = await trio.to_thread.run_sync(self._services.spool.put, kind, data)
        except OSError as error:
            what = "environment" if kind == "env" else "script"
            raise Unavailable(f"The {what} of the job cannot be stored: {error.strerror or error}") from error
        self._pins.append((kind, digest))
        return digest

    def unpin(self) -> None:
        """The jobs are in the engine, or refused: what they need is known from there."""
        for kind, digest in self._pins:
            self._services.spool.unpin(kind, digest)

    def _drops(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._services.env_drop)

    async def _script(self, job: JobRequest) -> str | None:
        if job.script is None and job.script_text is None:
            return None
        key = job.script_text if job.script_text is not None else f"\0{job.script}"
        if key not in self._scripts:
            data = await self._script_bytes(job)
            if not data.strip():
                raise Impossible(f"The script {job.script or ''} is empty".replace("  ", " "))
            if len(data) > MAX_SCRIPT_BYTES:
                raise Impossible(f"The script is longer than {MAX_SCRIPT_BYTES >> 20} MiB")
            self._scripts[key] = await self._put("script", data)
        return self._scripts[key]

    @staticmethod
    async def _script_bytes(job: JobRequest) -> bytes:
        if job.script_text is not None:
            return job.script_text.encode(errors="surrogateescape")
        return await trio.to_thread.run_sync(_read_script, Path(job.run_dir or "/", job.script or ""))


def _read_script(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Impossible(f"The script {path} is not a regular file")
            return file.read(MAX_SCRIPT_BYTES + 1)
    except OSError as error:
        raise Impossible(f"The script {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise Malformed("The script path contains a NUL character") from None
