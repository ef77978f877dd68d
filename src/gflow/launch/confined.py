"""What a job with a cgroup is held to: its limit by the kernel, and what left the cgroup by a watch.

A process cannot leave by itself, but it can ask somebody who may move it: `systemd-run --user --scope`, and containers
of users that are started so, have process 1 do that. It is the job's all the same, and so counts to its limit.
"""

from collections.abc import Collection

from gflow.launch.cgroups import Cgroups
from gflow.launch.consumption import memory_over
from gflow.launch.processes import Process


def confined_over(cgroups: Cgroups, name: str, limit_mb: int | None, found: Collection[Process]) -> int | None:
    """Hold the cgroup to this limit; what the job has in memory (bytes), if what is outside makes that too much.

    found: its processes. Blocks on files.
    """
    cgroups.hold(name, limit_mb)
    inside = cgroups.pids(name)
    outside = [process for process in found if process.pid not in inside]
    if limit_mb is None or not outside:
        return None
    held = cgroups.held_bytes(name)
    over = memory_over(outside, (limit_mb << 20) - held)
    return None if over is None else over + held
