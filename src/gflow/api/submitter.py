"""Where jobs run as their submitters: who a job is to run as, and what only he may have it do.

The name of a user decides what he may do with a job. What runs under his user id he alone decides, whom the kernel
names by that id: no administrator has others run a program of his choice, for those may be root.
"""

from collections.abc import Collection, Iterable

from gflow.api.callers import Caller
from gflow.api.services import Services
from gflow.core.errors import Forbidden
from gflow.core.model import Job

PROGRAM = frozenset(
    "command argv script script_text script_args run_dir conda_env parameters parameter_changes environment"
    " run_name".split()
)
"""Fields of an update that change what is run. The name is one: it is filled into the words of a command."""


async def submitter(services: Services, who: Caller) -> int | None:
    """The user id that jobs of `who` run under; None where all run as the daemon's user.

    Raises Forbidden for whom the kernel does not name, and Impossible for a user whose jobs could not be run.
    """
    if services.submitters is None:
        return None
    if who.anonymous or who.uid < 0:
        raise Forbidden("Jobs run as their submitters here, and nobody knows who you are; use the Unix socket")
    await services.submitters.check(who.uid, who.name)
    return who.uid


def check_again(services: Services, who: Caller, jobs: Iterable[Job]) -> None:
    """Raise Forbidden for a job of another user: done again it would run as `who`, who did not choose what it does."""
    if services.submitters is not None:
        for job in jobs:
            if who.uid != job.spec.uid:
                raise Forbidden(f"Job {job.id} runs as {job.spec.owner}, who alone may do it again; you are {who.name}")


def check_program(services: Services, who: Caller, job: Job, changed: Collection[str]) -> None:
    """Raise Forbidden if `who` would have another user run something else."""
    theirs = sorted(PROGRAM.intersection(changed))
    if services.submitters is not None and theirs and who.uid != job.spec.uid:
        raise Forbidden(
            f"Job {job.id} runs as {job.spec.owner}, who alone may change its {theirs[0]}; you are {who.name}"
        )


def check_terminal(services: Services, who: Caller, job: Job) -> None:
    """Raise Forbidden unless the terminal of the job is one of the user's own."""
    if services.submitters is not None and who.uid != job.spec.uid:
        raise Forbidden(f"The terminal of job {job.id} is for {job.spec.owner} only; you are {who.name}")
