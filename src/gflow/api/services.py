"""What the handlers may use: the runtime, and what it cannot tell itself."""

import json
import math
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from gflow.api.answers import encode
from gflow.api.callers import Caller
from gflow.api.forecast import Forecast
from gflow.api.gate import UNKNOWN
from gflow.api.gauge import Gauge
from gflow.api.listing import Listing
from gflow.api.users import Users
from gflow.core.errors import Forbidden, Unauthorized
from gflow.core.model import GpuUse, Group, Job, JobId, Reason
from gflow.core.tokens import Tokens
from gflow.daemon.runtime import Runtime
from gflow.daemon.tally import Tally
from gflow.launch.base import Launcher
from gflow.launch.patience import Patience
from gflow.store.spool import Spool
from gflow.store.upkeep.compaction import Compacted
from gflow.wire.jobs import cut_down, job_json

KEPT_ENCODINGS = 20_000
"""Encoded jobs kept; about 1.4 kB each."""


class Notifications(Protocol):
    """What tells the outside of events. `redeliver` and `test` raise a Refused."""

    @property
    def sends_mail(self) -> bool:
        """Whether jobs can have somebody mailed."""

    def unmailed(self, addresses: Sequence[str]) -> list[str]:
        """Those that jobs may not have written to."""

    def status(self) -> dict[str, Any]:
        """How it goes with every target."""

    async def given_up(self) -> list[dict[str, Any]]:
        """The last deliveries that were given up, the latest first."""

    async def redeliver(self, delivery_id: str) -> dict[str, Any]:
        """Let a delivery that was given up be made after all."""

    async def test(self, name: str | None) -> list[dict[str, Any]]:
        """Try each target, or those called so, once and now; how that went."""


class Submitters(Protocol):
    """The users of the machine, where jobs run as their submitters."""

    async def check(self, uid: int, name: str) -> None:
        """Raise Impossible, with the reason, for one whose jobs could not be run."""


@dataclass(frozen=True, slots=True)
class KnownEnvironment:
    """Captured variables, the digest of what the spool keeps of them, and the names that were left out."""

    variables: Mapping[str, str]
    digest: str
    dropped: frozenset[str]


_Encoded = tuple[Job, object, object, object, bytes]


