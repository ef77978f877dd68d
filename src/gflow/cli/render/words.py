"""Command lines as texts a person could type again. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")


def quoted(word: str) -> str:
    """`word` as a shell would have to be given it."""
    if word and _PLAIN.issuperset(word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def joined(words: Sequence[str]) -> str:
    """An argument vector as one line."""
    return " ".join(map(quoted, words))


def what_runs(job: Mapping[str, Any]) -> str:
    """The command, the argument vector, or the script with its arguments, of a job's JSON."""
    if job.get("argv"):
        return joined(job["argv"])
    if job.get("command"):
        return str(job["command"])
    return joined([job.get("script") or "-", *(job.get("script_args") or ())])
