"""Texts of others on a terminal: names, command lines and error sentences may hold anything their owners liked.

Control characters steer a terminal; marks of direction (Unicode's embeddings, overrides and isolates) make a line read
other than it is. Both become question marks.
"""

from __future__ import annotations

_DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_STEERING = dict.fromkeys((*range(32), *range(127, 160), *_DIRECTIONS), "?")
_IN_ROWS = {char: mark for char, mark in _STEERING.items() if char not in (0x0A, 0x1F)}
"""The lines of the queue end in a newline, its cells in a unit separator."""


def harmless(text: str) -> str:
    """`text` without such characters."""
    return text if text.isprintable() else text.translate(_STEERING)


def harmless_rows(text: str) -> str:
    """Lines of cells without such characters; at once, for there may be very many of them."""
    return text if text.replace("\n", "").replace("\x1f", "").isprintable() else text.translate(_IN_ROWS)
