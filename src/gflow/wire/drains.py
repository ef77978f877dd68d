"""Draining as the API shows it, and what callers say about it; and that nothing can be started, though it should."""

from typing import Any

from msgspec import Struct

from gflow.core.engine import Engine


class DrainRequest(Struct, forbid_unknown_fields=True):
    """Why nothing is to be started, for people to read."""

    reason: str | None = None


def drained_json(engine: Engine) -> dict[str, Any] | None:
    """Since when (seconds since 1970) nothing is started, by whom and why; None while jobs are started."""
    return None if engine.drained is None else engine.drained.to_map()


def stall_text(engine: Engine) -> str | None:
    """Why nothing can be launched just now, and whose jobs that concerns if not all; None if all can."""
    said = [why if whose is None else f"jobs of {whose}: {why}" for whose, why in engine.stalled.items()]
    return "; ".join(said) or None
