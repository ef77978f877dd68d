"""The bearer token that says over TCP who we are: GFLOW_TOKEN, else the token file.

The file is `token` beside the configuration file, or what GFLOW_TOKEN_FILE names. Nothing here ever shows a token: what
is wrong with one is said without it.
"""

from __future__ import annotations

import os
import stat

from gflow import paths
from gflow.client.errors import BadSetting

_MOST_BYTES = 4096


class Token:
    """`text` goes along with requests, `origin` says where it is from."""

    __slots__ = ("origin", "text")

    def __init__(self, text: str, origin: str) -> None:
        self.text = text
        self.origin = origin


def find() -> Token | None:
    """The token, None if there is none. Raises BadSetting for one that cannot be used."""
    said = os.environ.get("GFLOW_TOKEN", "").strip()
    if said:
        return _checked(said, "GFLOW_TOKEN")
    named = os.environ.get("GFLOW_TOKEN_FILE")
    path = named or paths.token_file()
    try:
        # not to be held up by a FIFO
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        if named:
            raise BadSetting(f"GFLOW_TOKEN_FILE: {named} does not exist") from None
        return None
    except OSError as error:
        raise BadSetting(f"cannot read the token file {path}: {error.strerror}") from error
    try:
        _check_file(descriptor, path)
        content = os.read(descriptor, _MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    return _checked(content.decode("latin-1").strip(), path)


def _check_file(descriptor: int, path: str) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise BadSetting(f"the token file {path} is not a regular file")
    if found.st_uid not in (os.geteuid(), 0):
        raise BadSetting(f"the token file {path} belongs to uid {found.st_uid}; use one of your own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise BadSetting(f"the token file {path} is open to others; run: chmod 600 {path}, and have the token replaced")


def _checked(text: str, origin: str) -> Token:
    if not text or len(text) > _MOST_BYTES or not all("!" <= char <= "~" for char in text):
        raise BadSetting(f"{origin} holds no token: it is one word, without blanks")
    return Token(text, origin)
