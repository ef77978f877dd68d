"""A day of a small lab, played in seconds through the real core: 500 jobs of three users on four GPUs, two of which
need all four. Prints the page docs/a-day.md.

The first pass over the queue after a large job came in plans its start; the page shows when it then did start, and what
happens to the same day when nobody is held back for it.
"""

import argparse
import pathlib
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from statistics import median

from gflow.core.engine import Engine
from gflow.core.model import Exit, Gpu, Job, JobId, JobSpec, Now
from gflow.core.planner import Planner

GPUS = 4
JOBS = 500
DAY_SECS = 86400.0
MIDNIGHT = 1_760_000_400.0
USERS = ("ada", "ben", "cleo")
LARGE_AT = (9.5 * 3600, 15.25 * 3600)
SLOT_SECS = 900.0


@dataclass(frozen=True)
class Request:
    """A job of the day: when it is submitted (seconds after midnight), how long it will run, and what it asks for."""

    at: float
    runs: float
    spec: JobSpec


@dataclass
class Large:
    """What became of a job that needs all GPUs; seconds after midnight."""

    id: JobId
    submitted: float
    planned: float | None = None
    started: float | None = None


@dataclass
class Story:
    """What happened on the day: intervals of the jobs on each GPU, waits by user, and the large jobs."""

    large: dict[JobId, Large] = field(default_factory=dict)
    waits: dict[str, list[float]] = field(default_factory=lambda: {user: [] for user in USERS})
    spans: list[tuple[int, float, float, str]] = field(default_factory=list)
    passes: int = 0

    def busy(self, until: float) -> float:
        """The part of the GPUs' time up to a moment that was in use."""
        used = sum(max(0.0, min(end, until) - start) for _, start, end, _ in self.spans)
        return used / (GPUS * until)


def requests(seed: int) -> list[Request]:
    """The same day for the same seed. Limits are what people write: too long, and round."""
    rng = random.Random(seed)
    small = [_small(rng) for _ in range(JOBS - len(LARGE_AT))]
    large = [
        Request(at, 2700.0, _spec(USERS[place], gpus=GPUS, time_limit_secs=3600.0)) for place, at in enumerate(LARGE_AT)
    ]
    return sorted([*small, *large], key=lambda request: request.at)


def _small(rng: random.Random) -> Request:
    runs = min(5400.0, max(20.0, rng.lognormvariate(6.1, 0.8)))
    limit = max(300.0, 300.0 * round(runs * rng.uniform(1.2, 3.0) / 300.0))
    return Request(rng.uniform(0, DAY_SECS), runs, _spec(rng.choice(USERS), gpus=1, time_limit_secs=limit))


def _spec(owner: str, **fields: object) -> JobSpec:
    return JobSpec(owner=owner, run_dir="/", command="train", **fields)  # type: ignore[arg-type]


def play(day: list[Request]) -> Story:
    """Let the day happen, event by event."""
    engine = Engine()
    engine.set_machine([Gpu(index, f"GPU-{index}") for index in range(GPUS)], None)
    story, run_ids = Story(), (str(number) for number in count())
    runs: dict[JobId, float] = {}
    coming = iter([*day, None])
    request = next(coming)
    while request is not None or engine.running:
        end, job_id = min(((_end(engine.jobs[each], runs), each) for each in engine.running), default=(None, None))
        if request is not None and (end is None or request.at <= end):
            now = _now(request.at)
            (job,), _ = engine.submit([request.spec], now)
            runs[job.id] = request.runs
            if request.spec.gpus == GPUS:
                story.large[job.id] = Large(job.id, request.at)
            request = next(coming)
        else:
            assert end is not None
            assert job_id is not None
            now = _now(end)
            _note_end(story, engine.jobs[job_id], end)
            engine.ended(job_id, Exit(0, now.wall), now)
        _pass(engine, story, now, run_ids)
    return story


def _end(job: Job, runs: dict[JobId, float]) -> float:
    assert job.started_at is not None
    return job.started_at - MIDNIGHT + runs[job.id]


def _now(secs: float) -> Now:
    return Now(MIDNIGHT + secs, secs)


def _pass(engine: Engine, story: Story, now: Now, run_ids: Iterator[str]) -> None:
    story.passes += 1
    for effect in engine.schedule(now, run_ids).effects:
        job = effect.job
        engine.launched(job.id, now.wall, now.boot)
        story.waits[job.spec.owner].append(now.wall - job.submitted_at)
        if job.id in story.large:
            story.large[job.id].started = now.boot
    for plan in engine.planned:
        large = story.large.get(plan.id)
        if large is not None and large.planned is None and plan.start_at is not None:
            large.planned = plan.start_at - MIDNIGHT


