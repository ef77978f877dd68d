"""The columns of the queue, as text. The daemon makes the cells so that `gqueue` needs to load almost nothing.

Every column is one function of a row; the words are Slurm's and gflow's.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gflow.core.ended import Ended
from gflow.core.lifecycle import ACTIVE, CODES, FINAL
from gflow.core.limits import format_duration, format_memory_mb
from gflow.core.model import Job, Now, Reason, ReasonKind, State
from gflow.core.progress import Progress, time_left_secs
from gflow.core.stops import elapsed_secs, signal_name

CELL_END = "\x1f"
"""ASCII's unit separator: no printable text has it."""


class Row(NamedTuple):
    """All a cell may be made of.

    - progress: how far a running job is, as far as it says so.
    - expected_start: of a job that waits, if it is known, in seconds since the epoch.
    - brief: what it waits for in a few words, where `reason` does not say all. drained: nothing is started at all.
      stalled: nothing of its owner can be.
    """

    job: Job
    reason: Reason | None
    now: Now
    progress: Progress | None = None
    expected_start: float | None = None
    brief: str | None = None
    drained: bool = False
    stalled: bool = False


SHORT_REASONS: dict[ReasonKind, str] = {
    ReasonKind.DEPENDENCY: "(Dependency)",
    ReasonKind.BEGIN_TIME: "(BeginTime)",
    ReasonKind.RESOURCES: "(Resources)",
    ReasonKind.GPU: "(Resources)",
    ReasonKind.MEMORY: "(Resources)",
    ReasonKind.QUOTA: "(Quota)",
    ReasonKind.HELD: "(JobHeldUser)",
    ReasonKind.CANCELLED: "-",
}


def short_reason(reason: Reason | None) -> str:
    """The reason as the NODELIST(REASON) column has it."""
    if reason is None:
        return "-"
    if reason.kind is ReasonKind.DEPENDENCY_FAILED:
        return f"(DependencyFailed:{reason.job})"
    return SHORT_REASONS.get(reason.kind, "-")


_SAY_NOTHING = (State.FINISHED, State.FAILED, State.TIMEOUT)


def _place_or_reason(row: Row) -> str:
    if row.job.state in _SAY_NOTHING:
        return "-"
    if row.job.state is State.RUNNING:
        return ",".join(map(str, row.job.gpu_ids or ())) or "-"
    if row.reason is not None and row.reason.kind is ReasonKind.RESOURCES and (row.drained or row.stalled):
        return "(Drained)" if row.drained else "(Stalled)"
    return short_reason(row.reason)


def _elapsed(row: Row) -> str:
    elapsed = elapsed_secs(row.job, row.now)
    return "-" if elapsed is None else format_duration(elapsed)


def _limit(row: Row) -> str:
    limit = row.job.spec.time_limit_secs
    return "UNLIMITED" if limit is None else format_duration(limit)


def _remaining(row: Row) -> str:
    limit, elapsed = row.job.spec.time_limit_secs, elapsed_secs(row.job, row.now)
    if limit is None and row.job.state in ACTIVE:
        return "UNLIMITED"
    if limit is None or row.job.state is not State.RUNNING or elapsed is None:
        return "-"
    return format_duration(limit - elapsed)


def _progress(row: Row) -> str:
    """How far it is, and after a `~` how long it will still take by that."""
    if row.progress is None:
        return "-"
    left = time_left_secs(row.progress, row.job, row.now)
    return f"{row.progress.percent:.0f}%" + (f" ~{format_duration(left)}" if left is not None else "")


_Show = Callable[[float | None], str]


def _clock(at: float | None) -> str:
    return "-" if at is None else time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(at))


def _epoch(at: float | None) -> str:
    """For who shows it in a zone of his own: that of the daemon need not be the one of whoever asks."""
    return "-" if at is None else f"@{int(at)}"


def _submit(row: Row, show: _Show = _clock) -> str:
    return show(row.job.submitted_at)


def _start(row: Row, show: _Show = _clock) -> str:
    """When it started, or is expected to, which a `~` says, or may begin: a begin time that is over says nothing."""
    job, now = row.job, row.now.wall
    if job.started_at is not None or job.state in FINAL:
        return show(job.started_at)
    if row.expected_start is not None:
        return f"~{show(max(row.expected_start, now))}"
    begin_at = job.spec.begin_at
    return show(begin_at if begin_at is not None and begin_at > now else None)


def _end(row: Row, show: _Show = _clock) -> str:
    return show(row.job.finished_at)


