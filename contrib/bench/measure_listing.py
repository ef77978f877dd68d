"""What it costs to look at a long queue, and what the daemon keeps in memory for it."""

import statistics
import subprocess
import time

from peers import Bench, Daemon, Gflow, Runqd
from report import Goal, Row

QUEUED, ROUNDS = 10_000, 9


def listing_ms(daemon: Daemon) -> float:
    """GET /jobs of everything, until the last byte is here."""
    begun = time.perf_counter()
    daemon.http.raw("GET", "/jobs")
    return (time.perf_counter() - begun) * 1000


def gqueue_ms(daemon: Daemon) -> float:
    """`gqueue -u all`, from start to end."""
    begun = time.perf_counter()
    command = [str(daemon.programs / "gqueue"), "-u", "all"]
    answer = subprocess.run(command, env=daemon.environment, capture_output=True, check=True).stdout
    secs = time.perf_counter() - begun
    if answer.count(b"\n") < QUEUED:
        raise RuntimeError(f"{daemon.name}: gqueue printed {answer.count(bytes([10]))} lines for {QUEUED} jobs")
    return secs * 1000


def of_kind(bench: Bench, kind: type[Daemon]) -> tuple[float, float, float]:
    """Resident MiB, milliseconds of GET /jobs and of gqueue."""
    with bench.daemon(kind) as daemon:
        daemon.fill(QUEUED)
        resident = daemon.resident_mb()
        return (
            resident,
            statistics.median(listing_ms(daemon) for _ in range(ROUNDS)),
            statistics.median(gqueue_ms(daemon) for _ in range(ROUNDS)),
        )


def measure(bench: Bench) -> list[Row]:
    """The rows of this subject."""
    resident, listing, gqueue = of_kind(bench, Gflow)
    theirs = of_kind(bench, Runqd) if Runqd in bench.programs else (None, None, None)
    many = f"{QUEUED:,} jobs"
    return [
        Row(f"GET /jobs, {many}", listing, "ms", Runqd.name, theirs[1], Goal("≤", 1, of_ratio=True)),
        Row(f"gqueue, {many}", gqueue, "ms", Runqd.name, theirs[2]),
        Row(f"resident memory, {many} queued", resident, "MiB", Runqd.name, theirs[0], Goal("≤", 120)),
    ]
