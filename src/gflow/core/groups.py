"""Groups by name, and when the rest of one is to be put on hold. Pure functions.

A name belongs to its owner: two users may each have a group `sweep`. The id is made of both, so that it is the same
whenever the group comes back, and it has the form of a UUID, because clients of gflow take no other. Everybody can work
out such an id, so none is taken as given: or one could be in another's group before him.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from gflow.core.model import Failure, Group, Job, JobId, JobSpec, State

Cell = tuple[str, str, str]
"""The owner of a job, the id of its group, and its key in it: what others put into a group is not in one's cells."""

_MADE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)

QUICK_SECS = 60.0
"""A minute: jobs that fail so soon, or so many within it, point to a mistake that all of them share."""


def id_of(owner: str, name: str) -> str:
    """The id of the group that `owner` calls `name`: a UUID of version 8 (RFC 9562, section 5.8)."""
    raw = bytearray(hashlib.sha256(f"{owner}\0{name}".encode(errors="surrogatepass")).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def may_be_of_name(group_id: str) -> bool:
    """Whether this could be the id of somebody's group that has a name."""
    return _MADE.fullmatch(group_id) is not None


def cell_of(spec: JobSpec) -> Cell | None:
    """The cell of its group that a job is, if it is one."""
    if spec.group_id is None or spec.key is None:
        return None
    return spec.owner, spec.group_id, spec.key


def after_end(group: Group, job: Job, task: JobId) -> Group:
    """The group after one of its jobs has ended; on hold if that was one failure too many. `task`: its first attempt.

    A job that finishes, or runs until its time limit, ends the row. One that was cancelled says nothing.
    """
    if group.hold_after is None or group.held is not None or job.state is State.CANCELLED:
        return group
    if job.state is not State.FAILED or job.finished_at is None:
        return replace(group, failures=()) if group.failures else group
    ran_secs = job.finished_at - (job.started_at or job.finished_at)
    others = [failure for failure in group.failures if failure.task != task]
    failures = (*others, Failure(task, job.finished_at, ran_secs))[-group.hold_after :]
    noted = replace(group, failures=failures)
    return replace(noted, held=sentence(noted, job)) if trips(failures, group.hold_after) else noted


def trips(failures: Sequence[Failure], most: int) -> bool:
    """Whether so many in a row have failed, each within a minute of its start, or all of them within one minute."""
    if len(failures) < most:
        return False
    at = [failure.at for failure in failures]
    return max(at) - min(at) < QUICK_SECS or all(failure.ran_secs < QUICK_SECS for failure in failures)


def sentence(group: Group, last: Job) -> str:
    """Why the rest is on hold, without a full stop."""
    number = len(group.failures)
    jobs = "a job" if number == 1 else f"{number} jobs in a row"
    name = f" '{last.spec.group_name}'" if last.spec.group_name is not None else ""
    how = f", exit code {last.exit_code}" if last.exit_code is not None else ""
    return f"{jobs} of its group{name} failed within a minute (the last: job {last.id}{how})"


def lifted(group: Group) -> Group:
    """The group with its hold, and what led to it, forgotten."""
    return replace(group, held=None, failures=())


def is_over(group: Group, now: float) -> bool:
    """Whether the hold of a group none of whose jobs is left is a thing of the past."""
    return not group.failures or now - group.failures[-1].at >= QUICK_SECS
