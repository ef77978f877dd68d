"""`-o`: for people, or as data for programs. What the data has for fields is in docs/scripts.md, and stays."""

from __future__ import annotations

import sys

from gflow.cli.command import Option
from gflow.cli.kinds import choice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Record = Mapping[str, Any]


def output(*kinds: str) -> Option:
    """The option; the first kind, which is for people, is the default."""
    return Option(
        "-o",
        "--output",
        convert=choice(*kinds),
        metavar="KIND",
        default=kinds[0],
        choices=kinds,
        help=f"{', '.join(kinds[:-1])} or {kinds[-1]}.",
    )


TABLE = output("table", "json", "csv", "yaml")
"""Of what is a list."""

TEXT = output("text", "json", "yaml")
"""Of what is not."""


def print_records(name: str, records: Sequence[Record], kind: str, fields: Sequence[str]) -> None:
    """A list under its `name`, nothing but data, also when it is empty. `fields` are the columns of CSV."""
    if kind == "csv":
        from gflow.cli.render.data import csv

        sys.stdout.write(csv([fields, *([_cell(record.get(field)) for field in fields] for record in records)]))
        return
    import time

    from gflow.cli.render.times import iso

    print_document({name: list(records), "total": len(records), "timestamp": iso(time.time())}, kind)


def print_document(document: Record, kind: str) -> None:
    """One JSON or YAML document."""
    if kind == "yaml":
        from gflow.cli.render.data import yaml

        sys.stdout.write(yaml(document))
        return
    import json

    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def print_change(change: Record, kind: str, text: str) -> None:
    """What one change came to: as a document, or for people the `text`."""
    if kind == "text":
        print(text)
    else:
        print_document(change, kind)


def print_each(name: str, ids: Iterable[int], make: Callable[[int], Record], kind: str) -> int:
    """One document with what `make` makes of every id, under `name`; what the daemon declines is told on stderr.

    1 if it declined any, else 0.
    """
    from gflow.cli.each import each

    found: list[Record] = []
    status = each(ids, lambda one: found.append(make(one)))
    print_document({name: found}, kind)
    return status


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(str, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)
