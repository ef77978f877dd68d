"""How many jobs that do nothing get through in a second, from submission until the last one is accounted."""

import statistics
import time

from peers import Bench, Daemon, Gflow, Runqd, until
from report import Goal, Row
from tmux_alone import TmuxAlone

JOBS, ROUNDS = 200, 3
RUNQD_JOBS, RUNQD_ROUNDS = 8, 3


def drain(daemon: Daemon, jobs: int) -> float:
    """Submit jobs in one request, wait until none is left; return jobs per second."""
    begun = time.perf_counter()
    daemon.submit_all([daemon.job("true") for _ in range(jobs)])
    until(daemon.is_idle, f"{jobs} jobs have ended", 120, every=0.02)
    return jobs / (time.perf_counter() - begun)


def side_by_side(bench: Bench) -> tuple[float, float]:
    """Medians of gflow and of tmux alone, rounds taken in turn. The first round only warms up."""
    tmux = TmuxAlone(bench.scratch / "tmux")
    try:
        with bench.daemon(Gflow) as gflow:
            rates = [(drain(gflow, JOBS), tmux.drain(JOBS)) for _ in range(ROUNDS + 1)][1:]
    finally:
        tmux.stop()
    return statistics.median(rate for rate, _ in rates), statistics.median(rate for _, rate in rates)


def runqd(bench: Bench) -> float | None:
    """The median of fewer jobs: it starts one a second."""
    if Runqd not in bench.programs:
        return None
    with bench.daemon(Runqd) as daemon:
        return statistics.median(drain(daemon, RUNQD_JOBS) for _ in range(RUNQD_ROUNDS))


def measure(bench: Bench) -> list[Row]:
    """The rows of this subject."""
    gflow, tmux = side_by_side(bench)
    subject = f"{JOBS} no-op jobs, end to end"
    return [
        Row(subject, gflow, "jobs/s", goal=Goal("≥", 50)),
        Row(subject, gflow, "jobs/s", "tmux alone", tmux, Goal("≥", 0.5, of_ratio=True)),
        Row(
            f"{subject} ({RUNQD_JOBS} for runqd)",
            gflow,
            "jobs/s",
            Runqd.name,
            runqd(bench),
            Goal("≥", 40, of_ratio=True),
        ),
    ]
