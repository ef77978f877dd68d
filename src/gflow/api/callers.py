"""Who calls, and what depends on whose job it is. Who may use which verb at all is in `access.py`.

Over TCP with `daemon.auth = "none"` nobody knows who calls. Clients of gflow 0.4 name their user when they submit and
at no other time, so whoever comes that way may do what any of them could: submit under a name, act on every job, and
steer GPUs, reservations and quotas. That gives nobody more than the port gives him anyway, which is to run programs as
the daemon's user. What gflow 0.4 had not stays for those who are known.
"""

import pwd
from dataclasses import dataclass, replace
from typing import cast
from urllib.parse import unquote

from quart import request

from gflow.api.users import NO_USER
from gflow.core.engine import Engine
from gflow.core.errors import Forbidden, Malformed, Refused
from gflow.core.model import Job
from gflow.core.reservations import Reservation
from gflow.core.tokens import Token

USER_HEADER = "X-Gflow-User"
"""By which our own clients say over TCP who they are where nobody knows better, percent-encoded."""

MAX_NAME = 64
NOBODY = "unknown"
"""Who submits without a name, as in gflow."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request; administrators may act on everybody's jobs.

    - uid: NO_USER if the name is none of this machine's. anonymous: the name is what the client says, and no more.
    - token: the id of the token that says so, None for callers that the kernel names. read_only: it may only look.
    """

    name: str
    uid: int
    admin: bool
    anonymous: bool = False
    token: int | None = None
    read_only: bool = False

    @property
    def remote(self) -> bool:
        """Whether the kernel does not say who it is."""
        return self.anonymous or self.token is not None


ANYBODY = Caller(NOBODY, NO_USER, admin=False, anonymous=True)
"""Who comes over TCP where nobody has to say who he is."""


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
    who = cast(Caller, request.caller)  # type: ignore[attr-defined]  # of our own request class
    return replace(who, name=_claimed(claimed)) if who.anonymous else who


def _claimed(name: object) -> str:
    """The name a client gives: in the request, or in the header of ours."""
    name = unquote(request.headers.get(USER_HEADER, "")) if name is None else name
    if not isinstance(name, str) or len(name) > MAX_NAME or not name.isprintable() or "," in name:
        raise Malformed(f"Invalid user name: use up to {MAX_NAME} printable characters, without commas")
    return name.strip() or NOBODY


def note_refusal(refused: Refused) -> None:
    """One of several things that were asked for was refused; the others may be done all the same."""
    if isinstance(refused, Forbidden):
        request.denied.append(str(refused))  # type: ignore[attr-defined]


def check_group(who: Caller, engine: Engine, group_id: str) -> None:
    """Raise Forbidden unless all jobs of the group, if it has any, are such that `who` may act on them."""
    for job_id in engine.members(group_id):
        check_owner(who, engine.jobs[job_id])


def check_joins(who: Caller, engine: Engine, group_id: str) -> None:
    """Raise Forbidden if the group has jobs of others, also for administrators: its owner could not go on with it."""
    for job_id in engine.members(group_id):
        owner = engine.jobs[job_id].spec.owner
        if owner != who.name:
            raise Forbidden(
                f"Job {job_id} of this group belongs to {owner}, and only {owner} adds to it; you are {who.name}"
            )


def check_owner(who: Caller, job: Job) -> None:
    """Raise Forbidden unless `who` owns the job or is an administrator."""
    _check(who, job.spec.owner, "Job", job.id)


def check_holder(who: Caller, reservation: Reservation) -> None:
    """Raise Forbidden unless the reservation is for `who`, or `who` is an administrator."""
    _check(who, reservation.user, "Reservation", reservation.id)


def check_user_of(who: Caller, token: Token) -> None:
    """Raise Forbidden unless the token is for `who`, or `who` is an administrator."""
    _check(who, token.user, "Token", token.id)


def _check(who: Caller, owner: str, what: str, number: int) -> None:
    if owner == who.name:
        return
    if not (who.admin or who.anonymous):
        raise Forbidden(f"{what} {number} belongs to {owner}; you are {who.name}")
    request.of_others.append(f"{what.lower()} {number} of {owner}")  # type: ignore[attr-defined]
