"""The document the daemon serves says of every route what it takes: no more than the code does, and no less."""

import itertools
import re

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.api.app import create_app
from gflow.api.description import NAMED_RECORDS, OPERATIONS
from gflow.api.openapi import document
from gflow.core.errors import Malformed
from gflow.wire.requests import read, read_batch
from support.effort import examples

DOCUMENT = document()
COMPONENTS = DOCUMENT["components"]["schemas"]
BODIES = {where: operation.body for where, operation in OPERATIONS.items() if isinstance(operation.body, type)}
RECORDS = {kind.__name__: kind for kind in BODIES.values()}
RULE_PART, WITH_BRACES = re.compile(r"<(?:int:)?(.+?)>"), r"{\1}"
AUTOMATIC = {"HEAD", "OPTIONS"}
"""Methods the framework adds to every route."""


def validator(schema):
    """What tells whether a value is as a schema of the document says."""
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def path_of(where):
    """The method and a path of an operation."""
    method, path = where.split(" ")
    return method, re.sub(r"{\w+}", "1", path)


async def test_every_route_is_in_it_and_nothing_else(house):
    served = {
        f"{method} {RULE_PART.sub(WITH_BRACES, rule.rule)}"
        for rule in create_app(house.services).url_map.iter_rules()
        for method in (rule.methods or set()) - AUTOMATIC
    }
    assert served == OPERATIONS.keys()
    told = {f"{method.upper()} {path}" for path, about in DOCUMENT["paths"].items() for method in about}
    assert {where for where in told if not where.startswith("PARAMETERS")} == served


async def test_it_is_served(house):
    assert await house.get("/openapi.json") == DOCUMENT


def test_it_is_an_openapi_document():
    for about in DOCUMENT["paths"].values():
        for operation in (about[method] for method in about if method != "parameters"):
            assert operation["responses"].keys() >= {"400", "403", "413", "429", "503"}
    names = [o["operationId"] for a in DOCUMENT["paths"].values() for m, o in a.items() if m != "parameters"]
    assert len(names) == len(set(names))
    for schema in COMPONENTS.values():
        validator(schema)


async def test_every_parameter_is_in_it_and_nothing_else(house):
    for where, operation in OPERATIONS.items():
        method, path = path_of(where)
        said = await house.refused(method, f"{path}?no-such-thing=1", status=400, code="malformed")
        allowed = said.removeprefix("Unknown parameter 'no-such-thing'; allowed: ")
        assert set(allowed.split(", ")) == (operation.query.keys() or {"none"}), where


def wrong_for(schema):
    """A value that the schema of a field refuses, None if it takes all."""
    holds = validator(schema)
    return next((value for value in ({"?": 1}, [[]], 1.5, "?") if not holds.is_valid(value)), None)


async def test_the_fields_of_every_body_are_those_that_are_read(house):
    names = {name for kind in RECORDS for name in COMPONENTS[kind]["properties"]}
    for where, kind in BODIES.items():
        method, path = path_of(where)
        fields = COMPONENTS[kind.__name__]["properties"]
        for name in [*fields, *itertools.islice(names - fields.keys(), 10)]:
            wrong = wrong_for(fields[name]) if name in fields else 1
            if wrong is None:
                continue
            said = await house.refused(method, path, {name: wrong}, status=400, code="malformed")
            assert (f"`$.{name}" in said) == (name in fields), (where, name, said)
            assert (f"unknown field `{name}`" in said) == (name not in fields), (where, name, said)


async def test_what_a_body_must_have_is_said(house):
    for where, kind in BODIES.items():
        required = COMPONENTS[kind.__name__].get("required", [])
        if required:
            said = await house.refused(*path_of(where), {}, status=400, code="malformed")
            assert f"`{required[0]}`" in said, where


WORDS = st.sampled_from(["", "x", "Any", "All", "Shared", "\u0000", "é"])
PLAIN = st.none() | st.booleans() | WORDS | st.sampled_from([-1, 0, 1, 2**53 - 1, 2**53, -(2**53), 2**70, 0.5, -1e300])
"""Not 1.0: to JSON Schema it is a whole number, to us it is none."""

