"""`GET /openapi.json`: the API as an OpenAPI 3.1 document, made when somebody asks for it first, and kept."""

import functools
import re
from typing import Any

from quart import Blueprint, Response

from gflow import __version__
from gflow.api import query
from gflow.api.answers import encode, raw
from gflow.api.services import Services

_Document = dict[str, Any]


def blueprint(_services: Services) -> Blueprint:
    """The route."""
    routes = Blueprint("openapi", __name__)

    @routes.get("/openapi.json")
    async def openapi() -> Response:
        query.allow()
        return raw(_body())

    return routes


@functools.cache
def _body() -> bytes:
    return encode(document())


def document() -> _Document:
    """The whole document."""
    from gflow.api.description import NAMED_RECORDS, OPERATIONS  # for the few who ask

    records, components = _records()
    paths: dict[str, _Document] = {}
    for where in OPERATIONS:
        method, path = where.split(" ", 1)
        paths.setdefault(path, {})[method.lower()] = _operation(where, records)
    return {
        "openapi": "3.1.0",
        "info": {"title": "gflow", "version": __version__},
        "paths": {path: {**_path_parameters(path), **methods} for path, methods in paths.items()},
        "components": {"schemas": {**components, **NAMED_RECORDS}},
    }


def _records() -> tuple[dict[type, _Document], _Document]:
    """The schemas of the records that bodies are read by, and those they refer to."""
    import msgspec

    from gflow.api.description import OPERATIONS
    from gflow.wire.requests import JobRequest

    kinds = list({operation.body: None for operation in OPERATIONS.values() if isinstance(operation.body, type)})
    assert JobRequest in kinds, "batches refer to it"
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return dict(zip(kinds, schemas, strict=True)), components


def _operation(where: str, records: dict[type, _Document]) -> _Document:
    from gflow.api.description import EVERYWHERE, OPERATIONS

    operation = OPERATIONS[where]
    told: _Document = {"summary": operation.summary, "operationId": _name(where)}
    if operation.query:
        told["parameters"] = [_parameter(name, schema) for name, schema in operation.query.items()]
    if operation.body is not None:
        schema = records[operation.body] if isinstance(operation.body, type) else operation.body
        told["requestBody"] = {
            "required": not operation.optional_body,
            "content": {"application/json": {"schema": schema}},
        }
    answers = {str(status): _answer(operation.kind, operation.answer) for status in operation.statuses}
    errors = {str(status): _error(status) for status in (*EVERYWHERE, *operation.errors)}
    return {**told, "responses": {**errors, **answers}}


def _name(where: str) -> str:
    """`GET /jobs/{job_id}/why` as `get_jobs_job_id_why`."""
    return re.sub(r"\W+", "_", where.lower()).strip("_")


def _parameter(name: str, schema: _Document, place: str = "query") -> _Document:
    about = {"name": name, "in": place, "schema": schema, "required": place == "path"}
    return {**about, "allowEmptyValue": True} if place == "query" else about


def _path_parameters(path: str) -> _Document:
    from gflow.api.description import PATH_PARAMETERS

    names = re.findall(r"{(\w+)}", path)
    return {"parameters": [_parameter(name, PATH_PARAMETERS[name], "path") for name in names]} if names else {}


def _answer(kind: str, schema: _Document | None) -> _Document:
    return {"description": "Done", "content": {kind: {} if schema is None else {"schema": schema}}}


def _error(status: int) -> _Document:
    from gflow.api.description import SENTENCES

    schema = {"$ref": "#/components/schemas/Error"}
    told = {"description": SENTENCES[status], "content": {"application/json": {"schema": schema}}}
    return {**told, "headers": {"Retry-After": {"schema": {"type": "integer"}}}} if status == 429 else told
