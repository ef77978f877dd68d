"""What can be seen to be wrong with a request before it is queued.

Everything here raises a `Refused` with one line and changes nothing.
"""

import signal as signals
from collections.abc import Iterable, Mapping

from gflow.core import limits, notices
from gflow.core.dependencies import Verdict, judge
from gflow.core.errors import Impossible, Malformed
from gflow.core.gpu_list import format_gpu_list
from gflow.core.model import Job, JobId, JobSpec
from gflow.core.placement import Resources

MAX_PRIORITY = 255
MAX_HOLD_AFTER = 1000
MAX_NAME = limits.MAX_NAME
MAX_KEY = limits.MAX_KEY
MAX_PROJECT = limits.MAX_PROJECT
MAX_REASON = limits.MAX_REASON
MAX_CPUS = 1 << 16
MAX_COMMAND_BYTES = 128 * 1024 - 1
"""Linux takes no longer single argument (MAX_ARG_STRLEN, with its final zero)."""

MAX_JOB_CHARS = 2 << 20
"""Of a command with all its arguments and parameters: Linux takes no more bytes (ARG_MAX), and they are in memory."""


FIXED = frozenset(
    "owner uid submit_key group_id group_name key task_id restart_count oom_restarts retried_from redone_from".split()
)
"""Fields of a specification that say where a job comes from; no update changes them."""

RESOURCES = frozenset({"gpus", "gpu_indices", "shared", "gpu_memory_mb", "memory_mb", "cpus"})
"""Fields that `check_fits` looks at."""

LATE_SECS = 60.0
"""A begin time this far back is taken for a slow request, an earlier one for a mistake."""

FAR_SECS = 3660.0 * 86400
"""Ten years; a later begin time is a mistake, too."""


def check(spec: JobSpec) -> None:
    """Refuse a specification that is malformed."""
    _check_work(spec)
    _check_texts(spec)
    _check_numbers(spec)
    check_notices(spec.notify_emails, spec.notify_on)


def check_notices(emails: Iterable[str], events: Iterable[str]) -> None:
    """Refuse mail to what is no address, or about what no event is called."""
    wanted = list(emails)
    if len(wanted) > notices.MAX_ADDRESSES:
        raise Malformed(f"A job sends mail to at most {notices.MAX_ADDRESSES} addresses, not {len(wanted)}")
    try:
        for address in wanted:
            notices.check_address(address)
        for name in events:
            notices.check_event(name)
    except ValueError as error:
        raise Malformed(f"Notifications: {error}") from None


def check_begin(begin_at: float | None, now: float) -> None:
    """Refuse a begin time in the past, or too far away; both are seconds since the epoch."""
    if begin_at is not None and not now - LATE_SECS <= begin_at <= now + FAR_SECS:
        raise Impossible("The begin time is in the past or more than ten years away")


def check_group_limit(max_concurrent: int | None) -> None:
    """Refuse a group limit under which nothing would ever run."""
    if max_concurrent is not None and max_concurrent < 1:
        raise Malformed(f"Invalid max_concurrent {max_concurrent}: use 1 or more")


def check_hold_after(failures: int | None) -> None:
    """Refuse a number of failures after which a group would be held from the start, or that is nobody's patience."""
    if failures is not None and not 1 <= failures <= MAX_HOLD_AFTER:
        raise Malformed(f"Invalid hold_after_failures {failures}: use 1 to {MAX_HOLD_AFTER}")


def check_reason(text: str | None) -> None:
    """Refuse words about a cancelled job that would not fit into a line."""
    if text is not None and (not text.isprintable() or not text.strip() or len(text) > MAX_REASON):
        raise Malformed(f"Invalid reason: use 1 to {MAX_REASON} printable characters")


def check_dependencies(spec: JobSpec, jobs: Mapping[JobId, Job]) -> None:
    """Refuse dependencies on jobs that never existed."""
    for dependency in spec.depends_on:
        if dependency not in jobs:
            raise Impossible(f"Dependency job {dependency} does not exist")


def doomed(spec: JobSpec, jobs: Mapping[JobId, Job]) -> JobId | None:
    """The dependency that already makes an auto-cancelled job pointless."""
    verdict, cause = judge(spec, jobs)
    return cause if verdict is Verdict.IMPOSSIBLE and spec.auto_cancel else None


def _check_work(spec: JobSpec) -> None:
    given = [spec.command is not None, spec.argv is not None, spec.script_digest is not None]
    if sum(given) != 1:
        raise Malformed("A job needs exactly one of command, argv, script and script_text")
    if spec.command is not None and not spec.command.strip():
        raise Impossible("The command is empty")
    if spec.argv is not None and not (spec.argv and spec.argv[0]):
        raise Impossible("The command is empty")
    for text in (spec.command or "", *(spec.argv or ()), *spec.script_args):
        if len(text) > MAX_COMMAND_BYTES // 4 and len(text.encode(errors="surrogateescape")) > MAX_COMMAND_BYTES:
            raise Impossible("The command is longer than 128 KiB, the most Linux passes on; put it into a script")
    texts = (*(spec.argv or ()), *spec.script_args, *spec.parameters, *spec.parameters.values())
    if sum(map(len, texts)) > MAX_JOB_CHARS:
        raise Impossible("The arguments and parameters are longer than 2 MiB together; put them into a file")


