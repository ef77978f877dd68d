"""What commands that change something tell: a line for each as it is done, or one document about all of them.

The document has an entry for everything that was asked for, in that order: `id`, `ok`, and where it was declined the
`error` and its `code`.
"""

from __future__ import annotations

from gflow.cli.output import print_document
from gflow.client.errors import Declined
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Record = dict[str, Any]


def act_on_each(
    job_ids: Iterable[int],
    act: Callable[[int], Record],
    tell: Callable[[Record], None],
    kind: str,
    fields: Sequence[str] = (),
) -> int:
    """Call `act` for every id, and `tell` people what it made; for programs one document, also if there is an
    interruption. 1 if the daemon declined any, else 0.

    fields: what an entry has of `act` beside those that all have; null where it was declined.
    """
    told: list[Record] = []
    try:
        for job_id in job_ids:
            told.append(_outcome(job_id, act, fields))
            if kind == "text" and told[-1]["ok"]:
                tell(told[-1])
    finally:
        if kind != "text":
            print_document({"jobs": told}, kind)
    return 0 if all(record["ok"] for record in told) else 1


def _outcome(job_id: int, act: Callable[[int], Record], fields: Sequence[str]) -> Record:
    try:
        made = act(job_id)
    except Declined as error:
        say(str(error))
        return declined({"id": job_id, "error": str(error), "code": error.code}) | dict.fromkeys(fields)
    return done(job_id) | {name: made[name] for name in fields}


def done(job_id: int) -> Record:
    return {"id": job_id, "ok": True, "error": None, "code": None}


def declined(failed: Record) -> Record:
    """`failed` has id, error and code."""
    return {"id": failed["id"], "ok": False, "error": failed["error"], "code": failed["code"]}
