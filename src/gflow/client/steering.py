"""Characters that steer a terminal, and texts without them: a name, a reason or a server's answer may hold anything.

Beside the control characters these are the ends of lines and the marks that turn the direction of writing, by which a
text is read as another one than it is. What programs read is never changed by this.
"""

from __future__ import annotations

CONTROLS = (*range(32), *range(127, 160))
TURNING = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""Marks of direction, embeddings, overrides and isolates, and the two separators between them."""

_SHOWN = dict.fromkeys((*CONTROLS, *TURNING), "?")


def harmless(text: str) -> str:
    """`text` with a `?` for each such character."""
    return text if text.isprintable() else text.translate(_SHOWN)