def _exit(row: Row) -> str:
    code, signal = row.job.exit_code, row.job.signal
    return "-" if code is None else f"{code}" if signal is None else f"{code}:{signal_name(signal)}"


def _memory(row: Row) -> str:
    return "-" if row.job.spec.memory_mb is None else format_memory_mb(row.job.spec.memory_mb)


def _why(row: Row, show: _Show = _clock) -> str:
    return row.job.detail or row.brief or _reason_in_words(row, show)


def _reason_in_words(row: Row, show: _Show) -> str:
    if row.reason is None:
        return "-"
    if row.reason.kind is ReasonKind.HELD:
        return "On hold"
    if row.reason.kind is ReasonKind.BEGIN_TIME and row.job.spec.begin_at is not None:
        return f"Not before {show(row.job.spec.begin_at)}"
    return short_reason(row.reason).strip("()")


def _redo_of(row: Row) -> str:
    """The job it repeats: the attempt before, or the one that `gjob redo` was told."""
    earlier = row.job.spec.retried_from or row.job.spec.redone_from
    return "-" if earlier is None else str(earlier)


COLUMNS: dict[str, Callable[[Row], str]] = {
    "JOBID": lambda row: str(row.job.id),
    "NAME": lambda row: row.job.run_name,
    "ST": lambda row: CODES[row.job.state],
    "TIME": _elapsed,
    "TIMELIMIT": _limit,
    "REMAINING": _remaining,
    "PROGRESS": _progress,
    "NODES": lambda row: str(row.job.spec.gpus),
    "NODELIST(REASON)": _place_or_reason,
    "MEMORY": _memory,
    "CPUS": lambda row: "-" if row.job.spec.cpus is None else str(row.job.spec.cpus),
    "USER": lambda row: row.job.spec.owner,
    "PROJECT": lambda row: row.job.spec.project or "-",
    "PRIORITY": lambda row: str(row.job.spec.priority),
    "SUBMIT": _submit,
    "START": _start,
    "END": _end,
    "EXIT": _exit,
    "REASON": _why,
    "DEPENDS": lambda row: ",".join(map(str, row.job.spec.depends_on)) or "-",
    "REDOOF": _redo_of,
    "GROUP": lambda row: row.job.spec.group_name or row.job.spec.group_id or "-",
    "GROUPID": lambda row: row.job.spec.group_id or "-",
    "TASK": lambda row: "-" if row.job.spec.task_id is None else str(row.job.spec.task_id),
}

EPOCH_COLUMNS: dict[str, Callable[[Row], str]] = COLUMNS | {
    "SUBMIT": partial(_submit, show=_epoch),
    "START": partial(_start, show=_epoch),
    "END": partial(_end, show=_epoch),
    "REASON": partial(_why, show=_epoch),
}
"""The same with moments as `@` and seconds since the epoch."""

_CODE_OF = {state.value: code for state, code in CODES.items()}

ENDED_COLUMNS: dict[str, Callable[[Ended], str]] = {
    "JOBID": lambda job: str(job.id),
    "NAME": lambda job: job.name,
    "ST": lambda job: _CODE_OF[job.state],
    "TIME": lambda job: format_duration(job.finished_at - job.started_at),
    "NODES": lambda job: str(job.gpus),
    "NODELIST(REASON)": lambda job: "-",  # noqa: ARG005
    "USER": lambda job: job.owner,
    "PROJECT": lambda job: job.project or "-",
    "SUBMIT": lambda job: _clock(job.submitted_at),
    "START": lambda job: _clock(job.started_at),
    "END": lambda job: _clock(job.finished_at),
}
"""Those that can be made of what the history tells briefly; they are the same as above."""

ENDED_EPOCH_COLUMNS: dict[str, Callable[[Ended], str]] = ENDED_COLUMNS | {
    "SUBMIT": lambda job: _epoch(job.submitted_at),
    "START": lambda job: _epoch(job.started_at),
    "END": lambda job: _epoch(job.finished_at),
}


def ended_line(job: Ended, cells: list[Callable[[Ended], str]]) -> str:
    """A job that ended long ago as a line of cells."""
    return _joined([cell(job) for cell in cells])


def line(row: Row, cells: list[Callable[[Row], str]]) -> str:
    """One job as a line of cells. Control characters in names become `?`, so a line stays a line."""
    return _joined([cell(row) for cell in cells])


def _joined(texts: list[str]) -> str:
    if not "".join(texts).isprintable():
        texts = list(map(printable, texts))
    return CELL_END.join(texts) + "\n"


def printable(text: str) -> str:
    """`text` without characters that would move a cursor or end a line."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
