"""Who calls, and what they may do: the kernel says who, and the rules are here and nowhere else."""

import functools
import os
import pwd
from dataclasses import dataclass

from quart import request

from gflow.core.engine import Engine
from gflow.core.errors import Forbidden
from gflow.core.model import Job
from gflow.core.reservations import Reservation
from gflow.daemon.peer import Peer


@dataclass(frozen=True, slots=True)
class Caller:
    """A user of this machine; administrators may act on everybody's jobs."""

    name: str
    uid: int
    admin: bool


def user_name(uid: int) -> str:
    """The name of a user in the system's database, or `uid:N`."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"


def caller() -> Caller:
    """Who sent the request being answered."""
    return _who(request.scope["state"]["peer"])


@functools.lru_cache(maxsize=256)
def _who(peer: Peer) -> Caller:
    """Looked up once for each process that calls: the system's database may be a file, or a server somewhere."""
    return Caller(user_name(peer.uid), peer.uid, admin=peer.uid in (0, os.geteuid()))


def check_group(who: Caller, engine: Engine, group_id: str) -> None:
    """Raise Forbidden unless all jobs of the group, if it has any, are such that `who` may act on them."""
    for job_id in engine.members(group_id):
        check_owner(who, engine.jobs[job_id])


def check_owner(who: Caller, job: Job) -> None:
    """Raise Forbidden unless `who` owns the job or is an administrator."""
    if not who.admin and job.spec.owner != who.name:
        raise Forbidden(f"Job {job.id} belongs to {job.spec.owner}; you are {who.name}")


def check_holder(who: Caller, reservation: Reservation) -> None:
    """Raise Forbidden unless the reservation is for `who`, or `who` is an administrator."""
    if not who.admin and reservation.user != who.name:
        raise Forbidden(f"Reservation {reservation.id} belongs to {reservation.user}; you are {who.name}")


def check_admin(who: Caller, what: str) -> None:
    """Raise Forbidden unless `who` is an administrator."""
    if not who.admin:
        raise Forbidden(f"Only an administrator may {what}; you are {who.name}")
