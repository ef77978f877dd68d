"""Usage figures of many jobs: sums that can be added up wherever the jobs are kept."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

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


def usage_of(jobs: Iterable[Job], now: Now) -> Usage:
    """The sums over these jobs; running ones count up to `now`."""
    usage, runs = Usage(), []
    for job in jobs:
        usage.states[job.state] += 1
        usage.with_gpus += job.spec.gpus > 0
        usage.gpus += job.spec.gpus
        usage.most_gpus = max(usage.most_gpus, job.spec.gpus)
        if job.started_at is not None:
            secs = elapsed_secs(job, now) or 0.0
            usage.started += 1
            usage.wait_secs += job.started_at - job.submitted_at
            usage.run_secs += secs
            gpu_secs = secs * len(job.gpu_ids or ())
            usage.gpu_secs += gpu_secs
            if job.gpu_use is not None and job.gpu_use.mean_pct is not None:
                usage.measured += 1
                usage.measured_gpu_secs += gpu_secs
                usage.busy_gpu_secs += gpu_secs * job.gpu_use.mean_pct / 100
            runs.append(Run(secs, job.id, job.run_name, job.spec.gpus))
    usage.longest = _longest(runs)
    return usage


def _longest(runs: list[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (-run.secs, run.id))[:TOP]
