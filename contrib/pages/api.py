"""The HTTP API, of the OpenAPI document that the daemon serves and the table of who may do what."""

import re
from collections.abc import Iterator

from gflow.api.access import LOOKING, RULES, Rule
from gflow.api.description import EVERYWHERE, OPERATIONS, SENTENCES
from gflow.api.openapi import document
from pages.markdown import code, page, plain, table
from pages.schemas import Schema, default, kind

ABOUT = """\
Every route: who may use it, what it takes, how it answers. It is what `GET /openapi.json` tells programs, and the table
by which requests are let in. What it all means is in [HTTP API](../api.md); who is an administrator, and as whom
somebody comes by TCP, in [who may do what](../access.md).

Bodies and answers are JSON where nothing else is said. Parameters may be left out, but for those in the path; so may
fields of bodies, but for those that are *needed*, which answers always have. One that is not named here is an error
(400)."""
ERRORS = """\
Each is `{"error": "<sentence>", "code": "<word>"}`. Those that any route may answer with are not repeated with each:"""


def made() -> str:
    """The text of the page."""
    told = document()
    routes = [_route(verb, told) for verb in OPERATIONS]
    records = [_record(name, schema) for name, schema in sorted(told["components"]["schemas"].items())]
    common = {status: SENTENCES[status] for status in EVERYWHERE}
    others = {status: sentence for status, sentence in SENTENCES.items() if status not in common}
    errors = ("## Errors", ERRORS, _sentences(common), "The others:", _sentences(others))
    return page("Routes of the HTTP API", ABOUT, "## Routes", *routes, *errors, "## Records", *records)


def _route(verb: str, told: Schema) -> str:
    method, path = verb.split(" ")
    operation, shared = told["paths"][path][method.lower()], told["paths"][path].get("parameters", [])
    parts = (
        f"### {verb}",
        f"{plain(operation['summary'])}. For {_who(verb)}.",
        table(("parameter", ""), map(_parameter, [*shared, *operation.get("parameters", ())])),
        _body(operation.get("requestBody")),
        f"Answers {_answers(operation['responses'])}.",
    )
    return "\n\n".join(filter(None, parts))


def _who(verb: str) -> str:
    rule = _rules()[verb]
    return "; ".join([rule.who.value.replace("; ", ", "), *_notes(verb, rule)])


def _rules() -> dict[str, Rule]:
    """The rules, by verbs as the document writes them."""
    return {re.sub(r"<(?:int:)?(\w+)>", r"{\1}", verb): rule for verb, rule in RULES.items()}


def _notes(verb: str, rule: Rule) -> list[str]:
    said = {
        "a read-only token will do": verb.startswith(LOOKING) and not rule.local,
        "over the Unix socket only": rule.local,
        "of others' jobs it shows what `access.visibility` allows": rule.hides,
        "each use is in the audit log": rule.is_told,
    }
    return [note for note, applies in said.items() if applies]


def _parameter(one: Schema) -> tuple[str, str]:
    return code(one["name"]), kind(one["schema"])


def _body(body: Schema | None) -> str:
    if body is None:
        return ""
    (content,) = body["content"].values()
    return f"Body{'' if body['required'] else ', which may be left out'}: {kind(content['schema'])}."


def _answers(responses: dict[str, Schema]) -> str:
    """The statuses of success with what is answered, then the errors that not every route has."""
    done = {status: told for status, told in responses.items() if not _is_error(told)}
    errors = sorted(status for status in responses.keys() - done.keys() if int(status) not in EVERYWHERE)
    ((media, content),) = next(iter(done.values()))["content"].items()
    what = kind(content["schema"]) if content else code(media)
    return f"{' or '.join(sorted(done))}: {what}" + (f". Errors: {', '.join(errors)}" if errors else "")


def _is_error(told: Schema) -> bool:
    return bool(told["description"] != "Done")


def _sentences(statuses: dict[int, str]) -> str:
    return table(("status", ""), ((str(status), plain(sentence)) for status, sentence in sorted(statuses.items())))


def _record(name: str, schema: Schema) -> str:
    """A record's fields with their types, or those that are always there where no more is said of them."""
    fields, needed = schema.get("properties", {}), schema.get("required", [])
    bare = [code(field) for field in needed if field not in fields]
    parts = (
        f"### {name}",
        f"Always has {', '.join(bare)}." if bare else "",
        table(("field", "", "if left out"), _rows(fields, needed)) if "properties" in schema else f"{kind(schema)}.",
    )
    return "\n\n".join(filter(None, parts))


def _rows(fields: dict[str, Schema], needed: list[str]) -> Iterator[tuple[str, str, str]]:
    for field, schema in fields.items():
        yield code(field), kind(schema), "*needed*" if field in needed else default(schema)
