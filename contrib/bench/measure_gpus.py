"""How long a GPU is idle between two jobs that wait for it, under a stub of NVML that both daemons load."""

import collections
import itertools
import pathlib
import statistics
import time
import uuid
from typing import Any

from peers import Bench, Daemon, Gflow, Runqd, until
from report import Goal, Row

from support.nvml import Device, Driver, compile_stub

GPUS, JOBS = 8, 200
FEW_GPUS, FEW_JOBS, FEW_SECS = 4, 12, 60.0


def _driver(scratch: pathlib.Path, gpus: int) -> Driver:
    directory = scratch / f"nvml-{uuid.uuid4().hex[:6]}"
    directory.mkdir()
    devices = [Device(f"GPU-{index:08d}-0000-0000-0000-000000000000") for index in range(gpus)]
    return Driver(directory, compile_stub(directory), devices)


def _moment(value: dict[str, int]) -> float:
    return value["secs_since_epoch"] + value["nanos_since_epoch"] / 1e9


def _gaps_ms(jobs: list[dict[str, Any]]) -> list[float]:
    """The time each GPU was idle between the end of a job and the start of the next on it."""
    by_gpu: dict[int, list[tuple[float, float]]] = collections.defaultdict(list)
    for job in jobs:
        (index,) = job["gpu_ids"]
        by_gpu[index].append((_moment(job["started_at"]), _moment(job["finished_at"])))
    pairs = itertools.chain.from_iterable(itertools.pairwise(sorted(spans)) for spans in by_gpu.values())
    return [(start - end) * 1000 for (_, end), (start, _) in pairs]


def gaps_ms(bench: Bench) -> list[float]:
    """Of 200 no-op jobs on eight GPUs."""
    with bench.prepared(Gflow) as daemon:
        daemon.environment |= _driver(bench.scratch, GPUS).environment
        daemon.start()
        daemon.submit_all([daemon.job("true", gpus=1) for _ in range(JOBS)])
        until(daemon.is_idle, "the end of all jobs", 120)
        jobs = daemon.http.call("GET", "/jobs")
        if len({job["gpu_ids"][0] for job in jobs}) != GPUS:
            raise RuntimeError("not all GPUs were used")
        return _gaps_ms(jobs)


def done_of_few(bench: Bench, kind: type[Daemon]) -> int:
    """How many of twelve one-GPU no-op jobs on four GPUs have ended after a minute, or as soon as all have."""
    with bench.prepared(kind) as daemon:
        daemon.environment |= _driver(bench.scratch, FEW_GPUS).environment
        daemon.start()
        daemon.submit_all([daemon.job("true", gpus=1) for _ in range(FEW_JOBS)])
        deadline = time.monotonic() + FEW_SECS
        done = 0

        def over() -> bool:
            nonlocal done
            done = len(daemon.http.call("GET", "/jobs?state=Finished"))
            return done == FEW_JOBS or time.monotonic() > deadline

        until(over, "the end of the minute", FEW_SECS + 30, every=0.2)
        return done


def measure(bench: Bench) -> list[Row]:
    """The rows of this subject."""
    gaps = gaps_ms(bench)
    theirs = done_of_few(bench, Runqd) if Runqd in bench.programs else None
    what = f"{FEW_JOBS} one-GPU jobs on {FEW_GPUS} GPUs, done within {FEW_SECS:.0f} s"
    return [
        Row(f"GPU idle between jobs, {JOBS} on {GPUS} GPUs, p50", statistics.median(gaps), "ms", goal=Goal("≤", 100)),
        Row("the same, p95", statistics.quantiles(gaps, n=20)[-1], "ms"),
        Row(what, done_of_few(bench, Gflow), "jobs", Runqd.name, theirs, digits=0),
    ]
