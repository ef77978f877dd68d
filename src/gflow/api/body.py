"""Reading request bodies."""

import json
from typing import Any

from quart import request

from gflow.core.errors import Malformed

MAX_BODY_BYTES = 8 << 20


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


async def json_body() -> Any:
    """The body as JSON. Raises Malformed.

    The standard library's reader, not msgspec's: it keeps the lone surrogates by which Python clients send bytes that
    are no text.
    """
    data = await request.get_data(cache=False)
    if not data:
        raise Malformed("The request has no body; a JSON body is expected")
    try:
        return json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"The body is not valid JSON: {error}") from None
