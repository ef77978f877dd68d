"""Names of jobs as people give them: as they are, or as patterns with `*`, `?` and `[…]`."""

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
    from fnmatch import fnmatchcase

    return any(name == text or (is_pattern(text) and fnmatchcase(name, text)) for text in wanted)