def _check_texts(spec: JobSpec) -> None:
    texts: Iterable[tuple[str, str | None]] = (
        ("command", spec.command),
        ("working directory", spec.run_dir),
        ("script path", spec.script),
        ("conda environment", spec.conda_env),
        *(("argument", text) for text in (*(spec.argv or ()), *spec.script_args)),
        *(("parameter", text) for pair in spec.parameters.items() for text in pair),
    )
    for what, text in texts:
        if text is not None and "\0" in text:
            raise Malformed(f"The {what} contains a NUL character")
    for name in spec.parameters:
        if not name.isidentifier() or not name.isascii():
            raise Malformed(f"Invalid parameter name '{name}': use letters, digits and _")
    if spec.key is not None and spec.group_id is None:
        raise Malformed("A key needs a group: it says which of its jobs this is")
    if not spec.run_dir.startswith("/"):
        raise Malformed(f"The working directory '{spec.run_dir}' is not an absolute path")
    names = (
        ("name", spec.name, MAX_NAME),
        ("project", spec.project, MAX_PROJECT),
        ("group", spec.group_name, MAX_NAME),
        ("key", spec.key, MAX_KEY),
    )
    for what, text, most in names:
        if text is not None and (not text.isprintable() or not text.strip() or len(text) > most):
            raise Malformed(f"Invalid {what}: use 1 to {most} printable characters")


def _check_numbers(spec: JobSpec) -> None:
    if not 0 <= spec.priority <= MAX_PRIORITY:
        raise Malformed(f"Invalid priority {spec.priority}: use 0 to {MAX_PRIORITY}")
    if not 0 <= spec.max_retries <= limits.MAX_RETRIES:
        raise Malformed(f"Invalid max_retries {spec.max_retries}: use 0 to {limits.MAX_RETRIES}")
    limit = spec.time_limit_secs
    if limit is not None and not 0 < limit <= limits.MAX_TIME_LIMIT_SECS:
        raise Malformed("Invalid time limit: it must be longer than 0 and at most 366 days")
    for what, size in (("memory", spec.memory_mb), ("GPU memory", spec.gpu_memory_mb)):
        if size is not None and not 0 < size <= limits.MAX_MEMORY_MB:
            raise Malformed(f"Invalid {what} request: it must be at least 1 MB")
    if spec.cpus is not None and not 0 < spec.cpus <= MAX_CPUS:
        raise Malformed(f"Invalid number of CPUs {spec.cpus}: use 1 or more")
    if spec.gpus < 0:
        raise Malformed(f"Invalid GPU count {spec.gpus}")
    if spec.gpu_indices and min(spec.gpu_indices) < 0:
        raise Malformed(f"Invalid GPU index {min(spec.gpu_indices)}: use 0 or more")
    if spec.gpu_indices and not len(spec.gpu_indices) == len(set(spec.gpu_indices)) == spec.gpus:
        raise Malformed(f"The job asks for {_count(spec.gpus)}, but names {len(set(spec.gpu_indices))}")
    if spec.shared and spec.gpu_memory_mb is None:
        raise Impossible("A job that shares GPUs must say how much GPU memory it needs (--gpu-memory)")
    early = spec.early_signal
    if early is not None:
        if early.signal not in {int(number) for number in signals.valid_signals()}:
            raise Malformed(f"Invalid signal {early.signal}")
        if limit is None:
            raise Malformed("A signal before the time limit needs a time limit")
        if not early.secs_before > 0:
            raise Malformed("The signal must be sent some seconds before the time limit")


def check_fits(spec: JobSpec, resources: Resources) -> None:
    """Refuse a request that can never be met on this machine."""
    have, total = len(resources.gpus), resources.memory_total_mb
    unknown = [index for index in spec.gpu_indices if index not in resources.gpus]
    if unknown:
        there = f"gflow has only {format_gpu_list(resources.gpus)}" if have else "gflow has none"
        raise Impossible(f"The job asks for GPU {unknown[0]}, but {there}")
    if spec.gpus > have:
        raise Impossible(f"The job asks for {_count(spec.gpus)}, but this machine has {have or 'none'}")
    if spec.gpus and len(resources.large_enough(spec.gpu_memory_mb, spec.gpu_indices or None)) < spec.gpus:
        raise Impossible(_too_small(spec, spec.gpu_memory_mb or 0, resources))
    if spec.memory_mb is not None and total is not None and spec.memory_mb > total:
        wanted = limits.format_memory_mb(spec.memory_mb)
        raise Impossible(f"The job asks for {wanted} of memory, but this machine has {_at_least(total)}")
    if spec.cpus is not None and resources.cpus_total is not None and spec.cpus > resources.cpus_total:
        raise Impossible(f"The job asks for {spec.cpus} CPUs, but this machine has {resources.cpus_total}")


def _too_small(spec: JobSpec, wanted_mb: int, resources: Resources) -> str:
    """In words: the GPUs do not have the memory that is asked for."""
    wanted = limits.format_memory_mb(wanted_mb)
    enough = resources.large_enough(wanted_mb, spec.gpu_indices or None)
    if spec.gpu_indices:
        small = min(set(spec.gpu_indices) - set(enough))
        size = _at_least(resources.gpus[small].memory_mb or 0)
        return f"The job asks for GPU {small} with {wanted} of memory, but it has {size}"
    asked = f"{_count(spec.gpus)} with {wanted} of memory" + (" each" if spec.gpus > 1 else "")
    if enough:
        return f"The job asks for {asked}, but only {len(enough)} of the GPUs here {_have(len(enough))} as much"
    largest = max(gpu.memory_mb or 0 for gpu in resources.gpus.values())
    return f"The job asks for {asked}, but the largest here has {_at_least(largest)}"


def _at_least(size_mb: int) -> str:
    """A size that nobody chose, never more than it is: `23.9G` of 24564 MiB."""
    return f"{size_mb * 10 // 1024 / 10:g}G" if size_mb >= 1024 else f"{size_mb}M"


def _count(gpus: int) -> str:
    return "1 GPU" if gpus == 1 else f"{gpus} GPUs"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"
