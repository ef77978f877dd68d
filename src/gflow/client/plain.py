"""Texts of others on a terminal: names, command lines and error sentences may hold anything their owners liked.

Control characters steer a terminal, Unicode's separators end lines, and its marks of direction (marks, embeddings,
overrides and isolates) make a line read other than it is. All become question marks. What programs read is exact.
"""

from __future__ import annotations

CONTROLS = (*range(32), *range(127, 160))
TURNING = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_STEERING = dict.fromkeys((*CONTROLS, *TURNING), "?")
_IN_ROWS = {char: mark for char, mark in _STEERING.items() if char not in (0x0A, 0x1F)}
"""The lines of the queue end in a newline, its cells in a unit separator."""


def harmless(text: str) -> str:
    """`text` without such characters."""
    return text if text.isprintable() else text.translate(_STEERING)


def harmless_rows(text: str) -> str:
    """Lines of cells without such characters; at once, for there may be very many of them."""
    return text if text.replace("\n", "").replace("\x1f", "").isprintable() else text.translate(_IN_ROWS)
