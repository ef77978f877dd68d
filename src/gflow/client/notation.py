"""JSON for one-shot commands: the standard library's scanner without its `json` package, which loads `re` and with it
takes almost as long as Python itself to start. What it reads and writes is the same, as a property test holds."""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Plain:
    """What the scanner is to know: `json.loads` without options."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> float:
        return float(name)


_scan = _json.make_scanner(_Plain)  # type: ignore[arg-type]
_BLANKS = " \t\r\n"
_WORDS = {None: "null", True: "true", False: "false"}


def loads(data: bytes) -> Any:
    """The value of a JSON text. Raises ValueError."""
    text = data.decode().strip(_BLANKS)
    try:
        value, end = _scan(text, 0)
    except StopIteration as error:
        raise ValueError(f"no JSON value at character {error.value}") from None
    if end != len(text):
        raise ValueError(f"more than a JSON value from character {end} on")
    return value


def dumps(value: Any) -> str:
    """A JSON text of dictionaries with text keys, lists, texts, numbers, booleans and None. Raises TypeError."""
    if isinstance(value, str):
        return _json.encode_basestring(value)
    if value is None or value is True or value is False:
        return _WORDS[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        items = [f"{_json.encode_basestring(key)}:{dumps(item)}" for key, item in value.items()]
        return "{" + ",".join(items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dumps, value)) + "]"
    raise TypeError(f"{type(value).__name__} is nothing JSON can say")
