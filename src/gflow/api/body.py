"""Reading request bodies."""

import json
import math
from typing import Any, cast

from quart import request

from gflow.core.errors import Malformed

MAX_BODY_BYTES = 8 << 20
BODY_SECS = 60.0
"""A body that takes longer to arrive is not waited for."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is too large a number")
    return number


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)


async def json_body(none: Any = None) -> Any:
    """The body as JSON; `none`, if that is given and there is no body. Raises Malformed.

    The standard library's reader, not msgspec's: it keeps the lone surrogates by which Python clients send bytes that
    are no text. Other surrogates stand for nothing and are refused.
    """
    data = cast(bytes, await request.get_data(cache=False))
    if not data and none is not None:
        return none
    if not data:
        raise Malformed("The request has no body; a JSON body is expected")
    try:
        found = _DECODER.decode(data.decode(errors="surrogatepass"))
        if b"\\ud" in data or b"\\uD" in data or b"\xed" in data:  # as with any surrogate, and little else
            json.dumps(found, ensure_ascii=False).encode(errors="surrogateescape")
    except (ValueError, RecursionError) as error:
        raise Malformed(f"The body is not valid JSON: {error}") from None
    return found
