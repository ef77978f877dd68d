"""Refusals: what a caller asked for cannot be done, and nothing was changed.

Each carries the stable word and the HTTP status the API answers with, so that the mapping exists once.
"""


class Refused(Exception):
    """Base of all refusals. The message is one sentence for a person."""

    code = "refused"
    status = 400


class Malformed(Refused):
    """The request cannot be understood."""

    code = "malformed"
    status = 400


class Unauthorized(Refused):
    """Nobody knows who the caller is, where that has to be known. One sentence for all: it must not tell why."""

    code = "unauthorized"
    status = 401


class Forbidden(Refused):
    """The caller may not do this."""

    code = "forbidden"
    status = 403


class NotFound(Refused):
    """There is no such thing."""

    code = "not_found"
    status = 404


class WrongState(Refused):
    """The job's state does not allow this."""

    code = "wrong_state"
    status = 409


class Conflict(Refused):
    """It would take what is promised to somebody else."""

    code = "conflict"
    status = 409


class TooLarge(Refused):
    """More than is taken at once."""

    code = "too_large"
    status = 413


class TooMany(Refused):
    """More than one may have at once: try again later."""

    code = "too_many"
    status = 429
    retry_after_secs = 5


class Impossible(Refused):
    """Understood, but it could never be done."""

    code = "impossible"
    status = 422


class OverQuota(Refused):
    """More than the caller's share."""

    code = "over_quota"
    status = 422


class Unavailable(Refused):
    """Not now: the state cannot be written, or the daemon is stopping."""

    code = "unavailable"
    status = 503
