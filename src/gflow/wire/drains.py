"""Draining as the API shows it, and what callers say about it."""

from typing import Any

from msgspec import Struct

from gflow.core.engine import Engine


class DrainRequest(Struct, forbid_unknown_fields=True):
    """Why nothing is to be started, for people to read."""

    reason: str | None = None


def drained_json(engine: Engine) -> dict[str, Any] | None:
    """Since when (seconds since 1970) nothing is started, by whom and why; None while jobs are started."""
    return None if engine.drained is None else engine.drained.to_map()
