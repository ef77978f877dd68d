"""The jobs that conditions mean, for commands that act on them: none that have ended, without --user one's own."""

from __future__ import annotations

from gflow.cli import ids
from gflow.cli.fetching import missing_of
from gflow.cli.matching import is_pattern, matches
from gflow.core.listed import join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values
    from gflow.client.http import Client

_EVERYBODY = ("all", "*")


def select(client: Client, among: list[int], values: Values) -> tuple[list[int], set[int]]:
    """The ids of the jobs for which all conditions hold, of those in `among` if there are any; and which of `among` no
    job has."""
    users, wanted = values["user"], values["names"]
    patterns = any(map(is_pattern, wanted or ()))
    among = sorted(among)
    rows, _ = client.queue(
        ("JOBID", "NAME"),
        states=",".join(values["states"]) if values["states"] else "PD,H,R",
        users=None if users is None or any(user in _EVERYBODY for user in users) else ",".join(users),
        mine=1 if users is None and not among else None,
        ids=ids.show(ids.compact(among)) or None,
        names=join(wanted) if wanted and not patterns else None,
        project=values["project"],
        group=values["group"],
    )
    found = sorted(int(row[0]) for row in rows if not patterns or matches(row[1], wanted))
    return found, missing_of(client, ids.compact(among), found)