@dataclass(slots=True)
class Services:
    """Everything the API stands on.

    - listing: finds jobs, also those that are in the history only.
    - health: the body of `/health` and whether it is well. gpu_trouble: why no GPU can be seen, None if they can.
    - render_environment: turns captured variables into what the spool keeps.
    - session: the name of a job's terminal session.
    - compact: writes a snapshot now. recovering: the state could not be read, and its files must stay as they are.
    - turn: taken by who moves or removes ended jobs.
    - forecast: when waiting jobs are expected to start.
    - gauge: how far running jobs are.
    - configured_gpus: the devices the configuration allows, None for all.
    - look_at_gpus: has the GPUs looked at soon.
    - start_ticks: when a process started, in clock ticks since boot; None if there is none.
    - users: who is who on this machine. tokens: what lets requests over TCP in. auth: `daemon.auth`.
    - own_only: whether others' command lines, logs and so on are hidden (`access.visibility = "own"`).
    - replace: lets the program that is installed now take the daemon's place. Raises Refused.
    - reload: reads the configuration anew; what changed, see `daemon.reloading.Differences`. Raises Refused.
    - notifications: the targets that are told of events. tally: how often each kind of event has happened.
    - submitters: the users jobs are run as; None: all jobs run as the daemon's user.
    - limits: what keeps jobs to their `memory` ("cgroup", "watch") and `cpus`, and `why` it is no cgroup.
    """

    runtime: Runtime
    listing: Listing
    launcher: Launcher
    spool: Spool
    logs_dir: Path
    env_drop: tuple[str, ...]
    status: dict[str, Any]
    health: Callable[[], tuple[dict[str, Any], bool]]
    gpu_trouble: Callable[[], str | None]
    render_environment: Callable[[Mapping[str, str]], bytes]
    session: Callable[[JobId], str]
    compact: Callable[[], Awaitable[Compacted]]
    recovering: bool
    turn: trio.Lock
    forecast: Forecast
    gauge: Gauge
    configured_gpus: list[int] | None
    look_at_gpus: Callable[[], None]
    start_ticks: Callable[[int], int | None]
    reload: Callable[[], Awaitable[tuple[list[str], list[str]]]]
    replace: Callable[[], Awaitable[None]]
    notifications: Notifications
    tally: Tally
    users: Users
    tokens: Tokens
    auth: str | None
    own_only: bool
    limits: Callable[[], Mapping[str, Any]]
    submitters: Submitters | None = None
    patience: Patience = field(default_factory=Patience)
    seen_directories: dict[str, float] = field(default_factory=dict)
    known_environments: dict[int, KnownEnvironment] = field(default_factory=dict)
    _encoded: dict[JobId, _Encoded] = field(default_factory=dict)
    _cut_down: dict[JobId, tuple[bytes, bytes]] = field(default_factory=dict)

    def log_path(self, job_id: JobId) -> Path:
        """Where the job's output goes."""
        return self.logs_dir / f"{job_id}.log"

    def reason(self, job: Job) -> Reason | None:
        """Why the job waits or ended as it did. One that has changed since it was looked up is told no new reason."""
        engine = self.runtime.engine
        return engine.reason(job) if engine.jobs.get(job.id) is job else job.reason

    def job_bytes(self, job: Job) -> bytes:
        """The job's record as JSON. Kept until the job changes: most of a long list is the same each time.

        Asked for each job of a long list, so nothing is looked up twice.
        """
        engine = self.runtime.engine
        group = engine.groups.get(job.spec.group_id) if job.spec.group_id is not None else None
        if engine.jobs.get(job.id) is not job:
            return self._encode(job, job.reason, group, job.gpu_use)
        reason, use = engine.reason(job), engine.measuring.now(job) if job.gpu_ids else None
        known = self._encoded.get(job.id)
        unchanged = known is not None and known[0] is job and known[2] is group and known[3] is use
        if known is not None and unchanged and (known[1] is reason or known[1] == reason):  # == alone is slow
            return known[4]
        body = self._encode(job, reason, group, use)
        if len(self._encoded) >= KEPT_ENCODINGS:
            self._encoded.clear()
        self._encoded[job.id] = job, reason, group, use, body
        return body

    def sees(self, who: Caller, job: Job) -> bool:
        """Whether `who` may see what the job runs and prints."""
        return not self.own_only or who.admin or job.spec.owner == who.name

    def check_sees(self, who: Caller, job: Job) -> None:
        """Raise Forbidden for somebody who may not."""
        if not self.sees(who, job):
            raise Forbidden(
                f"Job {job.id} belongs to {job.spec.owner}, and is not to be looked into; you are {who.name}"
            )

    def still_lets_in(self, who: Caller) -> bool:
        """Whether an answer that goes on and on may: the token it was asked for with may be over."""
        return who.token is None or self.tokens.holds(who.token, self.runtime.clock().wall)

    def secs_left(self, who: Caller) -> float:
        """How long it will do so, unless the token is revoked or the clock is set meanwhile."""
        return math.inf if who.token is None else self.tokens.secs_left(who.token, self.runtime.clock().wall)

    def check_still_lets_in(self, who: Caller) -> None:
        """Raise Unauthorized if the token it was asked for with is over."""
        if not self.still_lets_in(who):
            raise Unauthorized(UNKNOWN)

    def encoder(self, who: Caller) -> Callable[[Job], bytes]:
        """What makes records of jobs as `who` may see them."""
        return self.job_bytes if not self.own_only or who.admin else partial(self._as_seen, who)

    def _as_seen(self, who: Caller, job: Job) -> bytes:
        """The record, or what others may see of it: that is made anew whenever the record is."""
        whole = self.job_bytes(job)
        if self.sees(who, job):
            return whole
        known = self._cut_down.get(job.id)
        if known is not None and known[0] is whole:
            return known[1]
        body = encode(cut_down(json.loads(whole)))
        if len(self._cut_down) >= KEPT_ENCODINGS:
            self._cut_down.clear()
        self._cut_down[job.id] = whole, body
        return body

    def _encode(self, job: Job, reason: Reason | None, group: Group | None, use: GpuUse | None) -> bytes:
        places = {"session": self.session(job.id), "log_path": str(self.log_path(job.id))}
        return encode(job_json(job, reason, group, use, **places))


def new_group_id() -> str:
    """A name for the jobs of one submission."""
    return str(uuid.uuid4())
