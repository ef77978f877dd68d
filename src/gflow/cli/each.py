"""Doing one thing to many jobs: what fails is told on stderr, the others are still done, and the status says so."""

from __future__ import annotations

from gflow.client.errors import Declined
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def each(job_ids: Iterable[int], act: Callable[[int], None]) -> int:
    """Call `act` for every id; 1 if the daemon declined any of them, else 0."""
    status = 0
    for job_id in job_ids:
        try:
            act(job_id)
        except Declined as error:
            say(str(error))
            status = 1
    return status
