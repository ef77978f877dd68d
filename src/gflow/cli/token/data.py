"""Tokens as programs read them, and in words."""

from __future__ import annotations

import time

from gflow.cli.render.times import iso

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

FIELDS = ("id", "user", "name", "read_only", "admin", "created_at", "created_by", "expires_at", "expired")


def entry(token: Record) -> Record:
    """What may be known of a token."""
    moments = {name: iso(token[name]) for name in ("created_at", "expires_at")}
    return {name: token[name] for name in FIELDS} | moments


def rights(token: Record) -> str:
    """What it may do, in a word."""
    return "read-only" if token["read_only"] else "admin" if token["admin"] else "user"


def described(token: Record) -> str:
    """`Token 3 for alice (read-only), good until 2026-02-04 13:30`."""
    kind = "" if rights(token) == "user" else f" ({rights(token)})"
    until = f"until {day(token['expires_at'])}" if token["expires_at"] is not None else "until it is revoked"
    return f"Token {token['id']} for {token['user']}{kind}, good {until}"


def day(moment: float) -> str:
    """A moment with the year, which the stamps of jobs leave out."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
