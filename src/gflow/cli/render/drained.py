"""That nothing is started, as a line for people. Pure but for the local time zone."""

from __future__ import annotations

from gflow.cli.render.table import harmless
from gflow.cli.render.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def drained_line(drained: dict[str, Any]) -> str:
    """Since when, by whom and why."""
    because = f": {harmless(drained['reason'])}" if drained.get("reason") else ""
    return f"Drained since {stamp(drained['since'])} by {harmless(drained['by'])}{because}; nothing new is started."
