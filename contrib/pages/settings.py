"""The configuration, of the schema that the daemon reads it by."""

import json
import re
import types
from collections.abc import Iterator
from typing import Union, get_args, get_origin

from msgspec import NODEFAULT, Struct, to_builtins
from msgspec.structs import FieldInfo, fields

from gflow import config
from gflow.config import Config, Daemon
from pages.markdown import code, meaning, meanings, page, table

ABOUT = """\
Every key of `gflow.toml`, by table; [configuration](../configuration.md) tells what they are for and how they go
together, and `gflowd init` writes a file with the usual ones. `_secs` are seconds, `_mins` minutes, `_mb` MiB. A key
that is not here, or a value of another type, is an error that says what is allowed."""
VARIABLES = "Each is a variable as well: `GFLOW_DAEMON_` and its name in capitals, which comes before the file."
WORDS = {str: "text", int: "whole number", float: "number", bool: "true, false"}


def made() -> str:
    """The text of the page."""
    tables: dict[type[Struct], list[str]] = {}
    for path, kind in _walk("", Config):
        tables.setdefault(kind, []).append(path)
    return page("Settings", ABOUT, *(part for kind, paths in tables.items() for part in _section(kind, paths)))


def _walk(path: str, kind: type[Struct]) -> Iterator[tuple[str, type[Struct]]]:
    """Every table, as it is written in the file, and the struct it is read into."""
    yield path, kind
    for field in fields(kind):
        below = _table_of(field.type)
        if below is not None:
            inner = ".".join(filter(None, (path.strip("[]"), field.encode_name)))
            written = {list: f"[[{inner}]]", dict: f"[{inner}.NAME]"}.get(get_origin(field.type), f"[{inner}]")
            yield from _walk(written, below)


def _table_of(kind: object) -> type[Struct] | None:
    """The struct that a field of this type has tables of."""
    found = (part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, Struct))
    return next(found, None)


def _section(kind: type[Struct], paths: list[str]) -> Iterator[str]:
    told = meanings(kind)
    own = [field for field in fields(kind) if _table_of(field.type) is None]
    if not own:
        return
    yield f"## {', '.join(map(code, paths)) if any(paths) else 'At the top'}"
    if any(paths):
        yield _about(kind)
    if kind is Daemon:
        yield VARIABLES + _without_variables(own)
    rows = ((code(f.encode_name), _type(f.type), _default(f), meaning(kind, f.name, told)) for f in own)
    yield table(("key", "type", "default", "meaning"), rows)


def _about(kind: type[Struct]) -> str:
    """What its docstring says besides which table it is."""
    text = re.sub(r"^The `.*` table(\.|: )\s*", "", " ".join((kind.__doc__ or "").split()))
    return text[:1].upper() + text[1:]


def _without_variables(own: list[FieldInfo]) -> str:
    names = [code(field.name) for field in own if field.name not in config.FROM_TEXT]
    return f" Not so {', '.join(names)}." if names else ""


def _type(kind: object) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_type(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is list:
        return f"list of {_type(get_args(kind)[0])}s".replace("texts", "text")
    if get_origin(kind) is dict:
        return "table of text"
    return WORDS[kind]  # type: ignore[index]


def _default(field: FieldInfo) -> str:
    value = field.default if field.default_factory is NODEFAULT else field.default_factory()
    if value is NODEFAULT:
        return "must be there"
    return "" if value is None else code(json.dumps(to_builtins(value)))
