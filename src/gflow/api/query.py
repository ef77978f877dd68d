"""Reading query strings: every parameter is known and of the right form, or the request is refused."""

import re
from collections.abc import Iterable

from quart import request

from gflow.core.errors import Malformed
from gflow.core.lifecycle import CODES
from gflow.core.listed import split
from gflow.core.model import JobId, State
from gflow.core.selection import Selection

MAX_IDS = 100_000
MAX_SHOWN = 60
"""Of what cannot be read, so much is told back."""

_WHOLE = re.compile(r"-?[0-9]{1,4000}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?")

_STATES = {state.value.lower(): state for state in State} | {code.lower(): state for state, code in CODES.items()}


def allow(*names: str) -> None:
    """Refuse parameters that are not among `names`, and those that are given more than once."""
    if not request.query_string:
        return  # as with most requests
    for name, values in request.args.lists():
        if name not in names:
            raise Malformed(f"Unknown parameter '{name}'; allowed: {', '.join(names) or 'none'}")
        if len(values) > 1:
            raise Malformed(f"Parameter '{name}' is given {len(values)} times; give it once")


def text(name: str) -> str | None:
    """The value of a parameter, None if it is absent or empty."""
    return request.args.get(name) or None


def words(name: str) -> list[str] | None:
    """A comma list; None if the parameter is absent or empty."""
    value = text(name)
    return [word.strip() for word in value.split(",") if word.strip()] if value is not None else None


def flag(name: str) -> bool:
    """`1` or `true`."""
    value = request.args.get(name, "0").lower()
    if value not in ("0", "1", "true", "false"):
        raise Malformed(f"Invalid {name} '{value}': use 1 or 0")
    return value in ("1", "true")


def integer(name: str, *, least: int | None = None, most: int | None = None) -> int | None:
    """A whole number in a range. All beyond 18 digits are more than there is of anything, and alike."""
    value = text(name)
    if value is None:
        return None
    if _WHOLE.fullmatch(value) is None:
        raise Malformed(f"Invalid {name} '{_short(value)}': use a whole number")
    number = int(value) if len(value) < 19 else -(10**18) if value.startswith("-") else 10**18
    if (least is not None and number < least) or (most is not None and number > most):
        raise Malformed(f"Invalid {name} {_short(value)}: use {least} to {most if most is not None else 'any'}")
    return number


def _short(value: str) -> str:
    return value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "…"


def number(name: str) -> float | None:
    """A number, such as seconds since the epoch."""
    value = text(name)
    if value is None:
        return None
    if _NUMBER.fullmatch(value) is None or abs(float(value)) > 1e15:
        raise Malformed(f"Invalid {name} '{_short(value)}': use a number")
    return float(value)


def states(name: str) -> frozenset[State] | None:
    """A comma list of states by name or code; `all` stands for all, None for an absent parameter."""
    found = words(name)
    if found is None:
        return None
    if [word.lower() for word in found] == ["all"]:
        return frozenset(State)
    unknown = [word for word in found if word.lower() not in _STATES]
    if unknown:
        allowed = ", ".join(f"{state.value} ({code})" for state, code in CODES.items())
        raise Malformed(f"Unknown state '{unknown[0]}'; allowed: {allowed}")
    return frozenset(_STATES[word.lower()] for word in found)


def owners(name: str) -> frozenset[str] | None:
    """A comma list of users; None for an absent parameter, and for `all` or `*`."""
    found = words(name)
    return None if found in (None, ["all"], ["*"]) else frozenset(found or ())


def selection(states_: str, users: str, names: str, *, since: float | None) -> Selection:
    """The conditions in the parameters of these names, and in `project`; `all` or `*` among users is everybody."""
    listed = text(names)
    wanted = None if listed is None else frozenset(filter(None, split(listed)))
    return Selection(states(states_), owners(users), wanted, text("project"), since)


def ids(name: str) -> list[JobId] | None:
    """Ids and ranges, `1,3-5`: sorted, each once."""
    found = words(name)
    return parse_ids(found) if found is not None else None


def parse_ids(parts: Iterable[str]) -> list[JobId]:
    """The ids of parts such as `1` and `3-5`. Raises Malformed."""
    result: set[int] = set()
    for part in parts:
        first, dash, last = part.partition("-")
        if not _is_id(first) or (dash and not _is_id(last)) or (dash and int(last) < int(first)):
            raise Malformed(f"Invalid job ID or range: {part}")
        low, high = int(first), int(last) if dash else int(first)
        if high - low + len(result) >= MAX_IDS:
            raise Malformed(f"Invalid job ID or range: {part} names more than {MAX_IDS} jobs")
        result.update(range(low, high + 1))
    return [JobId(job_id) for job_id in sorted(result)]


def _is_id(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 16
