"""What the configuration says about sharing the machine."""

from dataclasses import dataclass, field

from gflow.core.errors import Impossible
from gflow.core.model import JobSpec
from gflow.core.quotas import Table as QuotaTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How jobs of several people get along.

    - max_bypass_secs: how long jobs may pass one that waits for resources nobody knows the end of.
    - fair_share_half_life_secs: None if fair share does not order the queue.
    - quotas: the configured ones.
    - known_projects: the allowed project codes, any if empty. require_project: whether a job must have one.
    - idle_gpu_warn_secs: how long a job may hold a GPU without using it before that is said; None: for ever.
    """

    max_bypass_secs: float = 3600.0
    fair_share_half_life_secs: float | None = None
    quotas: QuotaTable = field(default_factory=QuotaTable)
    known_projects: frozenset[str] = frozenset()
    require_project: bool = False
    idle_gpu_warn_secs: float | None = None

    def check_project(self, spec: JobSpec) -> None:
        """Refuse a job whose project is missing or unknown. Raises Impossible."""
        known = ", ".join(sorted(self.known_projects))
        if spec.project is None:
            if self.require_project:
                raise Impossible("A job needs a project (--project)" + (f"; known projects: {known}" if known else ""))
        elif self.known_projects and spec.project not in self.known_projects:
            raise Impossible(f"Unknown project '{spec.project}'; known projects: {known}")
