"""How long commands take, against Python doing nothing in the same environment: `gqueue` when there is nothing to show,
completing a job id, and each command that asks once when there are a thousand jobs."""

import statistics
import subprocess
import time

from peers import Bench, Daemon, Gflow, Runqd
from report import Goal, Row

ROUNDS, JOBS = 40, 1000
ONE_SHOT = (
    ("gqueue", "-n", "20"),
    ("ginfo",),
    ("gstats",),
    ("gjob", "show", "1"),
    ("gjob", "why", "1"),
    ("gcancel", "--dry-run", "1"),
    ("gctl", "show-gpus"),
    ("gbatch", "--dry-run", "true"),
)
COMPLETE = ("gjob", "__complete", "2", "bash", "2", "gjob show ", "gjob", "show", "")
"""What bash asks for behind `gjob show `."""


def run_ms(daemon: Daemon, program: str, *arguments: str) -> float:
    """Milliseconds from start to end of one command."""
    begun = time.perf_counter()
    command = [str(daemon.programs / program), *arguments]
    subprocess.run(command, env=daemon.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begun) * 1000


def with_jobs(bench: Bench) -> list[Row]:
    """Each command in turn with Python, beside jobs that wait."""
    rows = []
    with bench.daemon(Gflow) as daemon:
        daemon.fill(JOBS)
        for words in (*ONE_SHOT, COMPLETE):
            pairs = [(run_ms(daemon, *words), run_ms(daemon, "python", "-c", "pass")) for _ in range(ROUNDS)]
            ours, python = (statistics.median(values) for values in zip(*pairs, strict=True))
            what, most = ("completing a job id", 3) if words is COMPLETE else (" ".join(words), 2.5)
            subject = f"{what}, {JOBS:,} jobs"
            rows.append(Row(subject, ours, "ms", "python -c pass", python, Goal("≤", most, of_ratio=True)))
    return rows


def measure(bench: Bench) -> list[Row]:
    """The rows of this subject; the two programs take turns."""
    with bench.daemon(Gflow) as daemon:
        lines = (("gqueue",), ("python", "-c", "pass"))
        rounds = [[run_ms(daemon, *line) for line in lines] for _ in range(ROUNDS)]
    gqueue, python = (statistics.median(values) for values in zip(*rounds, strict=True))
    theirs = None
    if Runqd in bench.programs:
        with bench.daemon(Runqd) as daemon:
            theirs = statistics.median(run_ms(daemon, "gqueue") for _ in range(ROUNDS))
    subject = f"gqueue, empty queue, median of {ROUNDS}"
    return [
        Row(subject, gqueue, "ms", "python -c pass", python, Goal("≤", 2.5, of_ratio=True)),
        Row(subject, gqueue, "ms", Runqd.name, theirs),
        *with_jobs(bench),
    ]
