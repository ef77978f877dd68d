"""Why a job does not run, and what would help.

It asks the predicates the scheduler itself starts jobs by and has no opinion of its own. All that stands in the way is
told, not only the first thing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from gflow.core.dependencies import Verdict, judge, satisfies
from gflow.core.engine import Engine
from gflow.core.fairshare import UsageNow
from gflow.core.limits import format_duration, format_memory_mb, rounded_mb
from gflow.core.model import DependencyMode, Job, JobId, Now, ReasonKind, State, Stop, StopCause
from gflow.core.order import queue_key
from gflow.core.planner import Planner, choose
from gflow.core.queue import Shape
from gflow.core.stops import elapsed_secs, signal_name

_MOST_NAMED = 8
"""Longer lists of jobs are cut."""

_GOES_ON = "it goes on by itself once that is mended; gflowd doctor may say how"

_STOPPED_FOR: dict[StopCause, str] = {
    StopCause.CANCEL: "it was cancelled",
    StopCause.TIMEOUT: "its time limit was reached",
    StopCause.FINISH: "it was declared finished",
    StopCause.FAIL: "it was declared failed",
    StopCause.LEFTOVERS: "its command has ended, but left processes behind",
    StopCause.LOST: "its terminal was lost",
    StopCause.MEMORY: "it used more memory than it had asked for",
}


@dataclass(frozen=True, slots=True)
class Why:
    """One thing that keeps a job from starting, or what became of it: a sentence, and what would help ("" if nothing).

    `reason` is None where gflow has no word for it, as for a job that runs.
    """

    reason: ReasonKind | None
    text: str
    help: str = ""


def reasons(engine: Engine, job: Job, now: Now) -> tuple[Why, ...]:
    """Say why `job` waits; of a running or ended one, say that in a sentence."""
    if job.state is State.RUNNING:
        return (_running(engine, job, now),)
    if job.state not in (State.QUEUED, State.HOLD):
        return (_ended(engine, job),)
    return tuple(_obstacles(engine, job, now)) or (Why(None, "Nothing stands in its way; it is about to start."),)


def _obstacles(engine: Engine, job: Job, now: Now) -> Iterator[Why]:
    shape = engine.shape(job)
    if job.state is State.HOLD:
        text = f"It is on hold: {job.detail}." if job.detail else "It is on hold."
        yield Why(ReasonKind.HELD, text, f"gjob release {job.id}")
    yield from _drained(engine)
    yield from _stalled(engine, job)
    yield from _begin(job, now)
    yield from _dependencies(engine, job)
    yield from _group(engine, job, shape)
    yield from _quota(engine, job)
    yield from _memory(engine, job, shape)
    yield from _cpus(engine, job, shape)
    if shape.gpus:
        yield from _gpus(engine, job, shape, Planner(engine, now))
    yield from _passing(engine, job, shape, now)
    yield from _position(engine, job, now)


def _drained(engine: Engine) -> Iterator[Why]:
    drain = engine.drained
    if drain is not None:
        because = f": {drain.reason}" if drain.reason else ""
        text = f"gflow was drained by {drain.by} at {_stamp(drain.since)}{because}; nothing new is started."
        yield Why(ReasonKind.RESOURCES, text, "an administrator ends that: gctl resume")


def _stalled(engine: Engine, job: Job) -> Iterator[Why]:
    why = engine.stall_of(job.spec.owner)
    if why is not None:
        yield Why(ReasonKind.RESOURCES, f"Nothing can be launched just now: {why}.", _GOES_ON)


def _begin(job: Job, now: Now) -> Iterator[Why]:
    begin_at = job.spec.begin_at
    if begin_at is not None and begin_at > now.wall:
        text = f"It is not to start before {_stamp(begin_at)}, in {format_duration(begin_at - now.wall)}."
        help_ = f"for another time: gjob hold {job.id}, then gjob release {job.id} --at TIME"
        yield Why(ReasonKind.BEGIN_TIME, text, help_)


def _dependencies(engine: Engine, job: Job) -> Iterator[Why]:
    verdict, _ = judge(job.spec, engine.jobs)
    if verdict is Verdict.SATISFIED:
        return
    awaited = [engine.jobs[job_id] for job_id in job.spec.depends_on]
    open_ = [dependency for dependency in awaited if not satisfies(job.spec, dependency.state)]
    listed = _listed(f"job {dependency.id} ({dependency.state.value})" for dependency in open_)
    if verdict is Verdict.IMPOSSIBLE:
        help_ = f"gcancel {job.id}, or other dependencies: gjob update {job.id} --depends-on ID"
        yield Why(ReasonKind.DEPENDENCY, f"It can never start: it depends on {listed}.", help_)
        return
    one_of = "one of " if job.spec.dependency_mode is DependencyMode.ANY and len(open_) > 1 else ""
    held = [str(dependency.id) for dependency in open_ if dependency.state is State.HOLD]
    help_ = f"gjob release {','.join(held)}" if held else ""
    yield Why(
        ReasonKind.DEPENDENCY, f"It waits for {one_of}{listed} to {'end' if job.spec.after_end else 'finish'}.", help_
    )


def _group(engine: Engine, job: Job, shape: Shape) -> Iterator[Why]:
    if engine.group_full(shape) and shape.group_id is not None:
        cap, running = engine.groups[shape.group_id].max_concurrent, engine.group_running[shape.group_id]
        text = f"Its group may run {cap} jobs at once, and {running} are running."
        yield Why(ReasonKind.RESOURCES, text, f"gctl set-limit {job.id} {running + 1}")


def _memory(engine: Engine, job: Job, shape: Shape) -> Iterator[Why]:
    total = engine.resources.memory_total_mb
    if not engine.lacks_memory(shape) or shape.memory_mb is None or total is None:
        return
    wanted = format_memory_mb(shape.memory_mb)
    if shape.memory_mb > total:
        text = f"It needs {wanted} of memory; this machine has {rounded_mb(total)}."
    else:
        free = max(0, total - engine.resources.memory_used_mb)
        text = f"It needs {wanted} of memory; {rounded_mb(free)} of {rounded_mb(total)} are not promised."
    yield Why(ReasonKind.MEMORY, text, f"ask for less: gjob update {job.id} --memory-limit SIZE")


def _cpus(engine: Engine, job: Job, shape: Shape) -> Iterator[Why]:
    total = engine.resources.cpus_total
    if not engine.lacks_cpus(shape) or shape.cpus is None or total is None:
        return
    free = max(0, total - engine.resources.cpus_used)
    have = f"this machine has {total}" if shape.cpus > total else f"{free} of {total} are not promised"
    yield Why(
        ReasonKind.RESOURCES,
        f"It needs {_count(shape.cpus, 'CPU')}; {have}.",
        f"ask for fewer: gjob update {job.id} --cpus N",
    )


def _quota(engine: Engine, job: Job) -> Iterator[Why]:
    over = engine.quotas.over(job.spec.owner, job.spec.project, job.spec.gpus)
    if over is None:
        return
    scope, name, limit, most = over
    what = "jobs" if limit == "max_running_jobs" else "GPUs"
    usage = engine.quotas.usage
    used = (usage.running_jobs if what == "jobs" else usage.running_gpus)[scope, name]
    text = f"The quota of {scope} {name} is {most} running {what}; {used} are in use."
    option = limit.replace("_", "-")
    yield Why(ReasonKind.QUOTA, text, f"an administrator may raise it: gctl quota set --{scope} {name} --{option} N")


def _gpus(engine: Engine, job: Job, shape: Shape, planner: Planner) -> Iterator[Why]:
    fitting = planner.fitting(shape)
    if len(fitting) < shape.gpus:
        yield _too_few(engine, job, shape, fitting)
        return
    end_at = planner.end_at(shape)
    if choose(fitting, shape.gpus, planner.promised(shape, end_at)) is None:
        yield _reserved(engine, job, planner, end_at)


def _too_few(engine: Engine, job: Job, shape: Shape, fitting: list[int]) -> Why:
    resources = engine.resources
    if not resources.gpus:
        return Why(ReasonKind.GPU, f"It needs {_count(shape.gpus, 'GPU')}; this machine has none.")
    asked = shape.gpu_indices or tuple(resources.gpus)
    others = [index for index in asked if index not in fitting]
    holders = sorted({job_id for index in others for job_id in resources.holders(index)})
    vetoes = [f"GPU {index} is out of use: {why}" for index in others if (why := resources.veto(index)) is not None]
    share = f" with {format_memory_mb(shape.gpu_memory_mb)} free" if shape.gpu_memory_mb is not None else ""
    which = f" ({', '.join(map(str, shape.gpu_indices))})" if shape.gpu_indices else ""
    text = f"It needs {_count(shape.gpus, 'GPU')}{which}{share}; {len(fitting)} of {len(asked)} can be had now"
    if holders:
        text += f", the others are held by {_jobs(holders)}"
    guests = [
        f"on GPU {index} processes from outside take memory (pid {_listed(str(guest.pid) for guest in there)})"
        for index in others
        if shape.shared and (there := resources.guests(index))
    ]
    text = "; ".join([text, *guests, *vetoes])
    return Why(ReasonKind.GPU, f"{text}.", _help_with_gpus(job, shape, strangers=any(map(resources.strangers, others))))


def _help_with_gpus(job: Job, shape: Shape, *, strangers: bool) -> str:
    """What would help a job that finds too few GPUs."""
    update = f"gjob update {job.id}"
    if strangers:
        return "end these processes, or an administrator lets them be: gctl gpu-process ignore"
    if shape.gpu_indices:
        return f"any GPU will do: {update} --gpus {shape.gpus}"
    if shape.gpu_memory_mb is not None:
        return f"ask for less: {update} --gpu-memory SIZE"
    return f"ask for less: {update} --gpus N" if shape.gpus > 1 else "a higher priority: " + f"{update} --priority N"


def _reserved(engine: Engine, job: Job, planner: Planner, end_at: float) -> Why:
    """Devices are free, but promised to others before the job would be gone."""
    ahead = [r for r in engine.book.ahead(planner.now.wall) if r.user != job.spec.owner and r.start_at < end_at]
    listed = _listed(
        f"{_count(r.size, 'GPU')} from {_stamp(r.start_at)} to {_stamp(r.end_at)} for {r.user} (reservation {r.id})"
        for r in ahead
    )
    limit = job.spec.time_limit_secs
    until = "has no time limit" if limit is None else f"may run for {format_duration(limit)}"
    help_ = f"a time limit that ends before: gjob update {job.id} --time-limit TIME"
    return Why(ReasonKind.GPU, f"It {until}, and there are reserved: {listed}.", help_)


def _passing(engine: Engine, job: Job, shape: Shape, now: Now) -> Iterator[Why]:
    """There is room, but taking it would delay a job that comes before."""
    planner = Planner(engine, now)
    if job.id not in engine.ready or not isinstance(planner.place(shape), tuple):
        return
    planner.planned = [plan for plan in engine.planned if plan.id != job.id]
    why = planner.place(shape)
    if isinstance(why, tuple):
        return
    in_quota = (plan for plan in planner.planned if plan.party is not None)
    plan = next(in_quota, planner.planned[0]) if why is ReasonKind.QUOTA else planner.planned[0]
    if plan.start_at is None:
        text = f"What is free is kept for job {plan.id}, which others have passed for long enough."
        yield Why(why, text)
        return
    text = f"It would delay job {plan.id}, which is before it and is to start at {_stamp(plan.start_at)} at the latest."
    yield Why(why, text, f"a time limit that ends before: gjob update {job.id} --time-limit TIME")


def _position(engine: Engine, job: Job, now: Now) -> Iterator[Why]:
    if job.id not in engine.ready:
        return
    ahead = engine.ready.position(queue_key(job), job.spec.owner, UsageNow(engine.fair_share, now).of)
    if ahead:
        text = f"{_count(ahead, 'job')} {'is' if ahead == 1 else 'are'} ahead of it in the queue."
        yield Why(ReasonKind.RESOURCES, text, f"gjob update {job.id} --priority N (it has {job.spec.priority})")


def _running(engine: Engine, job: Job, now: Now) -> Why:
    if job.stop is not None:
        return Why(None, f"It is being stopped: {_stopped_for(job.stop)}.")
    if job.started_boot is None:
        stalled = engine.stall_of(job.spec.owner)
        return (
            Why(None, f"It waits to be launched: {stalled}.", _GOES_ON)
            if stalled
            else Why(None, "It is being started.")
        )
    elapsed = elapsed_secs(job, now) or 0.0
    limit = job.spec.time_limit_secs
    left = f", and may run for another {format_duration(limit - elapsed)}" if limit is not None else ""
    return Why(None, f"It has been running for {format_duration(elapsed)}{left}.")


def _stopped_for(stop: Stop) -> str:
    if stop.cause is not StopCause.CANCEL:
        return stop.text or _STOPPED_FOR[stop.cause]
    return _STOPPED_FOR[stop.cause] + (f" ({stop.text})" if stop.text else "")


def _ended(engine: Engine, job: Job) -> Why:
    kind = job.reason.kind if job.reason is not None else None
    text = f"It is {job.state.value}"
    if job.exit_code is not None:
        text += f": ended by {signal_name(job.signal)}" if job.signal is not None else f": exit code {job.exit_code}"
    if kind is ReasonKind.DEPENDENCY_FAILED and job.reason is not None and job.reason.job is not None:
        cause = engine.jobs.get(job.reason.job)
        became = f"is {cause.state.value}" if cause is not None else "did not finish"
        text += f": it depended on job {job.reason.job}, which {became}"
    elif job.detail:
        text += f" ({job.detail})"
    if job.retried_as is not None:
        return Why(kind, f"{text}. Job {job.retried_as} is the next attempt.", f"gjob why {job.retried_as}")
    return Why(kind, f"{text}.")


def _stamp(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _jobs(ids: list[JobId]) -> str:
    return f"job {ids[0]}" if len(ids) == 1 else "jobs " + _listed(str(job_id) for job_id in ids)


def _listed(items: Iterable[str]) -> str:
    items = list(items)
    rest = len(items) - _MOST_NAMED
    return ", ".join(items[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
