"""Who calls, and what they may do: the kernel says who, and the rules are here and nowhere else.

Over TCP (`daemon.auth = "none"`) the kernel does not say. Clients of gflow 0.4 name their user when they submit and at
no other time, so whoever comes that way may do what any of them could: submit under a name, act on every job, and
steer GPUs, reservations and quotas. That gives nobody more than the port gives him anyway, which is to run programs as
the daemon's user. What gflow 0.4 had not stays for those whom the kernel names.
"""

import functools
import os
import pwd
from dataclasses import dataclass
from urllib.parse import unquote

from quart import request

from gflow.core.engine import Engine
from gflow.core.errors import Forbidden, Malformed
from gflow.core.model import Job
from gflow.core.reservations import Reservation
from gflow.daemon.peer import Peer

USER_HEADER = "X-Gflow-User"
"""By which our own clients say over TCP who they are, percent-encoded."""

UNKNOWN = -1
"""The user id of those whom the kernel does not name."""

MAX_NAME = 64
NOBODY = "unknown"
"""Who submits without a name, as in gflow."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A user of this machine; administrators may act on everybody's jobs.

    uid: UNKNOWN if the name is what the client says, and no more than a name.
    """

    name: str
    uid: int
    admin: bool

    @property
    def anonymous(self) -> bool:
        """Whether nobody knows who it is."""
        return self.uid == UNKNOWN


def user_name(uid: int) -> str:
    """The name of a user in the system's database, or `uid:N`."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"


def caller(claimed: object = None) -> Caller:
    """Who sent the request being answered.

    `claimed` is whom the request names: it counts only where nobody knows better. Raises Malformed for what is no name.
    """
    peer = request.scope["state"]["peer"]
    return _who(peer) if isinstance(peer, Peer) else Caller(_claimed(claimed), UNKNOWN, admin=False)


def _claimed(name: object) -> str:
    """The name a client gives: in the request, or in the header of ours."""
    name = unquote(request.headers.get(USER_HEADER, "")) if name is None else name
    if not isinstance(name, str) or len(name) > MAX_NAME or not name.isprintable() or "," in name:
        raise Malformed(f"Invalid user name: use up to {MAX_NAME} printable characters, without commas")
    return name.strip() or NOBODY


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
    if not _may_steer(who) and job.spec.owner != who.name:
        raise Forbidden(f"Job {job.id} belongs to {job.spec.owner}; you are {who.name}")


def check_holder(who: Caller, reservation: Reservation) -> None:
    """Raise Forbidden unless the reservation is for `who`, or `who` is an administrator."""
    if not _may_steer(who) and reservation.user != who.name:
        raise Forbidden(f"Reservation {reservation.id} belongs to {reservation.user}; you are {who.name}")


def check_operator(who: Caller, what: str) -> None:
    """Raise Forbidden unless `who` is an administrator or comes over TCP: for what the older gflow let everybody do."""
    if not _may_steer(who):
        raise Forbidden(f"Only an administrator may {what}; you are {who.name}")


def check_admin(who: Caller, what: str) -> None:
    """Raise Forbidden unless `who` is an administrator, as the kernel says."""
    if who.anonymous:
        raise Forbidden(f"Only an administrator may {what}, and over TCP nobody knows who you are; use the Unix socket")
    if not who.admin:
        raise Forbidden(f"Only an administrator may {what}; you are {who.name}")


def _may_steer(who: Caller) -> bool:
    return who.admin or who.anonymous
