"""Comma lists of words that may have commas in them, written `\\,`: names of jobs are free text.

A backslash before a comma or another backslash takes its meaning from it; elsewhere it is one. Imported by one-shot
commands.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def split(text: str) -> list[str]:
    """The words of a list, without blanks around them; there is always one, which may be empty."""
    if "\\" not in text:
        return [word.strip() for word in text.split(",")]
    words, at = [""], 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in (",", "\\"):
            at += 1
            words[-1] += text[at]
        elif text[at] == ",":
            words.append("")
        else:
            words[-1] += text[at]
        at += 1
    return [word.strip() for word in words]


def join(words: Iterable[str]) -> str:
    """The list that `split` reads as these words."""
    return ",".join(word.replace("\\", "\\\\").replace(",", "\\,") for word in words)
