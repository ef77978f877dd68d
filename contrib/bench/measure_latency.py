"""How long a job waits when nothing is in its way: after the answer to its submission, and after the job before it.

Jobs tell the time themselves: their only instructions write bash's clock to a file.
"""

import itertools
import pathlib
import statistics
import time
import uuid

from peers import Bench, Daemon, Gflow, Runqd, until
from report import Goal, Row

IDLE_JOBS, CHAIN = 100, 40
RUNQD_IDLE_JOBS, RUNQD_CHAIN = 10, 8


def stamp(path: pathlib.Path) -> str:
    """A shell command that writes the time to `path`."""
    return f"echo $EPOCHREALTIME >{path}"


def read(path: pathlib.Path) -> float:
    """The time in `path`, seconds since the epoch."""
    return float(path.read_text())


def answer_to_start(daemon: Daemon, jobs: int) -> list[float]:
    """Milliseconds from the answer to the job's first instruction, each job alone on an idle daemon."""
    waits = []
    for number in range(jobs):
        path = daemon.work / f"idle-{number}"
        daemon.submit(daemon.job(stamp(path)))
        answered = time.time()
        until(daemon.is_idle, f"job {number} has ended", every=0.02)
        waits.append((read(path) - answered) * 1000)
    return waits


def gaps(daemon: Daemon, name: str, jobs: int) -> list[float]:
    """Milliseconds between the end of each job and the start of the next, of jobs that ran one after another."""
    until(daemon.is_idle, f"the {name} has ended", 120, every=0.05)
    runs = [(read(daemon.work / f"{name}-{i}.start"), read(daemon.work / f"{name}-{i}.end")) for i in range(jobs)]
    runs.sort()
    return [(after[0] - before[1]) * 1000 for before, after in itertools.pairwise(runs)]


def link(daemon: Daemon, name: str, number: int, **fields: object) -> dict[str, object]:
    """A job that writes when it starts and when it ends."""
    path = daemon.work / f"{name}-{number}"
    return daemon.job(f"{stamp(path.with_suffix('.start'))}; {stamp(path.with_suffix('.end'))}", **fields)


def soon(secs: float) -> dict[str, int]:
    """A begin time that leaves room to submit the rest before it comes."""
    return {"secs_since_epoch": int(time.time() + secs), "nanos_since_epoch": 0}


def chain(daemon: Daemon, jobs: int) -> list[float]:
    """Gaps in a chain of jobs that each depend on the one before."""
    previous = daemon.submit(link(daemon, "chain", 0, scheduled_at=soon(3)))
    for number in range(1, jobs):
        waits_for = {"depends_on": previous, "depends_on_ids": [previous], "dependency_mode": "All"}
        previous = daemon.submit(link(daemon, "chain", number, **waits_for))
    return gaps(daemon, "chain", jobs)


def group(daemon: Daemon, jobs: int) -> list[float]:
    """Gaps in a group of which one job at a time may run."""
    limits = {"group_id": str(uuid.uuid4()), "max_concurrent": 1}
    daemon.submit_all([link(daemon, "group", number, **limits) for number in range(jobs)])
    return gaps(daemon, "group", jobs)


def percentile_99(values: list[float]) -> float:
    """The value that 99 % do not exceed."""
    return sorted(values)[-(len(values) // 100) - 1]


def measure(bench: Bench) -> list[Row]:
    """The rows of this subject."""
    with bench.daemon(Gflow) as daemon:
        answer_to_start(daemon, 3)
        ours = [answer_to_start(daemon, IDLE_JOBS), chain(daemon, CHAIN), group(daemon, CHAIN)]
    theirs: list[float | None] = [None, None, None]
    if Runqd in bench.programs:
        with bench.daemon(Runqd) as daemon:
            waits = answer_to_start(daemon, RUNQD_IDLE_JOBS), chain(daemon, RUNQD_CHAIN), group(daemon, RUNQD_CHAIN)
            theirs = [statistics.median(values) for values in waits]
    p50 = [statistics.median(values) for values in ours]
    return [
        Row(
            f"answer to first instruction, idle, p50 of {IDLE_JOBS}", p50[0], "ms", Runqd.name, theirs[0], Goal("≤", 50)
        ),
        Row(
            f"answer to first instruction, idle, p99 of {IDLE_JOBS}", percentile_99(ours[0]), "ms", goal=Goal("≤", 200)
        ),
        Row(f"end to start of the next, chain of {CHAIN}, p50", p50[1], "ms", Runqd.name, theirs[1], Goal("≤", 100)),
        Row(f"end to start of the next, group of {CHAIN}, p50", p50[2], "ms", Runqd.name, theirs[2], Goal("≤", 100)),
    ]
