"""What a JSON schema allows, in words: for people who write a request, not for programs that check one."""

import json
import re
from collections.abc import Callable
from typing import Any

from pages.markdown import code, plain

Schema = dict[str, Any]

WIDEST = 2**53 - 1
"""Bounds of integers in JSON, which any of them has and nobody needs to be told, as those of `NUMBER` below."""

_NO_BOUNDS = {WIDEST, -WIDEST, 1e15, -1e15}
_NULL = "null"


def kind(schema: Schema) -> str:
    """The values a schema allows."""
    say = next((say for key, say in _SAID.items() if key in schema), None)
    return say(schema) if say is not None else "anything"


def default(schema: Schema) -> str:
    """What counts where nothing is given; nothing if that is no value."""
    value = schema.get("default")
    return code(json.dumps(value, ensure_ascii=False)) if value is not None else ""


def _reference(schema: Schema) -> str:
    name = schema["$ref"].rpartition("/")[2]
    return f"[{name}](#{name.lower()})"


def _any(schema: Schema) -> str:
    """One of several, with null at the end."""
    words = list(dict.fromkeys(map(kind, schema.get("anyOf") or schema["oneOf"])))
    return (", or " if any("," in word for word in words) else " or ").join(
        sorted(words, key=lambda word: word == _NULL)
    )


def _words(schema: Schema) -> str:
    return ", ".join(code(word) for word in schema["enum"])


def _pattern(schema: Schema) -> str:
    """A list of words that may be in any case is shown as that, anything else as it is."""
    words = re.fullmatch(r"\^\((.+)\)\$", schema["pattern"])
    if words is None:
        return f"text that matches {code(schema['pattern'])}"
    return ", ".join(map(code, re.sub(r"\[(\w)\w\]", r"\1", words[1]).split("|")))


def _typed(schema: Schema) -> str:
    return _TYPES[schema["type"]](schema)


def _text(schema: Schema) -> str:
    return "text" if "description" not in schema else f"text: {_as_clause(schema['description'])}"


def _as_clause(sentence: str) -> str:
    return plain(sentence[:1].lower() + sentence[1:])


def _number(word: str) -> Callable[[Schema], str]:
    def say(schema: Schema) -> str:
        bounds = ((name, schema.get(key)) for key, name in (("minimum", "at least"), ("maximum", "at most")))
        told = [f"{name} {value:,}" for name, value in bounds if value is not None and value not in _NO_BOUNDS]
        return ", ".join([word, *told])

    return say


def _list(schema: Schema) -> str:
    most = f", {schema.get('minItems', 0)} to {schema['maxItems']:,} of them" if "maxItems" in schema else ""
    inner = kind(schema["items"])
    return f"a list, each: {inner}{most}" if " " in inner else f"a list of {inner}{most}"


def _object(schema: Schema) -> str:
    fields = schema.get("properties", {})
    names = dict.fromkeys([*schema.get("required", ()), *fields])
    if names:
        return f"an object with {', '.join(_field(name, fields.get(name)) for name in names)}"
    values = schema.get("additionalProperties")
    return f"an object, each value: {kind(values)}" if isinstance(values, dict) else "an object"


def _field(name: str, schema: Schema | None) -> str:
    return f"{code(name)} ({kind(schema)})" if schema else code(name)


_SAID: dict[str, Callable[[Schema], str]] = {
    "$ref": _reference,
    "anyOf": _any,
    "oneOf": _any,
    "enum": _words,
    "pattern": _pattern,
    "type": _typed,
}
_TYPES: dict[str, Callable[[Schema], str]] = {
    "string": _text,
    "integer": _number("a whole number"),
    "number": _number("a number"),
    "boolean": lambda _: "true or false",
    "array": _list,
    "object": _object,
    "null": lambda _: _NULL,
}
