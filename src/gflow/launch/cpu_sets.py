"""Which CPUs a job runs on that asked for a number of them.

A job is put on so many CPUs, those that the fewest such jobs are on already: as jobs are counted against the machine
they mostly have them alone. What a program finds when it asks how many there are (nproc, OpenMP, PyTorch) is then what
it may use, and it starts as many threads; with a share of the time alone it would start one for each CPU of the machine
and be held up all the time. Where there are cgroups, these keep a job from taking more all the same.

What running jobs have is read from their processes by a later daemon, so nothing is stored.
"""

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Collection


def usable_cpus() -> frozenset[int]:
    """The CPUs that jobs can have: those the daemon itself may run on."""
    return frozenset(os.sched_getaffinity(0))


class CpuSets:
    """Who is on which CPUs. Safe from several threads."""

    def __init__(self, cpus: Collection[int]) -> None:
        self._cpus = sorted(cpus)
        self._taken: dict[str, frozenset[int]] = {}
        self._lock = threading.Lock()

    def take(self, run_id: str, number: int) -> str:
        """CPUs for a launch, as taskset's `0,2,3`. All there are, if it is to have more."""
        with self._lock:
            uses = Counter(cpu for cpus in self._taken.values() for cpu in cpus)
            chosen = sorted(self._cpus, key=lambda cpu: (uses[cpu], cpu))[:number]
            self._taken[run_id] = frozenset(chosen)
        return ",".join(map(str, sorted(chosen)))

    def note(self, run_id: str, pid: int) -> None:
        """A launch of an earlier daemon has what its process `pid` has."""
        with contextlib.suppress(OSError), self._lock:
            self._taken[run_id] = frozenset(os.sched_getaffinity(pid))

    def free(self, run_id: str) -> None:
        """The launch is over."""
        with self._lock:
            self._taken.pop(run_id, None)
