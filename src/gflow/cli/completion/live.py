"""What the daemon knows that may be completed: jobs, groups, names, users, projects, reservations.

One question, of which the answer is not waited for longer than a moment; whatever goes wrong, there is nothing.
"""

from __future__ import annotations

import os

from gflow.client import unix
from gflow.client.endpoint import find, is_url, trust
from gflow.client.errors import MISREAD, ClientError
from gflow.client.http import target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.completion.position import Position

    Found = list[tuple[str, str]]

PATIENCE_SECS = 1.0
MOST = 500
"""So many jobs are looked at, the latest ones."""

_STATES = {
    "attach": "R",
    "hold": "PD",
    "release": "H",
    "update": "PD,H,R",
    "set-limit": "PD,H,R",
    "wait": "PD,H,R",
    "eta": "PD,H",
    "redo": "CD,F,CA,TO",
    "gcancel": "PD,H,R",
}
"""The jobs a verb can do something with, where that is not all of them."""

_CHANGING = frozenset(("attach", "hold", "release", "update", "redo", "gcancel"))
"""Verbs that are for one's own jobs; root's are everybody's."""


def known(kind: str, position: Position) -> Found:
    """The values of this kind, the latest first, each with what it is."""
    ask = _ASK.get(kind)
    if ask is None:
        return []
    trust(position.given.get("cacert"))
    try:
        return ask(find(position.given.get("url"), position.given.get("config"), quiet=True), position)
    except (ClientError, OSError, *MISREAD):
        return []


def _jobs(path: str, position: Position) -> Found:
    verb = position.table.name
    mine = verb in _CHANGING and (os.geteuid() != 0 or is_url(path))
    rows = _rows(path, "JOBID,NAME,ST", states=_STATES.get(verb, "all"), mine=1 if mine else None)
    return [(row[0], f"{row[1]} ({row[2]})") for row in rows if len(row) == 3 and row[0].isdecimal()]


def _names(path: str, position: Position) -> Found:
    states = _STATES.get(position.table.name, "all")
    return _distinct([row[0] for row in _rows(path, "NAME", states=states)])


def _users(path: str, _position: Position) -> Found:
    return _distinct([row[0] for row in _rows(path, "USER", states="all")])


def _projects(path: str, _position: Position) -> Found:
    return _distinct([row[0] for row in _rows(path, "PROJECT", states="all") if row[0] != "-"])


def _groups(path: str, position: Position) -> Found:
    """By their names, and those that have none by their ids; one's own, for names are each user's."""
    states = _STATES.get(position.table.name, "all")
    mine = None if os.geteuid() == 0 else 1
    return _distinct([row[0] for row in _rows(path, "GROUP", states=states, mine=mine) if row[0] != "-"])


def _distinct(values: list[str]) -> Found:
    return [(value, "") for value in dict.fromkeys(values)]


def _rows(path: str, columns: str, *, states: str, mine: int | None = None) -> list[list[str]]:
    """The cells of the latest jobs, the latest first."""
    query: dict[str, str | int | float | None] = {"columns": columns, "states": states, "limit": -MOST, "mine": mine}
    text = _get(path, target("/queue", query)).decode("utf-8", "replace")
    return [line.split("\x1f") for line in text.split("\n")[-2::-1]]


def _reservations(path: str, _position: Position) -> Found:
    import json

    found = json.loads(_get(path, "/reservations"))
    ahead = [one for one in found if one["status"] in ("Active", "Pending")]
    return [(str(one["id"]), f"of {one['user']}, {one['status']}") for one in ahead]


_ASK = {
    "jobs": _jobs,
    "groups": _groups,
    "names": _names,
    "users": _users,
    "projects": _projects,
    "reservations": _reservations,
}


_MOST_BYTES = 1 << 23


def _get(path: str, resource: str) -> bytes:
    answer = unix.ask(path, "GET", resource, timeout_secs=PATIENCE_SECS).answer()
    body = answer.read(_MOST_BYTES)
    return body if answer.status == 200 else b""
