"""`--retry-on-oom`: a job whose log ends in CUDA having run out of memory is tried again with more of it.

Only such a failure uses these attempts, and they count towards no other.
"""

import math

from gflow.core.endings import UNASKED
from gflow.core.limits import format_memory_mb
from gflow.core.model import Exit, Job
from gflow.core.placement import Resources

MOST_ATTEMPTS = 5
FACTOR = 1.25


def raised_mb(job: Job, how: Exit, resources: Resources) -> int | None:
    """GPU memory to ask for at the next attempt, in MiB; None if there is to be none.

    `FACTOR` times the larger of what was declared and what was measured, at most what there is; and more than what was
    declared, or nothing would be different.
    """
    spec = job.spec
    stopped = job.stop is not None and job.stop.cause not in UNASKED
    if stopped or how.memory_ran_out or not (spec.retry_on_oom and how.gpu_memory_ran_out and spec.gpus):
        return None
    if spec.oom_restarts >= MOST_ATTEMPTS:
        return None
    declared = spec.gpu_memory_mb or 0
    peak = (job.gpu_use.peak_mb if job.gpu_use is not None else None) or 0
    wanted = math.ceil(FACTOR * max(declared, peak))
    among = spec.gpu_indices or resources.gpus
    sizes = [resources.gpus[index].memory_mb for index in among if index in resources.gpus]
    known = sorted((size for size in sizes if size is not None), reverse=True)
    if len(known) == len(sizes) >= spec.gpus:
        wanted = min(wanted, known[spec.gpus - 1])
    return wanted if wanted > (declared or _had_mb(job, resources)) else None


def _had_mb(job: Job, resources: Resources) -> int:
    """What a job that declared nothing could use already: all of the smallest of its cards, if it had them alone."""
    sizes = [resources.gpus[index].memory_mb for index in job.gpu_ids or () if index in resources.gpus]
    return 0 if job.spec.shared else min((size for size in sizes if size is not None), default=0)


def sentence(failed: Job, more_mb: int) -> str:
    """What is said of a job that is tried again."""
    return f"out of GPU memory; job {failed.retried_as} tries again with {format_memory_mb(more_mb)}"
