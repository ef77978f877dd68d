"""Tokens: what lets requests over TCP in, and as whom.

A token is `gflow_ID_SECRET`, and the secret is 256 bits that nobody chose. So a plain SHA-256 is all that is kept:
slow hashes are for what people think up, which can be guessed; of 2**256 secrets none can be, however fast it is tried.
The id says which hash to compare with, in constant time, so what an answer takes tells nothing of any secret.
"""

import hashlib
import hmac
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gflow.core.errors import Malformed, NotFound, TooLarge
from gflow.core.outcome import Outcome
from gflow.core.reservations import check_user

SETTING = "tokens"
"""Where they are in the state. What is meant for others to read (exports) leaves it out."""

PREFIX = "gflow_"
SECRET_BYTES = 32
MOST = 1000
MOST_OF_A_USER = 50
SHORTEST_SECS, LONGEST_SECS = 1.0, 10 * 366 * 86400.0
MAX_LABEL = 64
_LONGEST_TEXT = 200
_ONE_IN_A_TEXT = re.compile(r"(gflow_[0-9]+_)[A-Za-z0-9_-]+")
_NOBODYS = bytes(32)
"""Compared with where no token has the id: no digest is known that would be it."""


@dataclass(frozen=True, slots=True)
class Token:
    """All that is kept of a token; moments are in seconds since the epoch.

    - user: who it stands for. label: what it is called, for people. uid: the user's id when it was made, None if the
      machine did not know the name; it is no token of somebody else who comes by the name later.
    - read_only: it may look and change nothing. admin: it is an administrator's, as long as its user is one.
    """

    id: int
    user: str
    digest: bytes
    created_at: float
    created_by: str
    uid: int | None = None
    expires_at: float | None = None
    read_only: bool = False
    admin: bool = False
    label: str | None = None

    def is_expired(self, wall: float) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and wall >= self.expires_at


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token that is asked for; `expires_secs` from now, None for never."""

    user: str
    uid: int | None = None
    label: str | None = None
    expires_secs: float | None = None
    read_only: bool = False
    admin: bool = False


class Tokens:
    """All tokens, by id. Ids count up and are never used twice."""

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        """`kept` is what the state has under `SETTING`. Raises KeyError, TypeError or ValueError for anything else."""
        plain = kept or {"next_id": 1, "entries": []}
        found = [_from_map(one) for one in plain["entries"]]
        self.entries = {token.id: token for token in found}
        self._next_id = max([int(plain["next_id"]), *(token.id + 1 for token in found)])

    def issue(self, wanted: Wanted, secret: str, by: str, wall: float) -> tuple[str, Token, Outcome]:
        """A new token: its text, which is nowhere else, what is kept, and what to store.

        `secret` is `SECRET_BYTES` of chance as text. Raises Malformed, TooLarge.
        """
        _check(wanted)
        self._check_room(wanted.user, wall)
        text = f"{PREFIX}{self._next_id}_{secret}"
        expires_at = None if wanted.expires_secs is None else wall + wanted.expires_secs
        token = Token(
            self._next_id,
            wanted.user,
            _digest(text),
            wall,
            by,
            wanted.uid,
            expires_at,
            wanted.read_only,
            wanted.admin,
            wanted.label,
        )
        self.entries = {key: old for key, old in self.entries.items() if not old.is_expired(wall)} | {token.id: token}
        self._next_id += 1
        return text, token, self._stored()

    def revoke(self, token_id: int) -> Outcome:
        """It is no token any more. Raises NotFound."""
        self.get(token_id)
        del self.entries[token_id]
        return self._stored()

    def get(self, token_id: int) -> Token:
        """Raises NotFound."""
        if token_id not in self.entries:
            raise NotFound(f"There is no token {token_id}")
        return self.entries[token_id]

    def find(self, text: str, wall: float) -> Token | None:
        """The token whose text this is, None for an unknown, revoked or expired one."""
        token = self.entries.get(_id_in(text))
        same = hmac.compare_digest(_digest(text), _NOBODYS if token is None else token.digest)
        return token if token is not None and same and not token.is_expired(wall) else None

    def holds(self, token_id: int, wall: float) -> bool:
        """Whether it is still good."""
        token = self.entries.get(token_id)
        return token is not None and not token.is_expired(wall)

    def secs_left(self, token_id: int, wall: float) -> float:
        """How long it will be, if nobody revokes it."""
        token = self.entries.get(token_id)
        if token is None:
            return 0.0
        return math.inf if token.expires_at is None else max(0.0, token.expires_at - wall)

    def _check_room(self, user: str, wall: float) -> None:
        """What is expired takes no room."""
        good = [token for token in self.entries.values() if not token.is_expired(wall)]
        if len(good) >= MOST:
            raise TooLarge(f"There are {len(good)} tokens, which is the most; revoke some: gctl token revoke ID")
        if sum(token.user == user for token in good) >= MOST_OF_A_USER:
            raise TooLarge(f"{user} has {MOST_OF_A_USER} tokens, which is the most; revoke some: gctl token revoke ID")

    def _stored(self) -> Outcome:
        plain = {"next_id": self._next_id, "entries": [_to_map(token) for token in self.entries.values()]}
        return Outcome(settings={SETTING: plain})


def _check(wanted: Wanted) -> None:
    check_user(wanted.user)
    label, secs = wanted.label, wanted.expires_secs
    if label is not None and not (0 < len(label) <= MAX_LABEL and label.isprintable()):
        raise Malformed(f"Invalid name of a token: use 1 to {MAX_LABEL} printable characters")
    if secs is not None and not SHORTEST_SECS <= secs <= LONGEST_SECS:
        raise Malformed("A token expires after a second to ten years, or never")
    if wanted.admin and wanted.read_only:
        raise Malformed("A read-only token changes nothing, so it cannot be an administrator's")


def hidden(text: str) -> str:
    """The text without what may be the secret of a token in it: people put them where they do not belong."""
    return _ONE_IN_A_TEXT.sub(r"\1...", text)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _id_in(text: str) -> int:
    """The id a text begins with, 0 if it begins with none."""
    number, _, _ = text.removeprefix(PREFIX).partition("_")
    is_one = text.startswith(PREFIX) and len(text) <= _LONGEST_TEXT and number.isascii() and number.isdigit()
    return int(number) if is_one else 0


def _to_map(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "user": token.user,
        "digest": token.digest.hex(),
        "created_at": token.created_at,
        "created_by": token.created_by,
        "uid": token.uid,
        "expires_at": token.expires_at,
        "read_only": token.read_only,
        "admin": token.admin,
        "label": token.label,
    }


def _from_map(plain: Mapping[str, Any]) -> Token:
    return Token(**{**plain, "digest": bytes.fromhex(plain["digest"])})
