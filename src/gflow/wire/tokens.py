"""Tokens as the API shows them, and what callers ask for. Of a token's text nothing is in here."""

from typing import Any

from msgspec import Struct

from gflow.core.tokens import Token


class TokenRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A token that is asked for: `user` null for the caller, `expires_secs` from now, null for never."""

    user: str | None = None
    name: str | None = None
    expires_secs: float | None = None
    read_only: bool = False
    admin: bool = False


def token_json(token: Token, wall: float) -> dict[str, Any]:
    """What may be known of a token; times are in seconds since the epoch."""
    return {
        "id": token.id,
        "user": token.user,
        "name": token.label,
        "read_only": token.read_only,
        "admin": token.admin,
        "created_at": token.created_at,
        "created_by": token.created_by,
        "expires_at": token.expires_at,
        "expired": token.is_expired(wall),
    }
