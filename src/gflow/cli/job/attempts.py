"""All attempts of a job that was tried again."""

from __future__ import annotations

import sys

from gflow.client.errors import Declined
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gflow.client.http import Client

    Record = dict[str, Any]


def first_attempt(client: Client, job_id: int) -> Record:
    """The first attempt of the job that `job_id` is an attempt of."""
    job = client.job(job_id)
    while job.get("retried_from") is not None:
        job = client.job(job["retried_from"])
    return job


def print_attempts(client: Client, job_id: int, follow: bool, show: Callable[[int], int]) -> int:
    """Call `show` for each attempt, with a heading if there are several; the sum of what it returns.

    With `follow` it returns at the end of an attempt, and the next one may come into being by that.
    """
    job, number, total = first_attempt(client, job_id), 1, 0
    while True:
        if number > 1 or job.get("retried_as") is not None or follow:
            print(f"==> job {job['id']}, attempt {number} <==")
            sys.stdout.flush()
        try:
            total += show(job["id"])
        except Declined as error:
            if error.status != 404:
                raise
            say(str(error))
        again = client.job(job["id"]).get("retried_as") if follow else job.get("retried_as")
        if again is None:
            return total
        job, number = client.job(again), number + 1
