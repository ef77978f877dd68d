"""How many jobs may wait: the queue is in memory, so it has an end. Quotas are for less; no quota lifts this."""

from collections.abc import Iterable

from gflow.api.callers import Caller
from gflow.core.engine import Engine
from gflow.core.errors import TooMany
from gflow.core.model import JobSpec, State

MOST = 200_000
"""Jobs that wait or are on hold, of everybody."""

OF_ONE = 100_000
"""Of these, those of one user who is no administrator; all of them together leave `KEPT` to administrators."""

KEPT = 10_000


def check_room(engine: Engine, who: Caller, specs: Iterable[JobSpec]) -> None:
    """Refuse new jobs for which there is no room in the queue. Raises TooMany.

    Those that were submitted before, under the same key, are no new ones.
    """
    new = sum(spec.submit_key is None or engine.submitted_under(who.name, spec.submit_key) is None for spec in specs)
    waiting = engine.counts[State.QUEUED] + engine.counts[State.HOLD]
    most = MOST if who.admin else MOST - KEPT
    if waiting + new > most:
        raise _full(f"{waiting} jobs wait, and at most {most} may")
    own = engine.quotas.usage.queued_jobs["user", who.name]
    if not who.admin and own + new > OF_ONE:
        raise _full(f"{own} jobs of {who.name} wait, and at most {OF_ONE} may")


def _full(why: str) -> TooMany:
    refused = TooMany(f"The queue is full: {why}; submit again when some have ended")
    refused.retry_after_secs = 60
    return refused
