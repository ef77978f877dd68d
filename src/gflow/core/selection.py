"""Which jobs are asked for: one set of conditions for every list, wherever the jobs are kept."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gflow.core.model import Job, State


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that all must hold; None is none.

    - owners, names: exact. group: its id, or its owner's name for it.
    - since: submitted at this moment (seconds since the epoch) or later.
    """

    states: frozenset[State] | None = None
    owners: frozenset[str] | None = None
    names: frozenset[str] | None = None
    project: str | None = None
    since: float | None = None
    group: str | None = None

    def of(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Those of `jobs` that are meant."""
        return (
            job
            for job in jobs
            if (self.states is None or job.state in self.states)
            and (self.owners is None or job.spec.owner in self.owners)
            and (self.names is None or job.run_name in self.names)
            and (self.project is None or job.spec.project == self.project)
            and (self.since is None or job.submitted_at >= self.since)
            and (self.group is None or self.group in (job.spec.group_id, job.spec.group_name))
        )


EVERYTHING = Selection()
