"""Data for programs: CSV and YAML. JSON is the standard library's. Pure, and only data, also when there is none."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def csv(rows: Sequence[Sequence[str]]) -> str:
    """Lines of comma-separated values, quoted where they must be (RFC 4180, with plain newlines)."""
    return "".join(",".join(map(_csv_cell, row)) + "\n" for row in rows)


def _csv_cell(text: str) -> str:
    if any(char in text for char in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def yaml(value: Any) -> str:
    """A YAML document of dictionaries, lists, strings, numbers, booleans and None."""
    return "".join(line + "\n" for line in _yaml_lines(value))


def _yaml_lines(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, item in value.items() for line in _entry(f"{_scalar(key)}:", item)]
    if isinstance(value, list) and value:
        return [line for item in value for line in _item(item)]
    return [_scalar(value)]


def _entry(key: str, value: Any) -> list[str]:
    if isinstance(value, dict | list) and value:
        indent = "  " if isinstance(value, dict) else ""
        return [key, *(indent + line for line in _yaml_lines(value))]
    return [f"{key} {_scalar(value)}"]


def _item(value: Any) -> list[str]:
    first, *rest = _yaml_lines(value)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _scalar(value: Any) -> str:
    """A word as it is if no reader of YAML can take it for anything else; otherwise in JSON, which YAML includes."""
    if isinstance(value, str) and _is_plain(value):
        return value
    import json

    return json.dumps(value, ensure_ascii=False).translate(_ESCAPED)


_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF)}
_TAKEN = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null"))


def _is_plain(text: str) -> bool:
    letters = text.replace("_", "").replace("-", "").replace(".", "")
    return letters.isascii() and letters.isalnum() and text[0].isalpha() and text.lower() not in _TAKEN
