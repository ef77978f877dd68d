"""What a long past costs: at start, in memory, at each change, and while the state is written anew.

Both daemons read the same state, with many finished jobs and some that wait; we import it, and then start from our own.
"""

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator

import past
from connection import Connection
from peers import Bench, Daemon, Gflow, Runqd, until
from report import Goal, Row

FINISHED, QUEUED, AT_HAND = 100_000, 10_000, 10_000
"""`AT_HAND` is our default for ended jobs that stay in memory."""

STARTS, ROUNDS, CHANGES = 5, 9, 100
COMPACTED = 100_000


@contextlib.contextmanager
def with_past(bench: Bench, kind: type[Daemon]) -> Iterator[Daemon]:
    """A daemon that has the past, started from its own files."""
    with bench.prepared(kind) as daemon:
        past.write(daemon.home / "data" / "gflow", str(daemon.work), finished=FINISHED, queued=QUEUED)
        daemon.start()
        if kind is Gflow:
            until(lambda: daemon.http.call("GET", "/status")["jobs"]["Finished"] == AT_HAND, "the move to history", 120)
        yield daemon


def start_ms(daemon: Daemon) -> float:
    """Milliseconds from the start of the program until it answers."""
    daemon.end()
    begun = time.perf_counter()
    daemon.start()
    return (time.perf_counter() - begun) * 1000


def change_ms(daemon: Daemon, job_id: int) -> float:
    """Milliseconds of a change of state, answered when it is safe on disk: a job is held and released again."""
    begun = time.perf_counter()
    for _ in range(CHANGES // 2):
        daemon.http.raw("POST", f"/jobs/{job_id}/hold")
        daemon.http.raw("POST", f"/jobs/{job_id}/release")
    return (time.perf_counter() - begun) * 1000 / CHANGES


def starts(bench: Bench, kind: type[Daemon]) -> tuple[float, float]:
    """Median milliseconds of a start, and resident MiB after it."""
    with with_past(bench, kind) as daemon:
        return statistics.median(start_ms(daemon) for _ in range(STARTS)), daemon.resident_mb()


def changes(bench: Bench) -> tuple[float, float]:
    """Median milliseconds of a change, with the past and without, measured in turn."""
    with with_past(bench, Gflow) as long, bench.daemon(Gflow) as short:
        jobs = [(long, FINISHED + 1), (short, short.submit(short.later()))]
        rounds = [[change_ms(daemon, job_id) for daemon, job_id in jobs] for _ in range(ROUNDS)]
    first, second = (statistics.median(values) for values in zip(*rounds, strict=True))
    return first, second


def longest_wait_ms(bench: Bench) -> float:
    """The longest a request waits while the state of `COMPACTED` jobs is written anew."""
    with bench.daemon(Gflow) as daemon:
        daemon.fill(COMPACTED)
        compacting = threading.Thread(target=Connection(daemon.endpoint).raw, args=("POST", "/state/compact", b"{}"))
        waits = []
        compacting.start()
        while compacting.is_alive():
            begun = time.perf_counter()
            daemon.http.raw("POST", "/jobs/1/hold" if len(waits) % 2 == 0 else "/jobs/1/release")
            waits.append((time.perf_counter() - begun) * 1000)
        compacting.join()
    return max(waits)


def measure(bench: Bench) -> list[Row]:
    """The rows of this subject."""
    ours, resident = starts(bench, Gflow)
    theirs = starts(bench, Runqd) if Runqd in bench.programs else (None, None)
    long, short = changes(bench)
    jobs = f"{FINISHED:,} finished, {QUEUED:,} queued"
    return [
        Row(f"start until it answers, {jobs}", ours, "ms", Runqd.name, theirs[0], Goal("≤", 2000), 0),
        Row(f"resident memory, {jobs}", resident, "MiB", Runqd.name, theirs[1], Goal("≤", 250)),
        Row(f"a change of state, {jobs}", long, "ms", "gflow, no others", short, Goal("≤", 1.2, of_ratio=True), 2),
        Row(
            f"longest wait of a change while {COMPACTED:,} jobs are compacted",
            longest_wait_ms(bench),
            "ms",
            goal=Goal("≤", 100),
        ),
    ]
