"""The job a request wants to change: only one that is at hand, and only for who may act on it."""

from gflow.api.callers import caller, check_owner
from gflow.api.services import Services
from gflow.core.errors import WrongState
from gflow.core.lifecycle import and_goes_on
from gflow.core.model import Job


async def owned(services: Services, job_id: int) -> Job:
    """The job. Raises NotFound, Forbidden, Unavailable, and WrongState for one that ended long ago and left."""
    job = await services.listing.find(job_id)
    check_owner(caller(), job)
    services.runtime.check_open()
    engine = services.runtime.engine
    if job.id not in engine.jobs:
        attempt = and_goes_on(engine.goes_on_as(job))
        raise WrongState(f"Job {job_id} is {job.state.value} and cannot be changed any more{attempt}")
    return engine.job(job_id)
