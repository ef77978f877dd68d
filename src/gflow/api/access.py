"""Who may do what: every verb of the API with its rule. There is no verb without one, and no other place that says it.

The rule is applied before the handler runs (`gate.py`). Where it depends on whose job, group or reservation it is, the
handler, which knows that one, asks `callers.check_owner` and its like; such rules are OWNER, SELF and SEES here. Tests
try every verb as everybody.
"""

import enum
from collections.abc import Iterable
from typing import NamedTuple


class Who(enum.StrEnum):
    """Who may use a verb. Whoever may connect and is known is `EVERYBODY`; administrators may do all of it."""

    EVERYBODY = "everybody"
    SEES = "its owner; others if visibility is all"
    OWNER = "its owner"
    SELF = "everybody, for oneself"
    OPERATOR = "administrators; TCP without authentication"
    ADMIN = "administrators"


class Rule(NamedTuple):
    """- what: what is done, after "Only an administrator may". local: not over TCP.
    - hides: what it shows of others' jobs is cut down to what `access.visibility` lets be seen.
    - is_told: each use is in the audit log.
    """

    who: Who
    what: str = ""
    local: bool = False
    hides: bool = False
    is_told: bool = False


_LOOK = Rule(Who.EVERYBODY)
_LIST = Rule(Who.EVERYBODY, hides=True)
_SUBMIT = Rule(Who.EVERYBODY)
_OWNER = Rule(Who.OWNER)
_SEES = Rule(Who.SEES)


def _operator(what: str) -> Rule:
    return Rule(Who.OPERATOR, what, is_told=True)


def _admin(what: str) -> Rule:
    return Rule(Who.ADMIN, what, is_told=True)


RULES: dict[str, Rule] = {
    "GET /": _LOOK,
    "GET /openapi.json": _LOOK,
    "GET /health": _LOOK,
    "GET /status": _LOOK,
    "GET /stats": _LOOK,
    "GET /metrics": _LOOK,
    "GET /info": _LOOK,
    "GET /events": _LOOK,
    "GET /forecast": _LOOK,
    "GET /groups": _LOOK,
    "GET /queue": _LIST,
    "GET /progress": _LIST,
    "GET /terminals": _LOOK,
    "GET /jobs": _LIST,
    "GET /jobs/<int:job_id>": _LIST,
    "GET /jobs/<int:job_id>/wait": _LIST,
    "GET /jobs/<int:job_id>/why": _LIST,
    "GET /jobs/resolve-dependency": _LOOK,
    "GET /jobs/<int:job_id>/log": _SEES,
    "GET /jobs/<int:job_id>/log/content": _SEES,
    "GET /jobs/<int:job_id>/log/stream": _SEES,
    "GET /jobs/<int:job_id>/processes": _SEES,
    "GET /jobs/<int:job_id>/attach": _OWNER,
    "POST /jobs": _SUBMIT,
    "POST /jobs/batch": _SUBMIT,
    "PATCH /jobs/<int:job_id>": _OWNER,
    "POST /jobs/<int:job_id>/hold": _OWNER,
    "POST /jobs/<int:job_id>/release": _OWNER,
    "POST /jobs/<int:job_id>/cancel": _OWNER,
    "POST /jobs/cancel": _OWNER,
    "POST /jobs/<int:job_id>/finish": _OWNER,
    "POST /jobs/<int:job_id>/fail": _OWNER,
    "POST /jobs/<int:job_id>/signal": _OWNER,
    "POST /jobs/<int:job_id>/redo": _OWNER,
    "DELETE /jobs/<int:job_id>/terminal": _OWNER,
    "POST /groups/<group_id>/max-concurrency": _OWNER,
    "GET /reservations": _LOOK,
    "GET /reservations/<int:reservation_id>": _LOOK,
    "DELETE /reservations/<int:reservation_id>": _OWNER,
    "POST /reservations": _operator("reserve GPUs"),
    "GET /gpu-processes": _LOOK,
    "POST /gpu-processes/ignore": _operator("have a process ignored"),
    "POST /gpu-processes/unignore": _operator("have a process count again"),
    "POST /gpus": _operator("choose the GPUs to give out"),
    "GET /quotas": _LOOK,
    "PUT /quotas": _operator("change quotas"),
    "DELETE /quotas": _operator("change quotas"),
    "POST /drain": _admin("drain gflow"),
    "POST /resume": _admin("have jobs started again"),
    "POST /reload": _admin("reload the configuration"),
    "POST /replace": _admin("put another program in the daemon's place"),
    "POST /state/compact": _admin("compact the state"),
    "POST /state/prune": _admin("prune the state"),
    "GET /notifications": Rule(Who.ADMIN, "see how it goes with notifications"),
    "POST /notifications/test": _admin("test notifications"),
    "POST /notifications/redeliver": _admin("have notifications delivered again"),
    "GET /tokens": Rule(Who.SELF, "see tokens", local=True),
    "POST /tokens": Rule(Who.SELF, "make tokens", local=True, is_told=True),
    "DELETE /tokens/<int:token_id>": Rule(Who.OWNER, "revoke tokens", local=True, is_told=True),
}

LOOKING = ("GET", "HEAD", "OPTIONS")
"""The methods that change nothing, and all that a read-only token may use."""


def rules_of(routes: Iterable[tuple[str, str, str]]) -> dict[str, Rule]:
    """The rule of each endpoint, of routes as (endpoint, method, path). Raises LookupError for one without a rule."""
    found = {}
    for endpoint, method, path in routes:
        verb = f"{method} {path}"
        if verb not in RULES:
            raise LookupError(f"{verb} has no rule that says who may use it; see gflow.api.access")
        found[endpoint] = RULES[verb]
    return found


def table() -> list[tuple[str, str, str]]:
    """Verb, who may use it, and what there is to note, for docs/access.md."""
    return [(_shown(verb), rule.who.value, _notes(verb, rule)) for verb, rule in RULES.items()]


def _shown(verb: str) -> str:
    return (
        verb.replace("<int:job_id>", "ID")
        .replace("<group_id>", "ID")
        .replace("<int:reservation_id>", "ID")
        .replace("<int:token_id>", "ID")
    )


def _notes(verb: str, rule: Rule) -> str:
    said = {
        "a read-only token may": verb.startswith("GET ") and not rule.local,
        "over the Unix socket only": rule.local,
        "others' jobs as visibility says": rule.hides,
        "audited": rule.is_told,
    }
    return ", ".join(note for note, applies in said.items() if applies)
