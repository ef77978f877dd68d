"""Headers of mail as bytes: a line each, whatever is in the text that somebody chose. Pure.

Python's own header objects read encoded words (RFC 2047) in what they are given, and some versions then write the line
breaks found in there. So nothing is read here: a text is written either as it is, where no reader can find more in it,
or as encoded words that stand for exactly this text.
"""

from base64 import b64encode
from collections.abc import Iterator

MAX_LINE = 998
"""RFC 5322, section 2.1.1."""

_WORD_BYTES = 45
"""Of a text in one encoded word, which has at most 75 characters (RFC 2047, section 2)."""


def header(name: str, value: str) -> bytes:
    """The line of a header. `value` is printable ASCII: other texts go through `words` or `mailbox` first."""
    line = f"{name}: {value}"
    if not (line.isascii() and line.isprintable() and len(line) <= MAX_LINE):
        raise ValueError(f"this is no header of a mail: {name}")
    return line.encode() + b"\r\n"


def words(text: str) -> str:
    """A text as the value of a header that readers show as exactly this text."""
    return text if _is_plain(text) else " ".join(map(_word, _parts(text)))


def mailbox(name: str, address: str) -> str:
    """Somebody's name, which may be empty, and the address."""
    if not name:
        return address
    quoted = f'"{name}"' if _is_plain(name) and not {'"', "\\"} & {*name} else " ".join(map(_word, _parts(name)))
    return f"{quoted} <{address}>"


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and "=?" not in text


def _word(part: bytes) -> str:
    return f"=?utf-8?b?{b64encode(part).decode()}?="


def _parts(text: str) -> Iterator[bytes]:
    """The text in UTF-8, cut between characters."""
    part = b""
    for char in text:
        encoded = char.encode()
        if len(part) + len(encoded) > _WORD_BYTES:
            yield part
            part = b""
        part += encoded
    yield part
