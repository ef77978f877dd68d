"""Who keeps jobs to their limits on this machine: the kernel, where they may have cgroups, else a watch."""

import logging
import threading
from pathlib import Path
from typing import Any

from gflow.launch.cgroups import Cgroups, Unavailable

log = logging.getLogger(__name__)


class Limits:
    """What there is for the jobs of one data directory. It is known once it was asked for."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._server_pid: int | None = None
        self._cgroups: Cgroups | None = None
        self._why: str | None = "no cgroup has been looked for"
        self._lock = threading.Lock()

    def of(self, server_pid: int | None) -> Cgroups | None:
        """The cgroups of jobs where this process is, None if there can be none; without one those there were.

        It is the tmux server, and where one daemon serves several users what holds a place for all of them.
        """
        with self._lock:
            if server_pid is not None and server_pid != self._server_pid:
                self._server_pid = server_pid
                self._look(server_pid)
            return self._cgroups

    def _look(self, server_pid: int) -> None:
        try:
            self._cgroups, self._why = Cgroups.open(self._data_dir, server_pid), None
            log.info("limits of jobs are kept by cgroups in %s", self._cgroups.directory)
        except Unavailable as trouble:
            self._cgroups, self._why = None, str(trouble)
            log.info("limits of memory are watched once a second: %s", trouble)

    @property
    def told(self) -> dict[str, Any]:
        """For `/status`: what sees to limits of `memory` and of `cpus`, and `why` it is no cgroup."""
        if self._cgroups is None:
            return {"memory": "watch", "cpus": "affinity", "why": self._why}
        return {"memory": "cgroup", "cpus": "cgroup" if "cpu" in self._cgroups.controllers else "affinity", "why": None}
