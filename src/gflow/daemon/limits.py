"""Who keeps jobs to their limits on this machine: the kernel, where the daemon may have cgroups, else a watch."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gflow.launch.cgroups import Cgroups, Unavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """`cgroups` or, without them, `why` there are none."""

    cgroups: Cgroups | None
    why: str | None

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """What there is for the daemon of this data directory; its own process may move to another cgroup for it."""
        try:
            cgroups = Cgroups.open(data_dir)
        except Unavailable as trouble:
            log.info("limits of memory are watched once a second: %s", trouble)
            return cls(None, str(trouble))
        log.info("limits of jobs are kept by cgroups in %s", cgroups.directory)
        return cls(cgroups, None)

    @property
    def kept_by(self) -> str:
        """ "cgroup" or "watch": what sees to limits of memory."""
        return "watch" if self.cgroups is None else "cgroup"

    @property
    def told(self) -> dict[str, Any]:
        """For `/status`: what sees to limits of memory and of CPUs, and why it is no cgroup."""
        cpus = "cgroup" if self.cgroups is not None and "cpu" in self.cgroups.controllers else "affinity"
        return {"memory": self.kept_by, "cpus": cpus, "why": self.why}
