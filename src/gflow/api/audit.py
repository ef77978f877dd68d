"""The audit log: a line for every request that is refused, and for every one that is for administrators.

That is: those whose rule says so (`access.py`), and those by which somebody acts on another user's job, group or
reservation. A line is one JSON object of plain ASCII, so that no text of anybody's can end it or look like another, and
every text in it is cut. It has the path of the request, without what may be a token in it, and never its headers, its
query or its body, so no secret comes into it. What came to nothing is only counted where there is much of it
(`refusals.py`); what an administrator did has its line in any case.
"""

import json
import logging
import time
from typing import Any

from gflow.api.access import Rule
from gflow.api.callers import Caller
from gflow.api.refusals import Refusals
from gflow.core.errors import Forbidden, Unauthorized
from gflow.core.tokens import hidden
from gflow.daemon.peer import Peer, Stranger

log = logging.getLogger("gflow.audit")

MOST_CHARS = 200
MOST_NAMED = 20


class Trail:
    """What is known of a request as it goes on; `status` is None until there is an answer.

    `refusals` counts those of all requests.
    """

    __slots__ = ("denied", "method", "of_others", "path", "peer", "refusal", "refusals", "rule", "status", "who")

    def __init__(
        self,
        method: str,
        path: str,
        peer: Peer | Stranger | None,
        of_others: list[str],
        denied: list[str],
        refusals: Refusals,
    ) -> None:
        self.refusals = refusals
        self.method = method
        self.path = path
        self.peer = peer
        self.of_others = of_others
        self.denied = denied
        self.rule: Rule | None = None
        self.who: Caller | None = None
        self.refusal: BaseException | None = None
        self.status: int | None = None

    def end(self) -> None:
        """Write the line, if there is to be one."""
        for known, party, more in self.refusals.counted(time.monotonic()):
            whose = {"user": party} if known else {"from": party}
            log.warning("%s", json.dumps({"outcome": "refused", **whose, "more": more}))
        if isinstance(self.refusal, Forbidden | Unauthorized):
            self._refused(str(self.refusal))
            return
        if self.denied:
            self._refused(_listed(self.denied))
        if self.of_others or (self.rule is not None and self.rule.is_told):
            outcome = "unanswered" if self.status is None else "done" if self.status < 400 else "failed"
            if self._always(outcome) or self._tells():
                log.info("%s", self._line(outcome, None if self.refusal is None else str(self.refusal)))

    def _refused(self, why: str) -> None:
        if self._tells():
            log.warning("%s", self._line("refused", why))

    def _always(self, outcome: str) -> bool:
        """Whether it is what administrators did, or may have done; those who are nobody stand in for some."""
        return outcome != "failed" and self.who is not None and (self.who.admin or self.who.anonymous)

    def _tells(self) -> bool:
        if self.who is None or self.who.anonymous:
            return self.refusals.tells(_origin_without_port(self.peer))
        return self.refusals.tells(self.who.name, known=True)

    def _line(self, outcome: str, why: str | None) -> str:
        fields: dict[str, Any] = {
            "outcome": outcome,
            "status": self.status,
            **_who(self.who),
            "from": _origin(self.peer),
            "method": self.method,
            "path": self.path,
            "of_others": _listed(self.of_others) or None,
            "why": why,
        }
        return json.dumps({key: _cut(value) for key, value in fields.items() if value is not None})


def _who(who: Caller | None) -> dict[str, Any]:
    if who is None:
        return {"user": None}
    return {"user": who.name, "token": who.token, "admin": who.admin or None}


def _origin(peer: Peer | Stranger | None) -> str:
    if isinstance(peer, Peer):
        return f"unix uid {peer.uid} pid {peer.pid}"
    return f"tcp {peer.address}" if peer is not None else "nowhere"


def _origin_without_port(peer: Peer | Stranger | None) -> str:
    """Where they come from who are one party: a port is another with each connection, as a process is."""
    if isinstance(peer, Peer):
        return f"unix uid {peer.uid}"
    return f"tcp {peer.address.rpartition(':')[0]}" if peer is not None else "nowhere"


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _cut(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    shown = hidden(value)
    return f"{shown[:MOST_CHARS]}..." if len(shown) > MOST_CHARS else shown
