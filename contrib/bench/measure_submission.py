"""How fast jobs are taken in: one by one with an empty and with a long queue, and a thousand at once.

gflow answers when the job is safe on disk, runqd when it is in memory. All jobs begin tomorrow, so nothing is launched
meanwhile.
"""

import statistics
from collections.abc import Callable

import crowd
from peers import BATCH, Bench, Daemon, Gflow, Runqd
from report import Goal, Row

QUEUED, ROUNDS, JOBS, CLIENTS = 10_000, 5, 160, 16


def rate(daemon: Daemon, clients: int) -> float:
    """Submissions a second, one job in each request."""
    requests = [crowd.request("/jobs", daemon.later()) for _ in range(JOBS)]
    return JOBS / crowd.post_all(daemon.endpoint, requests, clients)


def in_turn(measures: list[Callable[[], float]]) -> list[float]:
    """The medians, rounds taken in turn so that all have the same weather."""
    rounds = [[measure() for measure in measures] for _ in range(ROUNDS)]
    return [statistics.median(values) for values in zip(*rounds, strict=True)]


def of_kind(bench: Bench, kind: type[Daemon]) -> dict[str, float]:
    """All values of one kind of daemon."""
    with bench.daemon(kind) as empty, bench.daemon(kind) as full:
        batch = statistics.median(full.fill(QUEUED))
        names = ["empty, 1 client", "full, 1 client", "empty", "full"]
        cases = [(empty, 1), (full, 1), (empty, CLIENTS), (full, CLIENTS)]
        medians = in_turn([lambda daemon=daemon, n=n: rate(daemon, n) for daemon, n in cases])  # type: ignore[misc]
        return dict(zip(names, medians, strict=True)) | {"batch": batch * 1000}


def measure(bench: Bench) -> list[Row]:
    """The rows of this subject."""
    ours = of_kind(bench, Gflow)
    theirs = of_kind(bench, Runqd) if Runqd in bench.programs else {}
    one, many = "single submissions, 1 client", f"single submissions, {CLIENTS} clients"
    own = Goal("≥", 0.8, of_ratio=True)
    return [
        Row(f"{one}, empty queue", ours["empty, 1 client"], "/s", Runqd.name, theirs.get("empty, 1 client"), digits=0),
        Row(
            f"{one}, {QUEUED:,} queued",
            ours["full, 1 client"],
            "/s",
            Runqd.name,
            theirs.get("full, 1 client"),
            digits=0,
        ),
        Row(f"{many}, empty queue", ours["empty"], "/s", Runqd.name, theirs.get("empty"), digits=0),
        Row(
            f"{many}, {QUEUED:,} queued",
            ours["full"],
            "/s",
            Runqd.name,
            theirs.get("full"),
            Goal("≥", 3, of_ratio=True),
            0,
        ),
        Row(
            f"{many}, {QUEUED:,} queued",
            ours["full"],
            "/s",
            "gflow, 1 client",
            ours["full, 1 client"],
            Goal("≥", 1.5, of_ratio=True),
            0,
        ),
        Row(f"{one}, {QUEUED:,} queued", ours["full, 1 client"], "/s", "gflow, empty", ours["empty, 1 client"], own, 0),
        Row(f"{many}, {QUEUED:,} queued", ours["full"], "/s", "gflow, empty", ours["empty"], own, 0),
        Row(
            f"a batch of {BATCH:,} in one request", ours["batch"], "ms", Runqd.name, theirs.get("batch"), Goal("≤", 500)
        ),
    ]
