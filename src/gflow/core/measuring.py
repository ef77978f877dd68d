"""What running jobs do with their GPUs: utilisation and memory, sampled at each look of the probe.

Samples are gathered beside the jobs and put into them when they end, when something is to be said at once, and every
`KEEP_SECS`, so that neither the log nor a restart costs much of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gflow.core.events import EventKind
from gflow.core.limits import format_memory_mb, rounded_mb
from gflow.core.model import GpuStatus, GpuUse, Job, JobId, Now

KEEP_SECS = 300.0
"""How old what is kept with a job may be; after a kill -9 no more than this is missing."""

IDLE_PCT = 1.0
"""Below this a GPU counts as not used."""

SLACK = 1.02
"""A job may exceed what it declared by so much: drivers round, and contexts have sizes of their own."""


@dataclass(slots=True)
class _Gathered:
    use: GpuUse
    kept_boot: float
    utilisations: int = 0
    idle_since_boot: float | None = None
    told_idle: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """The job as it is now, and what is to be told: kinds of events, with what they say beside the job."""

    job: Job
    news: list[tuple[EventKind, dict[str, Any]]] = field(default_factory=list)


class Measuring:
    """The samples of all running jobs."""

    def __init__(self) -> None:
        self._gathered: dict[JobId, _Gathered] = {}

    def sample(self, job: Job, status: Mapping[int, GpuStatus], now: Now, idle_secs: float | None) -> Changed:
        """Add what was just seen of a running job's devices."""
        seen = [status[index] for index in job.gpu_ids or () if index in status and status[index].fault is None]
        if not seen:
            return Changed(job)
        gathered = self._gathered.get(job.id)
        if gathered is None:
            kept = job.gpu_use or GpuUse()
            gathered = self._gathered[job.id] = _Gathered(kept, now.boot, kept.samples)
        _add(gathered, seen, job.id)
        changed = Changed(_kept(job, gathered, now) if now.boot - gathered.kept_boot >= KEEP_SECS else job)
        return _idleness(_exceeding(changed, gathered, now), gathered, seen, now, idle_secs)

    def end(self, job: Job) -> Job:
        """The job with all that was gathered; it has ended."""
        gathered = self._gathered.pop(job.id, None)
        return job if gathered is None else replace(job, gpu_use=gathered.use)

    def now(self, job: Job) -> GpuUse | None:
        """What is known of a job until now."""
        gathered = self._gathered.get(job.id)
        return gathered.use if gathered is not None else job.gpu_use


def _add(gathered: _Gathered, seen: list[GpuStatus], job_id: JobId) -> None:
    use = gathered.use
    pcts = [float(status.utilisation_pct) for status in seen if status.utilisation_pct is not None]
    held = [mb for status in seen if (mb := status.job_mb.get(job_id)) is not None]
    mean, peak = use.mean_pct, use.peak_pct
    if pcts:
        pct = sum(pcts) / len(pcts)
        gathered.utilisations += 1
        mean = pct if mean is None else mean + (pct - mean) / gathered.utilisations
        peak = max(peak or 0.0, *pcts)
    peak_mb = max([*held, *([] if use.peak_mb is None else [use.peak_mb])], default=None)
    gathered.use = GpuUse(samples=use.samples + 1, mean_pct=mean, peak_pct=peak, peak_mb=peak_mb)


def _kept(job: Job, gathered: _Gathered, now: Now, **changes: Any) -> Job:
    gathered.kept_boot = now.boot
    return replace(job, gpu_use=gathered.use, **changes)


def _exceeding(changed: Changed, gathered: _Gathered, now: Now) -> Changed:
    """Say when a job uses more than it declared, and count its share as what it uses from then on."""
    job, peak = changed.job, gathered.use.peak_mb
    declared = job.spec.gpu_memory_mb
    if not job.spec.shared or declared is None or peak is None or peak <= declared * SLACK:
        return changed
    if peak <= (job.gpu_share_mb or 0):
        return changed
    text = f"uses {rounded_mb(peak)} of GPU memory, declared {format_memory_mb(declared)}"
    news = [] if job.gpu_share_mb else [(EventKind.GPU_MEMORY_EXCEEDED, {"declared_mb": declared, "used_mb": peak})]
    return Changed(_kept(job, gathered, now, gpu_share_mb=peak, detail=text), [*changed.news, *news])


def _idleness(
    changed: Changed, gathered: _Gathered, seen: list[GpuStatus], now: Now, idle_secs: float | None
) -> Changed:
    """Say, once until it works again, that a job holds GPUs without using them."""
    pcts = [status.utilisation_pct for status in seen]
    if any(pct is None or pct >= IDLE_PCT for pct in pcts):
        gathered.idle_since_boot, gathered.told_idle = None, False
        return changed
    if gathered.idle_since_boot is None:
        gathered.idle_since_boot = now.boot
    idle_for = now.boot - gathered.idle_since_boot
    if idle_secs is None or idle_for < idle_secs or gathered.told_idle:
        return changed
    gathered.told_idle = True
    return Changed(changed.job, [*changed.news, (EventKind.GPU_IDLE, {"idle_secs": round(idle_for)})])


def verdict(job: Job, use: GpuUse | None) -> str | None:
    """What became of the declared GPU memory, as `declared 20G, peak 11.2G`; None if there is nothing to compare."""
    declared, peak = job.spec.gpu_memory_mb, use.peak_mb if use is not None else None
    if declared is None or peak is None:
        return None
    return f"declared {format_memory_mb(declared)}, peak {rounded_mb(peak)}"
