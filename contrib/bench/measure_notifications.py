"""What telling others costs: 10,000 events to four targets, one dead and one that takes 5 s, and starts meanwhile."""

import contextlib
import pathlib
import socket
import statistics
import time
import uuid
from collections.abc import Iterator

from measure_throughput import drain
from peers import Bench, Daemon, Gflow, until
from report import Goal, Row

from support.receiver import Receiver

EVENTS, JOBS, ROUNDS = 10_000, 200, 5
LIVE = ("/ok/first", "/ok/second")
KIND = "job_submitted"

HOOK = """
[[notifications.webhooks]]
url = "{url}"
events = ["{events}"]
timeout_secs = 10
"""


def _dead_url() -> str:
    """An address where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/"


@contextlib.contextmanager
def telling(bench: Bench, events: str) -> Iterator[tuple[Daemon, Receiver]]:
    """A daemon that tells four targets of such events, and who receives for those that are alive."""
    directory = bench.scratch / f"receiver-{uuid.uuid4().hex[:6]}"
    directory.mkdir()
    with Receiver(directory) as receiver, bench.prepared(Gflow) as daemon:
        urls = [*map(receiver.url, LIVE), receiver.url("/slow/5"), _dead_url()]
        _write(daemon.home / "config" / "gflow" / "gflow.toml", urls, events)
        daemon.start()
        yield daemon, receiver


def _write(file: pathlib.Path, urls: list[str], events: str) -> None:
    hooks = [HOOK.format(url=url, events=events) for url in urls]
    file.write_text("[notifications]\nenabled = true\n" + "".join(hooks))


def _all_delivered(daemon: Daemon) -> bool:
    """Whether nothing waits for the live targets, which are the first."""
    targets = daemon.http.call("GET", "/notifications")["targets"]
    return all(target["queued"] == 0 for target in targets[: len(LIVE)])


def _check_order(receiver: Receiver) -> None:
    """Raise RuntimeError unless each live target got every event once, oldest first."""
    for path in LIVE:
        ids = [one["body"]["job"]["id"] for one in receiver.received(path)]
        if ids != list(range(1, EVENTS + 1)):
            raise RuntimeError(
                f"{path} was told of {len(ids)} jobs, of {len(set(ids))} different ones, or out of order"
            )


def delivering(bench: Bench) -> tuple[float, float]:
    """Seconds until both live targets have everything in order, and by how many MiB the daemon grew for that."""
    with telling(bench, KIND) as (daemon, receiver):
        before, most = daemon.resident_mb(), 0.0
        begun = time.perf_counter()
        daemon.fill(EVENTS)

        def done() -> bool:
            nonlocal most
            most = max(most, daemon.resident_mb())
            return _all_delivered(daemon)

        until(done, "all events at the live targets", 180, every=0.1)
        secs = time.perf_counter() - begun
        _check_order(receiver)
    return secs, most - before - _of_jobs(bench)


def _of_jobs(bench: Bench) -> float:
    """What the daemon grows by with the same jobs and nobody to tell, in MiB."""
    with bench.daemon(Gflow) as daemon:
        before = daemon.resident_mb()
        daemon.fill(EVENTS)
        return daemon.resident_mb() - before


def drain_and_settle(daemon: Daemon) -> float:
    """Jobs per second; returns when the live targets know all of it, so that the next to be measured is undisturbed."""
    rate = drain(daemon, JOBS)
    until(lambda: _all_delivered(daemon), "all events of the jobs at the live targets", 60, every=0.1)
    return rate


def rates(bench: Bench) -> tuple[float, float]:
    """Jobs per second with the four targets and without any, rounds taken in turn. The first round only warms up."""
    with telling(bench, "*") as (daemon, _), bench.daemon(Gflow) as alone:
        both = [(drain_and_settle(daemon), drain(alone, JOBS)) for _ in range(ROUNDS + 1)][1:]
    return statistics.median(rate for rate, _ in both), statistics.median(rate for _, rate in both)


def measure(bench: Bench) -> list[Row]:
    """The rows of this subject."""
    secs, grown = delivering(bench)
    told, alone = rates(bench)
    what = f"{EVENTS:,} events, 4 targets (one dead, one takes 5 s)"
    return [
        Row(f"{what}: both others have all, in order", secs, "s", goal=Goal("≤", 60)),
        Row("memory grown by that", grown, "MiB", goal=Goal("≤", 50)),
        Row(f"{JOBS} no-op jobs while 4 targets are told", told, "jobs/s", "no targets", alone, Goal("≥", 0.9, True)),
    ]
