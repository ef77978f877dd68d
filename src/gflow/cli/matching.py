"""Names of jobs as people give them: as they are, or as patterns with `*`, `?` and `[…]`, of which a backslash in front
makes plain characters."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_WILD = frozenset("*?[")


def is_pattern(text: str) -> bool:
    """Whether a name is to match others."""
    return not _WILD.isdisjoint(text)


def matches(name: str, wanted: Iterable[str]) -> bool:
    """Whether `name` is one of those that are wanted."""
    return any(_fits(name, text) for text in wanted)


def _fits(name: str, text: str) -> bool:
    if name == text or not is_pattern(text):
        return name == text
    from fnmatch import fnmatchcase

    for char in "[*?":  # `[` first: the brackets of the others are no such
        text = text.replace(f"\\{char}", f"[{char}]")
    return fnmatchcase(name, text)
