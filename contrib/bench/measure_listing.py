"""What it costs to look at a long queue, and what the daemon keeps in memory for it."""

import statistics
import subprocess
import time

import past
from peers import Bench, Daemon, Gflow, Runqd, until
from report import Goal, Row

QUEUED, ROUNDS = 10_000, 9
FINISHED, WAITING, AT_HAND = 100_000, 1000, 10_000
"""`AT_HAND` is our default for ended jobs that stay in memory; all others are in the history then."""


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


def command_ms(daemon: Daemon, *words: str, lines: int = 0) -> float:
    """Milliseconds from start to end of a command that prints so many lines at least."""
    begun = time.perf_counter()
    command = [str(daemon.programs / words[0]), *words[1:]]
    printed = subprocess.run(command, env=daemon.environment, capture_output=True, check=True).stdout
    secs = time.perf_counter() - begun
    if printed.count(b"\n") < lines:
        raise RuntimeError(f"{daemon.name}: {' '.join(words)} printed {printed.count(bytes([10]))} lines, not {lines}")
    return secs * 1000


def with_a_past(bench: Bench) -> list[Row]:
    """What commands take that look at a long past, and those that do not have to."""
    with bench.prepared(Gflow) as daemon:
        past.write(daemon.home / "data" / "gflow", str(daemon.work), finished=FINISHED, queued=WAITING)
        daemon.start()
        until(lambda: daemon.http.call("GET", "/status")["jobs"]["Finished"] == AT_HAND, "the move to history", 120)
        everything = statistics.median(
            command_ms(daemon, "gqueue", "-a", "-u", "all", lines=FINISHED) for _ in range(ROUNDS)
        )
        figures = statistics.median(command_ms(daemon, "gstats", "-a", "--by", "day") for _ in range(ROUNDS))
        pairs = [
            (command_ms(daemon, "gqueue", "-u", "all", lines=WAITING), command_ms(daemon, "python", "-c", "pass"))
            for _ in range(4 * ROUNDS)
        ]
    gqueue, python = (statistics.median(values) for values in zip(*pairs, strict=True))
    ended = f"{FINISHED:,} finished"
    return [
        Row(f"gqueue -a, {ended}", everything, "ms", goal=Goal("≤", 1500)),
        Row(
            f"gqueue, {WAITING:,} queued beside {ended}",
            gqueue,
            "ms",
            "python -c pass",
            python,
            Goal("≤", 2.5, of_ratio=True),
        ),
        Row(f"gstats --by day, {ended}", figures, "ms"),
    ]


def measure(bench: Bench) -> list[Row]:
    """The rows of this subject."""
    resident, listing, gqueue = of_kind(bench, Gflow)
    theirs = of_kind(bench, Runqd) if Runqd in bench.programs else (None, None, None)
    many = f"{QUEUED:,} jobs"
    return [
        Row(f"GET /jobs, {many}", listing, "ms", Runqd.name, theirs[1], Goal("≤", 1, of_ratio=True)),
        Row(f"gqueue, {many}", gqueue, "ms", Runqd.name, theirs[2]),
        Row(f"resident memory, {many} queued", resident, "MiB", Runqd.name, theirs[0], Goal("≤", 120)),
        *with_a_past(bench),
    ]
