"""How many jobs may wait, and how much they may keep: the queue is in memory, so it has an end. Quotas are for less; no
quota lifts this."""

from collections import Counter
from collections.abc import Collection, Iterable

from gflow.api.callers import Caller
from gflow.api.services import Services
from gflow.core.engine import Engine
from gflow.core.errors import TooMany
from gflow.core.model import JobSpec, State

MOST = 200_000
"""Jobs that wait or are on hold, of everybody."""

OF_ONE = 100_000
"""Of these, those of one user who is no administrator; all of them together leave `KEPT` to administrators."""

KEPT = 10_000

MEMORY, MEMORY_OF_ONE = 1 << 30, 256 << 20
"""Bytes that the jobs at hand may keep in memory, by what `gflow.core.kept` counts; on disk it is up to four times as
much. As every bound below it may be passed by one request."""

WAITING_FOR_ONE = 10_000
"""Jobs that may wait for one job: its end is a step of all of them, during which nobody else gets an answer."""

FILES, FILES_OF_ONE = 16 << 30, 2 << 30
"""Bytes of captured environments and scripts on disk."""


def check_room(engine: Engine, who: Caller, specs: Collection[JobSpec]) -> None:
    """Refuse new jobs for which there is no room in the queue. Raises TooMany.

    Those that were submitted before, under the same key, are no new ones.
    """
    new = sum(spec.submit_key is None or engine.submitted_under(who.name, spec.submit_key) is None for spec in specs)
    waiting = engine.counts[State.QUEUED] + engine.counts[State.HOLD]
    most = MOST if who.admin else MOST - KEPT
    if waiting + new > most:
        raise _full(f"{waiting} jobs wait, and at most {most} may")
    check_dependents(engine, who, specs)
    own = engine.quotas.usage.queued_jobs["user", who.name]
    if not who.admin and own + new > OF_ONE:
        raise _full(f"{own} jobs of {who.name} wait, and at most {OF_ONE} may")


def check_dependents(engine: Engine, who: Caller, specs: Iterable[JobSpec]) -> None:
    """Refuse to let too many jobs wait for one. Raises TooMany."""
    if who.admin:
        return
    for job_id, new in Counter(dependency for spec in specs for dependency in spec.depends_on).items():
        if engine.waiting_for(job_id) + new > WAITING_FOR_ONE:
            raise _full(f"{engine.waiting_for(job_id)} jobs wait for job {job_id}, and at most {WAITING_FOR_ONE} may")


def check_kept(services: Services, who: Caller) -> None:
    """Refuse more where the jobs at hand keep too much already, before anything is stored. Raises TooMany."""
    kept = services.runtime.engine.kept
    if who.admin:
        return
    if kept.memory[who.name] > MEMORY_OF_ONE or kept.memory.total() > MEMORY:
        whose = "all users" if kept.memory[who.name] <= MEMORY_OF_ONE else who.name
        raise _full(f"what the jobs of {whose} were given, lately ended ones included, takes all memory it may")
    if kept.files[who.name] > FILES_OF_ONE or services.spool.total_bytes() > FILES:
        whose = "all users" if kept.files[who.name] <= FILES_OF_ONE else who.name
        raise _full(f"the scripts and environments of the jobs of {whose} take up all the room they may")


def _full(why: str) -> TooMany:
    refused = TooMany(f"The queue is full: {why}; submit again in a minute")
    refused.retry_after_secs = 60
    return refused
