"""Usage figures of many jobs: sums that can be added up wherever the jobs are kept."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from gflow.core.days import day_of, days_between
from gflow.core.model import Job, JobId, Now, State
from gflow.core.stops import elapsed_secs

TOP = 5


class Run(NamedTuple):
    """A job by the time it ran."""

    secs: float
    id: JobId
    name: str
    gpus: int


@dataclass(slots=True)
class Usage:
    """Sums over jobs.

    - states: how many jobs are in each. started: how many have run.
    - wait_secs, run_secs, gpu_secs: of those that have run, in all.
    - gpus: asked for, in all; most_gpus: by one job; with_gpus: jobs that asked for any.
    - measured: jobs whose GPUs were seen at work, or idle; measured_gpu_secs: what they held; busy_gpu_secs: what they
      used of that.
    - longest: the `TOP` longest runs.
    """

    states: Counter[State] = field(default_factory=Counter)
    started: int = 0
    wait_secs: float = 0.0
    run_secs: float = 0.0
    gpu_secs: float = 0.0
    with_gpus: int = 0
    gpus: int = 0
    most_gpus: int = 0
    measured: int = 0
    measured_gpu_secs: float = 0.0
    busy_gpu_secs: float = 0.0
    longest: list[Run] = field(default_factory=list)

    @property
    def jobs(self) -> int:
        """How many jobs there are."""
        return self.states.total()

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            states=self.states + other.states,
            started=self.started + other.started,
            wait_secs=self.wait_secs + other.wait_secs,
            run_secs=self.run_secs + other.run_secs,
            gpu_secs=self.gpu_secs + other.gpu_secs,
            with_gpus=self.with_gpus + other.with_gpus,
            gpus=self.gpus + other.gpus,
            most_gpus=max(self.most_gpus, other.most_gpus),
            measured=self.measured + other.measured,
            measured_gpu_secs=self.measured_gpu_secs + other.measured_gpu_secs,
            busy_gpu_secs=self.busy_gpu_secs + other.busy_gpu_secs,
            longest=_longest([*self.longest, *other.longest]),
        )

    def count(self, job: Job, secs: float) -> None:
        """Count one more job in, which has run for so long; but what it used is for `use` to say."""
        self.states[job.state] += 1
        self.with_gpus += job.spec.gpus > 0
        self.gpus += job.spec.gpus
        self.most_gpus = max(self.most_gpus, job.spec.gpus)
        if job.started_at is not None:
            self.started += 1
            self.wait_secs += job.started_at - job.submitted_at
            self.measured += _mean_pct(job) is not None
            self.longest.append(Run(secs, job.id, job.run_name, job.spec.gpus))

    def use(self, secs: float, gpus: int, mean_pct: float | None) -> None:
        """Some time that a job ran, on so many GPUs, of which so much was used."""
        self.run_secs += secs
        self.gpu_secs += secs * gpus
        if mean_pct is not None:
            self.measured_gpu_secs += secs * gpus
            self.busy_gpu_secs += secs * gpus * mean_pct / 100


def usage_of(jobs: Iterable[Job], now: Now) -> Usage:
    """The sums over these jobs; running ones count up to `now`."""
    return usage_by(jobs, now, lambda _job: "").get("", Usage())


def usage_by(jobs: Iterable[Job], now: Now, key: Callable[[Job], str]) -> dict[str, Usage]:
    """The sums over the jobs of each key."""
    found: dict[str, Usage] = {}
    for job in jobs:
        usage = found.setdefault(key(job), Usage())
        secs = elapsed_secs(job, now) or 0.0
        usage.count(job, secs)
        if job.started_at is not None:
            usage.use(secs, len(job.gpu_ids or ()), _mean_pct(job))
    for usage in found.values():
        usage.longest = _longest(usage.longest)
    return found


def usage_by_day(jobs: Iterable[Job], now: Now, since: float) -> dict[str, Usage]:
    """The sums for each local day from the one of `since` on.

    A job is counted on the day it ended, or today; what it used, on the days it did.
    """
    found: dict[str, Usage] = {}
    for job in jobs:
        until = job.finished_at if job.finished_at is not None else now.wall
        if until < since:
            continue
        secs = elapsed_secs(job, now) or 0.0
        usage = found.setdefault(day_of(until), Usage())
        usage.count(job, secs)
        usage.longest = []
        if job.started_at is not None:
            spread(found, until - secs, until, since, len(job.gpu_ids or ()), _mean_pct(job))
    return found


def spread(found: dict[str, Usage], start: float, end: float, since: float, gpus: int, mean_pct: float | None) -> None:
    """Add what a job used between two moments to the days it did so on, none before `since`."""
    for day, secs in days_between(max(start, since), end):
        found.setdefault(day, Usage()).use(secs, gpus, mean_pct)


def together(first: dict[str, Usage], second: dict[str, Usage]) -> dict[str, Usage]:
    """The sums of both, key by key, in the order of the keys."""
    keys = sorted(first.keys() | second.keys())
    return {key: first.get(key, Usage()) + second.get(key, Usage()) for key in keys}


def _mean_pct(job: Job) -> float | None:
    return job.gpu_use.mean_pct if job.gpu_use is not None else None


def _longest(runs: list[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (-run.secs, run.id))[:TOP]
