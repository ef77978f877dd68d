"""What a job with a cgroup is held to: its limit by the kernel, and what left the cgroup by a watch.

A process cannot leave by itself, but it can ask somebody who may move it: `systemd-run --user --scope`, and containers
of users that are started so, have process 1 do that. It is the job's all the same, and so counts to its limit.
"""

from collections.abc import Collection

import trio

from gflow.launch.cgroups import Cgroups
from gflow.launch.consumption import memory_over
from gflow.launch.patience import Patience
from gflow.launch.processes import Process


async def confined_over(
    cgroups: Cgroups,
    name: str,
    limit_mb: int | None,
    found: Collection[Process],
    user: int | None,
    patience: Patience,
) -> int | None:
    """Hold the cgroup to this limit; what the job has in memory (bytes), if what is outside makes that too much.

    found: its processes, which are this user's.
    """
    outside, held = await trio.to_thread.run_sync(_hold, cgroups, name, limit_mb, found)
    if limit_mb is None or not outside:
        return None
    over = await memory_over(outside, (limit_mb << 20) - held, user, patience)
    return None if over is None else over + held


def _hold(cgroups: Cgroups, name: str, limit_mb: int | None, found: Collection[Process]) -> tuple[list[Process], int]:
    """What is outside, and how much memory (bytes) the cgroup holds."""
    cgroups.hold(name, limit_mb)
    inside = cgroups.pids(name)
    outside = [process for process in found if process.pid not in inside]
    return outside, cgroups.held_bytes(name) if outside else 0
