"""Markdown of data, and the meanings that are written below the names they are of."""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise

MADE = "<!-- Made by contrib/reference.py; do not edit. -->"


def page(title: str, *parts: str) -> str:
    """A page of these parts, without those that are empty."""
    return "\n\n".join([f"# {title}", MADE, *filter(None, parts)]) + "\n"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; nothing without rows."""
    made = list(rows)
    head = tuple(heads)
    return "\n".join(map(_row, (head, ("---",) * len(head), *made))) if made else ""


def _row(cells: Iterable[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def plain(text: str) -> str:
    """Text of a terminal: nothing in it is taken for Markdown."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#" else char for char in text)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def meanings(kind: type) -> dict[str, str]:
    """What is written below each name that a class gives a value, by name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    assert isinstance(tree.body[0], ast.ClassDef)
    return dict(_told(tree.body[0].body))


def _told(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement, after in pairwise(body):
        name = _name(statement)
        if name and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            yield name, " ".join(str(after.value.value).split())


def _name(statement: ast.stmt) -> str | None:
    target = (
        statement.target
        if isinstance(statement, ast.AnnAssign)
        else statement.targets[0]
        if isinstance(statement, ast.Assign)
        else None
    )
    return target.id if isinstance(target, ast.Name) else None


def meaning(kind: type, name: str, told: dict[str, str]) -> str:
    """What `name` means; whoever adds one says so."""
    if name not in told:
        raise SystemExit(f"{kind.__module__}.{kind.__qualname__}.{name}: write below it, in a string, what it means")
    return told[name]
