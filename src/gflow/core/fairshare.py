"""Fair share: who has had less of the machine lately comes first, within one priority.

gflow's factor is 2 ** -(usage / total x users), which orders users exactly as their usage does, so the usage itself is
compared. It is in GPU-seconds, halves every `half_life_secs`, and counts running jobs as they run. A job without GPUs
counts as `CPU_SHARE` of one, and every start as `START_SECS` more, so that within one pass, too, nobody takes all.
"""

import math
from collections.abc import Mapping
from typing import Any

from gflow.core.model import Job, JobSpec, Now
from gflow.core.stops import elapsed_secs

CPU_SHARE = 0.1
START_SECS = 60.0


def weight(spec: JobSpec) -> float:
    """What a second of the job counts for."""
    return float(spec.gpus) or CPU_SHARE


class FairShare:
    """The usage of each owner. `half_life_secs` None: it is kept, but does not order the queue."""

    def __init__(self, half_life_secs: float | None = None, kept_half_life_secs: float = 604800.0) -> None:
        self.ordering = half_life_secs is not None
        self._kept_half_life_secs = kept_half_life_secs
        self._half_life_secs = half_life_secs or kept_half_life_secs
        self._past: dict[str, tuple[float, float]] = {}
        self._running: dict[str, dict[int, Job]] = {}

    def configure(self, half_life_secs: float | None, wall: float) -> None:
        """Use another half-life from now on; until now usage has decayed by the one before."""
        self._past = {owner: (self._decayed(owner, wall), wall) for owner in self._past}
        self.ordering = half_life_secs is not None
        self._half_life_secs = half_life_secs or self._kept_half_life_secs

    def take(self, job: Job) -> None:
        """A job runs."""
        self._running.setdefault(job.spec.owner, {})[job.id] = job

    def free(self, job: Job) -> None:
        """Undo `take`."""
        running = self._running[job.spec.owner]
        del running[job.id]
        if not running:
            del self._running[job.spec.owner]

    def usage(self, owner: str, now: Now) -> float:
        """Weighted seconds, the past ones decayed."""
        return self._decayed(owner, now.wall) + sum(_cost(job, now) for job in self._running.get(owner, {}).values())

    def charge(self, job: Job, now: Now) -> None:
        """A job that ran has ended, `finished_at` is set."""
        if job.started_at is not None:
            self._past[job.spec.owner] = (self._decayed(job.spec.owner, now.wall) + _cost(job, now), now.wall)

    def _decayed(self, owner: str, wall: float) -> float:
        usage, at = self._past.get(owner, (0.0, wall))
        return usage * math.pow(0.5, max(0.0, wall - at) / self._half_life_secs)

    def to_map(self) -> dict[str, dict[str, float]]:
        """As it is kept with the state; gflow's own form."""
        return {owner: {"usage": usage, "last_update": at} for owner, (usage, at) in self._past.items()}

    def restore(self, plain: Mapping[str, Any], wall: float) -> None:
        """Take over what `to_map` gave."""
        for owner, entry in plain.items():
            self._past[owner] = float(entry["usage"]), float(entry.get("last_update") or wall)


class UsageNow:
    """Everybody's usage during one pass, where it orders the queue; starts count at once."""

    def __init__(self, fair_share: FairShare, now: Now) -> None:
        self._fair_share = fair_share
        self._now = now
        self._known: dict[str, float] = {}

    def of(self, owner: str) -> float:
        """The usage of an owner; the same for all if fair share is off."""
        if not self._fair_share.ordering:
            return 0.0
        if owner not in self._known:
            self._known[owner] = self._fair_share.usage(owner, self._now)
        return self._known[owner]

    def started(self, job: Job) -> None:
        """A job was started in this pass."""
        self._known.pop(job.spec.owner, None)


def _cost(job: Job, now: Now) -> float:
    return weight(job.spec) * ((elapsed_secs(job, now) or 0.0) + START_SECS)
