"""How long `gqueue` takes when there is nothing to show, and completing a job id, against Python doing nothing."""

import statistics
import subprocess
import time

from peers import Bench, Daemon, Gflow, Runqd
from report import Goal, Row

ROUNDS = 40
COMPLETE = ("gjob", "__complete", "bash", "2", "gjob show ", "gjob", "show", "")
"""What bash asks for behind `gjob show `."""


def run_ms(daemon: Daemon, program: str, *arguments: str) -> float:
    """Milliseconds from start to end of one command."""
    begun = time.perf_counter()
    command = [str(daemon.programs / program), *arguments]
    subprocess.run(command, env=daemon.environment, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begun) * 1000


def measure(bench: Bench) -> list[Row]:
    """The rows of this subject; the two programs take turns."""
    with bench.daemon(Gflow) as daemon:
        lines = (("gqueue",), COMPLETE, ("python", "-c", "pass"))
        rounds = [[run_ms(daemon, *line) for line in lines] for _ in range(ROUNDS)]
    gqueue, complete, python = (statistics.median(values) for values in zip(*rounds, strict=True))
    theirs = None
    if Runqd in bench.programs:
        with bench.daemon(Runqd) as daemon:
            theirs = statistics.median(run_ms(daemon, "gqueue") for _ in range(ROUNDS))
    subject = f"gqueue, empty queue, median of {ROUNDS}"
    return [
        Row(subject, gqueue, "ms", "python -c pass", python, Goal("≤", 2.5, of_ratio=True)),
        Row(subject, gqueue, "ms", Runqd.name, theirs),
        Row("completing a job id", complete, "ms", "python -c pass", python, Goal("≤", 3, of_ratio=True)),
    ]
