"""What is left of a job, by its own account or by the time it has taken until now."""

from dataclasses import replace

import pytest

from gflow.core.model import Job, JobId, Now, State
from gflow.core.progress import Progress, time_left_secs
from support.jobs import START, spec


def running(secs: float) -> tuple[Job, Now]:
    """A job that has run so long, and the moment it is."""
    times = {"submitted_at": START.wall, "started_at": START.wall, "started_boot": START.boot}
    job = Job(id=JobId(1), spec=spec(), run_name="x", state=State.RUNNING, **times)
    return job, Now(START.wall + secs, START.boot + secs)


@pytest.mark.parametrize(
    ("percent", "age_secs", "left_secs"),
    [
        (50, 0, 100),
        (10, 0, 900),
        (100, 0, 0),
        (0, 0, None),
        (50, 20, 60),
        (25, 100, None),
        (90, 99, None),
        (100, 99, 0),
    ],
)
def test_without_a_word_of_the_job_it_goes_on_as_until_now(
    percent: float, age_secs: float, left_secs: float | None
) -> None:
    """In 100 s; what was told some time ago holds for that moment, and tells nothing once it should have been over."""
    job, now = running(100)
    assert time_left_secs(Progress(percent, now.wall - age_secs, "file"), job, now) == left_secs


def test_what_the_job_says_counts_less_what_has_passed() -> None:
    job, now = running(100)
    told = Progress(50, now.wall - 7, "terminal", left_secs=30.0)
    assert time_left_secs(told, job, now) == 23
    assert time_left_secs(replace(told, left_secs=5.0), job, now) == 0


def test_nothing_is_left_of_what_never_started() -> None:
    job, now = running(0)
    assert time_left_secs(Progress(50, now.wall, "file"), replace(job, started_at=None), now) is None