MOMENTS = st.fixed_dictionaries(
    {}, optional={"secs": PLAIN, "nanos": PLAIN, "secs_since_epoch": PLAIN, "signal": PLAIN, "secs_before": PLAIN}
)
LISTED = st.fixed_dictionaries({}, optional={"emails": st.lists(WORDS), "events": st.lists(PLAIN, max_size=2)})
QUOTA = st.fixed_dictionaries({}, optional={"max_running_jobs": PLAIN, "max_queued_jobs": PLAIN})
VALUES = PLAIN | st.lists(PLAIN, max_size=3) | MOMENTS | LISTED | QUOTA | st.dictionaries(WORDS, PLAIN, max_size=2)


def body_of(kind):
    """Objects with some of the fields of a record, right or wrong, and at times one that it has not."""
    fields = [*COMPONENTS[kind]["properties"], "no_such_field"]
    required = COMPONENTS[kind].get("required", [])
    some = st.lists(st.sampled_from(fields), max_size=4).flatmap(
        lambda names: st.fixed_dictionaries(dict.fromkeys([*required, *names], VALUES))
    )
    return some | st.dictionaries(st.sampled_from(fields), VALUES, max_size=2) | VALUES


@pytest.mark.parametrize("kind", sorted(RECORDS))
def test_what_the_schema_of_a_record_takes_is_what_is_read(kind):
    holds = validator(COMPONENTS[kind])

    @settings(max_examples=examples(100))
    @given(body_of(kind))
    def agree(value):
        assert holds.is_valid(value) == reads(read, RECORDS[kind], value)

    agree()


def reads(reader, *arguments):
    """Whether this can be read."""
    try:
        reader(*arguments)
    except Malformed:
        return False
    return True


@settings(max_examples=examples(100))
@given(st.lists(body_of("JobRequest"), max_size=3) | VALUES)
def test_what_the_schema_of_a_batch_takes_is_what_is_read(value):
    schema = DOCUMENT["paths"]["/jobs/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert validator(schema).is_valid(value) == reads(read_batch, value)


VALUE_TEXTS = [
    *"0 1 -1 2 +1 1_0 00 1.0 1.5 1e3 nan inf -inf 1e999 x all asc desc ASC day true TRUE FalsE yes".split(),
    *"Running 1,3 1-3 3-1 @ 1e15 1000000000 1000000001 1000000000000001 9007199254740991 9007199254740992".split(),
    *("\N{FULLWIDTH DIGIT ONE}", " 1", "9" * 30),
]


def means(text, schema):
    """The value a parameter's text stands for: OpenAPI has JSON's numbers in the query as they are written."""
    if schema.get("type") == "integer" and re.fullmatch(r"-?\d+", text, re.ASCII):
        return int(text) if len(text) < 20 else 10**20
    if schema.get("type") == "number" and re.fullmatch(r"-?\d+(\.\d+)?(e\d+)?", text, re.ASCII):
        return float(text)
    return text


def wrong_texts(schema):
    return [text for text in VALUE_TEXTS if not validator(schema).is_valid(means(text, schema))]


async def test_what_the_schema_of_a_parameter_refuses_is_refused(house):
    seen = []
    await house.submit(hold=True)
    for where, operation in OPERATIONS.items():
        method, path = path_of(where)
        for name, schema in operation.query.items():
            some = slice(len(wrong_texts(schema)) if schema not in seen else 1)
            seen.append(schema)
            for text in wrong_texts(schema)[some]:
                body = b"{}" if operation.body is not None else None
                answer = await house.client.request(method, path, params={name: text}, content=body)
                assert answer.status_code == 400, (where, name, text, answer.text)


FILTERS = ("GET /jobs", "GET /queue", "GET /stats", "GET /groups", "GET /reservations", "GET /progress")


async def test_what_it_takes_of_numbers_and_flags_is_taken(house):
    for where in FILTERS:
        _, path = path_of(where)
        needed = {"columns": "JOBID"} if where == "GET /queue" else {}
        for (name, schema), text in itertools.product(OPERATIONS[where].query.items(), VALUE_TEXTS):
            decidable = schema.get("type") in ("integer", "number") or "pattern" in schema or "enum" in schema
            if decidable and validator(schema).is_valid(means(text, schema)):
                answer = await house.client.get(path, params={**needed, name: text})
                assert answer.status_code == 200, (where, name, text, answer.text)


async def test_the_record_of_a_job_has_all_that_is_said_and_no_more(house):
    job_id = await house.submit(hold=True)
    assert (await house.get(f"/jobs/{job_id}")).keys() == set(NAMED_RECORDS["Job"]["required"])
