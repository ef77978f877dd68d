"""How answers are made: JSON bytes, and one shape for every error."""

import json
import logging
from typing import Any

import msgspec
from quart import Response
from werkzeug.exceptions import HTTPException

from gflow.core.errors import Refused, TooMany, Unauthorized

log = logging.getLogger(__name__)

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "malformed", 408: "timeout"}


def encode(value: Any) -> bytes:
    """`value` as JSON. Undecodable bytes of paths and arguments (lone surrogates) come out as JSON escapes."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def answer(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return raw(encode(value), status)


def raw(body: bytes, status: int = 200, content_type: str = "application/json") -> Response:
    """An answer whose body is ready."""
    return Response(body, status=status, content_type=content_type)


def error(sentence: str, code: str, status: int) -> Response:
    """The one shape of errors."""
    return answer({"error": sentence, "code": code}, status)


_SENTENCES = {
    404: "There is no such route; GET /openapi.json lists them all",
    405: "This route does not take that method; GET /openapi.json lists them all",
    413: "The body is larger than 8 MiB",
}


async def on_refused(refused: Refused) -> Response:
    """A refusal of the core or of a handler."""
    response = error(str(refused), refused.code, refused.status)
    if isinstance(refused, Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(refused, TooMany):
        response.headers["Retry-After"] = str(refused.retry_after_secs)
    return response


async def on_http_error(problem: HTTPException) -> Response:
    """What the framework refuses by itself: unknown routes, wrong methods, large bodies."""
    status = problem.code or 500
    sentence = _SENTENCES.get(status) or (problem.description or problem.name).split("\n")[0]
    return error(sentence, _CODES.get(status, "malformed"), status)


async def on_crash(problem: Exception) -> Response:
    """A bug: logged in full, told in brief, and the daemon goes on."""
    log.error("a request failed", exc_info=problem)
    return error("Internal error; the daemon's log has the details", "internal", 500)
