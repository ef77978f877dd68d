"""Secrets of the configuration: from the environment, from files, and never into a message.

Every error names the key, and the variable or file, but nothing of what is in it. Raises ValueError with one line.
"""

import hashlib
import logging
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MOST_BYTES = 4096


def expand(text: str, environ: Mapping[str, str], key: str) -> str:
    """`text` with every `${VAR}` replaced by that variable; one that is not set, or no name, is an error."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise ValueError(f"{key}: ${{{found[1]}}} is not set in the daemon's environment")
        return environ[found[1]]

    if "${" in _VARIABLE.sub(" ", text):
        raise ValueError(f"{key}: a ${{ in it begins no name of a variable; write ${{NAME}}")
    return _VARIABLE.sub(value, text)


def secret_from(secret: str | None, file: str | None, environ: Mapping[str, str], key: str) -> bytes | None:
    """The secret given as text or as the path of a file, None if neither is."""
    if secret is not None and file is not None:
        raise ValueError(f"{key}: give secret or secret_file, not both")
    if file is not None:
        return _read(Path(expand(file, environ, f"{key}.secret_file")).expanduser(), f"{key}.secret_file")
    if secret is None:
        return None
    found = expand(secret, environ, f"{key}.secret").encode(errors="surrogateescape")
    if not found:
        raise ValueError(f"{key}.secret: it is empty")
    return found


def _read(path: Path, key: str) -> bytes:
    """What is in a file, without the end of its line. One that others can read is warned of."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            about = os.fstat(file.fileno()).st_mode
            text = file.read(_MOST_BYTES + 1).strip() if stat.S_ISREG(about) else None
    except OSError as error:
        raise ValueError(f"{key}: {path} cannot be read: {error.strerror}") from None
    if text is None:
        raise ValueError(f"{key}: {path} is no regular file")
    mode = stat.S_IMODE(about)
    if not text or len(text) > _MOST_BYTES:
        raise ValueError(f"{key}: {path} is empty or longer than {_MOST_BYTES} bytes")
    if mode & 0o077:
        log.warning("%s: %s can be read by others (mode %03o): chmod 600 it", key, path, mode)
    return text


def _without_waiting(path: str, flags: int) -> int:
    """A FIFO would have the daemon wait for somebody who writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def digest(*words: str) -> str:
    """A short name for something that must not be shown."""
    return hashlib.sha256("\0".join(words).encode(errors="surrogateescape")).hexdigest()[:12]
