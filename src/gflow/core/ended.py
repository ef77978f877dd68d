"""A job that ended long ago, as far as lists need it: what the history can tell without opening its record."""

from typing import NamedTuple

from gflow.core.model import JobId


class Ended(NamedTuple):
    """The first columns of the history. Only jobs that ran and that were not cancelled: of others there is more to say.

    `state` is its value, the moments are seconds since the epoch.
    """

    id: JobId
    owner: str
    name: str
    project: str | None
    state: str
    submitted_at: float
    started_at: float
    finished_at: float
    gpus: int
