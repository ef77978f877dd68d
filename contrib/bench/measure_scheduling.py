"""What a pass of the scheduler costs with a long queue, in the core alone: no daemon, no disk."""

import gc
import itertools
import random
import statistics
import time
from collections.abc import Iterator

from peers import Bench
from report import Goal, Row

from gflow.core.engine import Engine
from gflow.core.errors import Refused
from gflow.core.model import Exit, Gpu, JobSpec, Now
from gflow.core.policy import Policy
from gflow.core.quotas import Limits, Table
from gflow.core.reservations import SLOT_SECS

READY, GPUS, RESERVATIONS, USERS, ENDS = 50_000, 8, 25, 20, 60
START = Now(1_760_000_400.0, 5000.0)
LIMITS = [None, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 43200.0, 86400.0, 172800.0]


def busy_engine(rng: random.Random) -> Engine:
    """50,000 ready jobs of 20 users, 8 GPUs, 25 reservations, quotas and fair share on."""
    quotas = Table(default_user=Limits(max_running_jobs=6, max_running_gpus=6))
    engine = Engine(policy=Policy(fair_share_half_life_secs=86400.0, quotas=quotas))
    engine.set_machine([Gpu(index, f"GPU-{index}", memory_mb=24576) for index in range(GPUS)], None)
    while len(engine.book.entries) < RESERVATIONS:
        start = START.wall + SLOT_SECS - START.wall % SLOT_SECS + SLOT_SECS * rng.randrange(400)
        what = rng.choice([{"gpu_count": 1}, {"gpu_count": 2}, {"gpu_indices": [rng.randrange(GPUS)]}])
        try:
            engine.reserve(f"user{rng.randrange(USERS)}", start, start + SLOT_SECS * rng.randrange(1, 5), START, **what)
        except Refused:
            continue
    engine.submit([_request(rng) for _ in range(READY)], START)
    return engine


def _request(rng: random.Random) -> JobSpec:
    return JobSpec(
        owner=f"user{rng.randrange(USERS)}",
        project=rng.choice([None, "vision", "language"]),
        run_dir="/",
        command="train",
        gpus=rng.choice([1, 1, 1, 1, 1, 2, 2, 4]),
        time_limit_secs=rng.choice(LIMITS),
        priority=rng.choice([10, 10, 10, 20]),
    )


def pass_ms(engine: Engine, now: Now, run_ids: Iterator[str]) -> float:
    """One pass; the first instructions of what it started run at once."""
    begun = time.perf_counter()
    outcome = engine.schedule(now, run_ids)
    took = (time.perf_counter() - begun) * 1000
    for effect in outcome.effects:
        engine.launched(effect.job.id, now.wall, now.boot)
    return took


def measure(_bench: Bench) -> list[Row]:
    """The rows of this subject."""
    engine, now = busy_engine(random.Random(1)), START
    run_ids = (str(number) for number in itertools.count())
    gc.collect()
    gc.freeze()  # as the daemon does
    cold, warm = pass_ms(engine, now, run_ids), []
    for _ in range(ENDS):
        now = Now(now.wall + 60, now.boot + 60)
        engine.ended(next(iter(engine.running)), Exit(0, now.wall), now)
        warm.append(pass_ms(engine, now, run_ids))
    gc.unfreeze()
    what = f"{READY:,} ready jobs, {GPUS} GPUs, {RESERVATIONS} reservations, quotas, fair share"
    return [
        Row(f"a pass from cold, {what}", cold, "ms", goal=Goal("≤", 1000)),
        Row(f"a pass when a job ended, the same, median of {ENDS}", statistics.median(warm), "ms", goal=Goal("≤", 20)),
        Row(f"the longest of these {ENDS}", max(warm), "ms"),
    ]