def _note_end(story: Story, job: Job, end: float) -> None:
    assert job.started_at is not None
    letter = job.spec.owner[0]
    mark = letter.upper() if job.id in story.large else letter
    story.spans += [(index, job.started_at - MIDNIGHT, end, mark) for index in job.gpu_ids or ()]


class NobodyPlanned(Planner):
    """A planner that keeps nothing for anybody, as schedulers without backfill reservations do."""

    def protect(self, *_: object) -> bool:
        """Protect nobody."""
        return False


def play_without_plans(day: list[Request]) -> Story:
    """The same day when a job that finds no room is only ever skipped."""
    from gflow.core import engine as module

    module.Planner, kept = NobodyPlanned, module.Planner  # type: ignore[misc]
    try:
        return play(day)
    finally:
        module.Planner = kept  # type: ignore[misc]


PAGE = """\
# A day on four GPUs

Made by `contrib/bench/day --output docs/a-day.md`: 500 jobs of three users, played through gflow's own scheduler.
498 jobs need one GPU and come in all through the day; two, at 09:30 and 15:15, need all four. Each has a time limit,
mostly far too long, as people's are.

A job that finds no room is *planned*: gflow takes the earliest moment at which the limits of what runs leave it room,
and lets other jobs go ahead only if they do not delay that. As jobs end before their limits, it mostly starts earlier.

| all four GPUs asked for at | planned for | started | without plans it would have started |
|---|---|---|---|
{large}

Around the large jobs (small letters: one-GPU jobs of ada, ben and cleo; capitals: the large jobs; `.`: idle; a letter
is a quarter of an hour):

```
{chart}
```

What it costs the others, as waiting times in minutes (median / longest):

| user | jobs | with plans | without |
|---|---|---|---|
{waits}

The GPUs were in use {busy} of the day, without plans {busy_without}. The scheduler made {passes} passes.
"""


# -- the page ----------------------------------------------------------------------------------------------------------


def clock(secs: float | None) -> str:
    """`HH:MM` of the day, `+1 HH:MM` of the next."""
    if secs is None:
        return "-"
    days, rest = divmod(round(secs), 86400)
    return f"{f'+{days} ' if days else ''}{rest // 3600:02d}:{rest // 60 % 60:02d}"


def chart(story: Story, first: float, last: float) -> list[str]:
    """One line a GPU, one letter a quarter of an hour: whose job ran there longest."""
    hours = "".join(f"{hour:<4d}" for hour in range(int(first // 3600), int(last // 3600)))
    lines = [f"       {hours.rstrip()}"]
    for index in range(GPUS):
        slots = [_letter(story, index, at) for at in _steps(first, last)]
        lines.append(f"GPU {index}  {''.join(slots)}")
    return lines


def _steps(first: float, last: float) -> Iterator[float]:
    at = first
    while at < last:
        yield at
        at += SLOT_SECS


def _letter(story: Story, index: int, at: float) -> str:
    overlaps: dict[str, float] = {}
    for device, start, end, letter in story.spans:
        if device == index:
            overlaps[letter] = overlaps.get(letter, 0.0) + max(0.0, min(end, at + SLOT_SECS) - max(start, at))
    best = max(overlaps, key=lambda letter: overlaps[letter], default=".")
    return best if overlaps.get(best, 0.0) > SLOT_SECS / 4 else "."


def page(seed: int) -> str:
    """docs/a-day.md."""
    day = requests(seed)
    planned, skipped = play(day), play_without_plans(day)
    rows = [
        f"| {clock(large.submitted)} | {clock(large.planned)} | {clock(large.started)} | {clock(other.started)} |"
        for large, other in zip(planned.large.values(), skipped.large.values(), strict=True)
    ]
    waits = [
        f"| {user} | {len(planned.waits[user])} | {_minutes(planned.waits[user])} | {_minutes(skipped.waits[user])} |"
        for user in USERS
    ]
    return PAGE.format(
        large="\n".join(rows),
        chart="\n".join(chart(planned, 8 * 3600, 20 * 3600)),
        waits="\n".join(waits),
        busy=f"{planned.busy(DAY_SECS):.0%}",
        busy_without=f"{skipped.busy(DAY_SECS):.0%}",
        passes=f"{planned.passes:,}",
    )


def _minutes(waits: list[float]) -> str:
    return f"{median(waits) / 60:.0f} / {max(waits) / 60:.0f}"


def main() -> None:
    """See `day --help`."""
    parser = argparse.ArgumentParser(prog="contrib/bench/day", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE", help="write to FILE instead of standard output")
    arguments = parser.parse_args()
    text = page(arguments.seed)
    if arguments.output:
        arguments.output.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
